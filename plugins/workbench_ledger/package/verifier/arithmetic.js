// Verification arithmetic on public data: SHA-256, SHA-512, SM3, SM2, Ed25519. Own code, and only for verifying.
// Sources: FIPS 180-4, GB/T 32905-2016, GB/T 32918.2-2016 and .5-2017, RFC 8032 section 5.1. Not constant-time.

const K256 = new Uint32Array([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
  0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
  0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);

/** Message with the padding that SHA-2 and SM3 share, as a view for whole blocks. block: 64 or 128 bytes. */
function padded(data, block) {
  const room = block === 64 ? 9 : 17;
  const total = Math.ceil((data.length + room) / block) * block;
  const out = new Uint8Array(total);
  out.set(data);
  out[data.length] = 0x80;
  const view = new DataView(out.buffer);
  view.setUint32(total - 8, Math.floor(data.length / 0x20000000));
  view.setUint32(total - 4, (data.length << 3) >>> 0);
  return view;
}

function wordsToBytes(words) {
  const out = new Uint8Array(words.length * 4);
  const view = new DataView(out.buffer);
  words.forEach((word, at) => view.setUint32(at * 4, word >>> 0));
  return out;
}

function sha256(data) {
  const h = new Uint32Array([0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]);
  const view = padded(data, 64);
  const w = new Uint32Array(64);
  for (let block = 0; block < view.byteLength; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, k] = h;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (k + s1 + ((e & f) ^ (~e & g)) + K256[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      k = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += k;
  }
  return wordsToBytes(h);
}

const SM3_T = new Uint32Array(64);
for (let j = 0; j < 64; j++) {
  const t = j < 16 ? 0x79cc4519 : 0x7a879d8a, n = j % 32;
  SM3_T[j] = n ? (t << n) | (t >>> (32 - n)) : t;
}

function sm3(data) {
  const v = new Uint32Array([0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e]);
  const view = padded(data, 64);
  const w = new Uint32Array(68);
  for (let block = 0; block < view.byteLength; block += 64) {
    for (let j = 0; j < 16; j++) w[j] = view.getUint32(block + 4 * j);
    for (let j = 16; j < 68; j++) {
      const x = w[j - 16] ^ w[j - 9] ^ ((w[j - 3] << 15) | (w[j - 3] >>> 17));
      const p = x ^ ((x << 15) | (x >>> 17)) ^ ((x << 23) | (x >>> 9));
      w[j] = p ^ ((w[j - 13] << 7) | (w[j - 13] >>> 25)) ^ w[j - 6];
    }
    let [a, b, c, d, e, f, g, h] = v;
    for (let j = 0; j < 64; j++) {
      const a12 = (a << 12) | (a >>> 20);
      const sum = (a12 + e + SM3_T[j]) | 0;
      const ss1 = (sum << 7) | (sum >>> 25);
      const ff = j < 16 ? a ^ b ^ c : (a & b) | (a & c) | (b & c);
      const gg = j < 16 ? e ^ f ^ g : (e & f) | (~e & g);
      const tt1 = (ff + d + (ss1 ^ a12) + (w[j] ^ w[j + 4])) | 0;
      const tt2 = (gg + h + ss1 + w[j]) | 0;
      d = c; c = (b << 9) | (b >>> 23); b = a; a = tt1;
      h = g; g = (f << 19) | (f >>> 13); f = e;
      e = tt2 ^ ((tt2 << 9) | (tt2 >>> 23)) ^ ((tt2 << 17) | (tt2 >>> 15));
    }
    v[0] ^= a; v[1] ^= b; v[2] ^= c; v[3] ^= d; v[4] ^= e; v[5] ^= f; v[6] ^= g; v[7] ^= h;
  }
  return wordsToBytes(v);
}

/** HMAC (RFC 2104) with SM3; key: at most 64 bytes. */
function hmacSm3(key, data) {
  const pad = (mask) => Uint8Array.from({ length: 64 }, (_, at) => (key[at] ?? 0) ^ mask);
  return sm3(joined(pad(0x5c), sm3(joined(pad(0x36), data))));
}

// SHA-512 is needed by Ed25519 only, for short messages: 64-bit words as BigInt are fast enough. The constants are the
// fractions of the cube and square roots of the first primes (FIPS 180-4 sections 4.2.3 and 5.3.5).

function fraction(prime, root) {
  // floor(frac(prime^(1/root)) * 2^64) by an exact integer root of prime * 2^(64*root)
  const target = BigInt(prime) << (64n * BigInt(root));
  let low = 0n, high = 1n << 72n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(root) <= target) low = middle; else high = middle;
  }
  return BigInt.asUintN(64, low);
}

const PRIMES = [];
for (let one = 2; PRIMES.length < 80; one++) if (PRIMES.every((prime) => one % prime)) PRIMES.push(one);
const K512 = PRIMES.map((prime) => fraction(prime, 3));
const H512 = PRIMES.slice(0, 8).map((prime) => fraction(prime, 2));
const rotate64 = (word, count) => ((word >> count) | (word << (64n - count))) & 0xffffffffffffffffn;

function sha512(data) {
  const h = H512.slice();
  const view = padded(data, 128);
  const w = new Array(80);
  const cut = (value) => BigInt.asUintN(64, value);
  for (let block = 0; block < view.byteLength; block += 128) {
    for (let i = 0; i < 16; i++) w[i] = view.getBigUint64(block + 8 * i);
    for (let i = 16; i < 80; i++) {
      const s0 = rotate64(w[i - 15], 1n) ^ rotate64(w[i - 15], 8n) ^ (w[i - 15] >> 7n);
      const s1 = rotate64(w[i - 2], 19n) ^ rotate64(w[i - 2], 61n) ^ (w[i - 2] >> 6n);
      w[i] = cut(w[i - 16] + s0 + w[i - 7] + s1);
    }
    let [a, b, c, d, e, f, g, k] = h;
    for (let i = 0; i < 80; i++) {
      const s1 = rotate64(e, 14n) ^ rotate64(e, 18n) ^ rotate64(e, 41n);
      const t1 = k + s1 + ((e & f) ^ (~e & g)) + K512[i] + w[i];
      const s0 = rotate64(a, 28n) ^ rotate64(a, 34n) ^ rotate64(a, 39n);
      const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      k = g; g = f; f = e; e = cut(d + t1); d = c; c = b; b = a; a = cut(t1 + t2);
    }
    [a, b, c, d, e, f, g, k].forEach((word, at) => { h[at] = cut(h[at] + word); });
  }
  const out = new Uint8Array(64);
  const target = new DataView(out.buffer);
  h.forEach((word, at) => target.setBigUint64(8 * at, word));
  return out;
}

// ------------------------------------------------------------------------------------------- numbers

const HEX = Array.from({ length: 256 }, (_, one) => one.toString(16).padStart(2, "0"));
function toHex(data) {
  let text = "";
  for (const one of data) text += HEX[one];
  return text;
}

/** The bytes of lower-case hexadecimal digits, or null. */
function fromHex(text) {
  if (typeof text !== "string" || !/^([0-9a-f]{2})*$/.test(text)) return null;
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

const bigOf = (data) => (data.length ? BigInt("0x" + toHex(data)) : 0n);
const bytesOf = (value, size) => fromHex(value.toString(16).padStart(2 * size, "0"));
const littleOf = (data) => bigOf(Uint8Array.from(data).reverse());

function joined(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

function sameBytes(one, two) {
  if (!one || !two || one.length !== two.length) return false;
  for (let at = 0; at < one.length; at++) if (one[at] !== two[at]) return false;
  return true;
}

const modulo = (value, by) => { const rest = value % by; return rest < 0n ? rest + by : rest; };

function power(base, exponent, by) {
  let result = 1n, factor = modulo(base, by);
  for (let left = exponent; left; left >>= 1n) {
    if (left & 1n) result = (result * factor) % by;
    factor = (factor * factor) % by;
  }
  return result;
}

const inverse = (value, prime) => power(value, prime - 2n, prime);

// ----------------------------------------------------------------------------------------------- SM2

const P = 0xfffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffffn;
const CURVE_A = P - 3n;
const CURVE_B = 0x28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93n;
const ORDER = 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n;
const BASE = [
  0x32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7n,
  0xbc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0n,
  1n,
];
const NOWHERE = [1n, 1n, 0n];
const SM2_USER = new TextEncoder().encode("1234567812345678");

function doubled([x, y, z]) {
  if (!z || !y) return NOWHERE;
  const square = modulo(y * y, P), s = modulo(4n * x * square, P), zz = modulo(z * z, P);
  const m = modulo(3n * (x - zz) * (x + zz), P);
  const x3 = modulo(m * m - 2n * s, P);
  return [x3, modulo(m * (s - x3) - 8n * square * square, P), modulo(2n * y * z, P)];
}

function added(one, two) {
  if (!one[2]) return two;
  if (!two[2]) return one;
  const z1 = modulo(one[2] * one[2], P), z2 = modulo(two[2] * two[2], P);
  const u1 = modulo(one[0] * z2, P), u2 = modulo(two[0] * z1, P);
  const s1 = modulo(one[1] * two[2] * z2, P), s2 = modulo(two[1] * one[2] * z1, P);
  if (u1 === u2) return s1 === s2 ? doubled(one) : NOWHERE;
  const h = u2 - u1, r = s2 - s1, hh = modulo(h * h, P), hhh = modulo(h * hh, P), v = modulo(u1 * hh, P);
  const x3 = modulo(r * r - hhh - 2n * v, P);
  return [x3, modulo(r * (v - x3) - s1 * hhh, P), modulo(h * one[2] * two[2], P)];
}

/** Whether 64 bytes x || y are a point of the recommended curve. */
function isOnSm2Curve(key) {
  if (!key || key.length !== 64) return false;
  const x = bigOf(key.subarray(0, 32)), y = bigOf(key.subarray(32));
  return x < P && y < P && modulo(y * y - (x * x * x + CURVE_A * x + CURVE_B), P) === 0n;
}

/** GB/T 32918.2 section 7.1; key x || y and signature r || s, 64 bytes each. */
function verifySm2(key, message, signature, user = SM2_USER) {
  if (signature.length !== 64 || !isOnSm2Curve(key)) return false;
  const r = bigOf(signature.subarray(0, 32)), s = bigOf(signature.subarray(32));
  if (r <= 0n || r >= ORDER || s <= 0n || s >= ORDER) return false;
  const t = modulo(r + s, ORDER);
  if (!t) return false;
  const length = Uint8Array.of((user.length * 8) >> 8, (user.length * 8) & 255);
  const curve = [CURVE_A, CURVE_B, BASE[0], BASE[1]].map((one) => bytesOf(one, 32));
  const e = bigOf(sm3(joined(sm3(joined(length, user, ...curve, key)), message)));
  const own = [bigOf(key.subarray(0, 32)), bigOf(key.subarray(32)), 1n], both = added(BASE, own);
  let point = NOWHERE;
  for (let at = 255n; at >= 0n; at--) {
    point = doubled(point);
    const first = (s >> at) & 1n, second = (t >> at) & 1n;
    if (first || second) point = added(point, first && second ? both : first ? BASE : own);
  }
  if (!point[2]) return false;
  const x = modulo(point[0] * power(inverse(point[2], P), 2n, P), P);
  return modulo(e + x, ORDER) === r;
}

/** r || s as ASN.1 DER, as OpenSSL reads it. */
function derOf(signature) {
  const parts = [signature.subarray(0, 32), signature.subarray(32)].map((half) => {
    let start = 0;
    while (start < 31 && half[start] === 0) start++;
    const digits = half.subarray(start);
    const body = digits[0] & 0x80 ? joined(Uint8Array.of(0), digits) : digits;
    return joined(Uint8Array.of(2, body.length), body);
  });
  return joined(Uint8Array.of(0x30, parts[0].length + parts[1].length), ...parts);
}

// ------------------------------------------------------------------------------------------- Ed25519

const Q = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const ED_D = modulo(-121665n * inverse(121666n, Q), Q);
const ROOT = power(2n, (Q - 1n) / 4n, Q);

function edAdded(one, two) {
  const a = modulo((one[1] - one[0]) * (two[1] - two[0]), Q), b = modulo((one[1] + one[0]) * (two[1] + two[0]), Q);
  const c = modulo(2n * one[3] * two[3] * ED_D, Q), d = modulo(2n * one[2] * two[2], Q);
  const e = b - a, f = d - c, g = d + c, h = b + a;
  return [modulo(e * f, Q), modulo(g * h, Q), modulo(f * g, Q), modulo(e * h, Q)];
}

function edDecoded(data) {
  const whole = littleOf(data), sign = whole >> 255n, y = whole & ((1n << 255n) - 1n);
  if (y >= Q) return null;
  const square = modulo((y * y - 1n) * inverse(ED_D * y * y + 1n, Q), Q);
  let x = power(square, (Q + 3n) / 8n, Q);
  if (modulo(x * x - square, Q)) x = modulo(x * ROOT, Q);
  if (modulo(x * x - square, Q) || (!x && sign)) return null;
  if ((x & 1n) !== sign) x = Q - x;
  return [x, y, 1n, modulo(x * y, Q)];
}

const ED_BASE = edDecoded(bytesOf(modulo(4n * inverse(5n, Q), Q), 32).reverse());

/** RFC 8032 section 5.1.7 without cofactor, comparing encodings as OpenSSL does. */
function verifyEd25519(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const own = edDecoded(key), s = littleOf(signature.subarray(32));
  if (!own || s >= L) return false;
  const k = littleOf(sha512(joined(signature.subarray(0, 32), key, message))) % L;
  const minus = [Q - own[0], own[1], 1n, Q - own[3]], both = edAdded(ED_BASE, minus);
  let point = [0n, 1n, 1n, 0n];
  for (let at = 252n; at >= 0n; at--) {
    point = edAdded(point, point);
    const first = (s >> at) & 1n, second = (k >> at) & 1n;
    if (first || second) point = edAdded(point, first && second ? both : first ? ED_BASE : minus);
  }
  const one = inverse(point[2], Q), x = modulo(point[0] * one, Q), y = modulo(point[1] * one, Q);
  return sameBytes(bytesOf(y | ((x & 1n) << 255n), 32).reverse(), signature.subarray(0, 32));
}

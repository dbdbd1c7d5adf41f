// ML-DSA-44 on public data: verification of a signature, nothing else. Own code, and not constant-time.
// Sources: FIPS 202 (Keccak, SHAKE); FIPS 204 algorithms 3, 8, 16 to 21, 23, 26 to 32, 36, 40 to 42 and table 1, first column.

const ROUND_CONSTANTS = (() => { // FIPS 202 section 3.2.5, as [low, high] words
  let register = 1;
  const bit = () => {
    const out = register & 1;
    register = register & 0x80 ? ((register << 1) ^ 0x71) & 0xff : register << 1;
    return out;
  };
  return Array.from({ length: 24 }, () => {
    const words = [0, 0];
    for (let j = 0; j < 7; j++) if (bit()) words[2 ** j - 1 < 32 ? 0 : 1] |= 1 << (2 ** j - 1) % 32;
    return words;
  });
})();
const LANE_STEPS = (() => { // rho and pi together: from lane 1 on, where a lane goes and by how much it turns
  const steps = [];
  let x = 1, y = 0;
  for (let t = 0; t < 24; t++) {
    [x, y] = [y, (2 * x + 3 * y) % 5];
    steps.push([x + 5 * y, ((t + 1) * (t + 2) / 2) % 64]);
  }
  return steps;
})();

/** Keccak-f[1600] in place. state: 25 lanes as pairs of 32-bit words, the low one first. */
function keccak(state) {
  const parity = new Uint32Array(10), row = new Uint32Array(10);
  for (const [low, high] of ROUND_CONSTANTS) {
    for (let x = 0; x < 10; x++) parity[x] = state[x] ^ state[x + 10] ^ state[x + 20] ^ state[x + 30] ^ state[x + 40];
    for (let x = 0; x < 5; x++) {
      const left = 2 * ((x + 4) % 5), right = 2 * ((x + 1) % 5);
      const first = parity[left] ^ ((parity[right] << 1) | (parity[right + 1] >>> 31));
      const second = parity[left + 1] ^ ((parity[right + 1] << 1) | (parity[right] >>> 31));
      for (let y = 0; y < 50; y += 10) { state[y + 2 * x] ^= first; state[y + 2 * x + 1] ^= second; }
    }
    let first = state[2], second = state[3];
    for (const [to, turn] of LANE_STEPS) {
      if (turn & 32) [first, second] = [second, first];
      const by = turn & 31;
      if (by) [first, second] = [(first << by) | (second >>> (32 - by)), (second << by) | (first >>> (32 - by))];
      const next = state[2 * to], other = state[2 * to + 1];
      state[2 * to] = first;
      state[2 * to + 1] = second;
      [first, second] = [next, other];
    }
    for (let y = 0; y < 50; y += 10) {
      row.set(state.subarray(y, y + 10));
      for (let x = 0; x < 10; x++) state[y + x] = row[x] ^ (~row[(x + 2) % 10] & row[(x + 4) % 10]);
    }
    state[0] ^= low;
    state[1] ^= high;
  }
}

/** The first `size` bytes of a sponge. rate: bytes a block; ending: 0x1f for SHAKE. */
function sponge(rate, ending, data, size) {
  const state = new Uint32Array(50), bytes = new Uint8Array(Math.ceil((data.length + 1) / rate) * rate);
  bytes.set(data);
  bytes[data.length] ^= ending;
  bytes[bytes.length - 1] ^= 0x80;
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += rate) {
    for (let word = 0; word < rate / 4; word++) state[word] ^= view.getUint32(at + 4 * word, true);
    keccak(state);
  }
  const out = new Uint8Array(Math.ceil(size / rate) * rate), target = new DataView(out.buffer);
  for (let at = 0; at < out.length; at += rate) {
    if (at) keccak(state);
    for (let word = 0; word < rate / 4; word++) target.setUint32(at + 4 * word, state[word], true);
  }
  return out.subarray(0, size);
}

const shake128 = (data, size) => sponge(168, 0x1f, data, size);
const shake256 = (data, size) => sponge(136, 0x1f, data, size);

// Products of two numbers below q = 2^23 stay below 2^46, which a double holds exactly.
const LATTICE_Q = 8380417, ROUNDING = (LATTICE_Q - 1) / 88, MASK_RANGE = 2 ** 17, ONES = 39, HINTS = 80;
const inField = (value) => { const rest = value % LATTICE_Q; return rest < 0 ? rest + LATTICE_Q : rest; };
const ZETAS = Array.from({ length: 256 }, (_, at) => {
  const reversed = parseInt(at.toString(2).padStart(8, "0").split("").reverse().join(""), 2);
  return Number(power(1753n, BigInt(reversed), BigInt(LATTICE_Q)));
});

/** NTT (algorithm 41), in place. */
function transformed(w) {
  let at = 0;
  for (let length = 128; length; length >>= 1) {
    for (let start = 0; start < 256; start += 2 * length) {
      const zeta = ZETAS[++at];
      for (let j = start; j < start + length; j++) {
        const t = (zeta * w[j + length]) % LATTICE_Q, u = w[j];
        w[j + length] = inField(u - t);
        w[j] = inField(u + t);
      }
    }
  }
  return w;
}

/** The inverse of `transformed` (algorithm 42), in place. */
function restored(w) {
  let at = 256;
  for (let length = 1; length < 256; length <<= 1) {
    for (let start = 0; start < 256; start += 2 * length) {
      const zeta = LATTICE_Q - ZETAS[--at];
      for (let j = start; j < start + length; j++) {
        const t = w[j], u = w[j + length];
        w[j] = inField(t + u);
        w[j + length] = (zeta * inField(t - u)) % LATTICE_Q;
      }
    }
  }
  return w.map((one) => (8347681 * one) % LATTICE_Q);
}

/** RejNTTPoly (algorithm 30): 256 numbers below q out of SHAKE-128. */
function uniform(seed) {
  for (let size = 1344; ; size *= 2) {
    const stream = shake128(seed, size), found = [];
    for (let at = 0; at + 2 < size && found.length < 256; at += 3) {
      const value = stream[at] | (stream[at + 1] << 8) | ((stream[at + 2] & 0x7f) << 16);
      if (value < LATTICE_Q) found.push(value);
    }
    if (found.length === 256) return found;
  }
}

/** 256 numbers of `bits` bits each, least significant first. */
function unpacked(data, bits) {
  const found = [];
  for (let held = 0, count = 0, at = 0; found.length < 256; count -= bits) {
    for (; count < bits; count += 8) held += data[at++] * 2 ** count;
    found.push(held % 2 ** bits);
    held = Math.floor(held / 2 ** bits);
  }
  return found;
}

const EXPANDED = new Map();

/** The matrix, t1 times 2^13 (both transformed) and the digest of a public key. */
function expanded(key) {
  const name = toHex(key);
  if (!EXPANDED.has(name)) {
    const four = [0, 1, 2, 3];
    EXPANDED.set(name, {
      matrix: four.map((row) => four.map((column) => uniform(joined(key.subarray(0, 32), Uint8Array.of(column, row))))),
      scaled: four.map((row) => transformed(unpacked(key.subarray(32 + 320 * row, 352 + 320 * row), 10).map((one) => one * 8192))),
      digest: shake256(key, 64),
    });
  }
  return EXPANDED.get(name);
}

/** SampleInBall (algorithm 29). */
function challengeOf(seed) {
  for (let size = 272; ; size *= 2) {
    const stream = shake256(seed, size), poly = new Array(256).fill(0);
    let at = 8, place = 256 - ONES;
    for (; place < 256; place++) {
      while (at < size && stream[at] > place) at++;
      if (at === size) break;
      const sign = place - (256 - ONES);
      poly[place] = poly[stream[at]];
      poly[stream[at++]] = (stream[sign >> 3] >> (sign & 7)) & 1 ? LATTICE_Q - 1 : 1;
    }
    if (place === 256) return poly;
  }
}

/** HintBitUnpack (algorithm 21): places of ones by row; null for any but the one spelling. */
function hintsOf(data) {
  const rows = [];
  let index = 0;
  for (let row = 0; row < 4; row++) {
    const stop = data[HINTS + row];
    if (stop < index || stop > HINTS) return null;
    for (let at = index + 1; at < stop; at++) if (data[at - 1] >= data[at]) return null;
    rows.push(new Set(data.subarray(index, stop)));
    index = stop;
  }
  return data.subarray(index, HINTS).some(Boolean) ? null : rows;
}

/** UseHint (algorithm 40): the high part of a number, moved by one where a hint says so. */
function rounded(value, isHinted) {
  let low = value % (2 * ROUNDING);
  if (low > ROUNDING) low -= 2 * ROUNDING;
  const isEdge = value - low === LATTICE_Q - 1, high = isEdge ? 0 : (value - low) / (2 * ROUNDING);
  if (!isHinted) return high;
  return (isEdge ? low - 1 : low) > 0 ? (high + 1) % 44 : (high + 43) % 44;
}

/** ML-DSA.Verify with an empty context string (algorithms 3 and 8). key: 1312, signature: 2420 bytes. */
function verifyMldsa44(key, message, signature) {
  if (key.length !== 1312 || signature.length !== 2420) return false;
  const hints = hintsOf(signature.subarray(2336)), four = [0, 1, 2, 3], response = [];
  for (const column of four) response.push(unpacked(signature.subarray(32 + 576 * column, 608 + 576 * column), 18).map((one) => MASK_RANGE - one));
  if (!hints || response.some((poly) => poly.some((one) => Math.abs(one) >= MASK_RANGE - 2 * ONES))) return false;
  const { matrix, scaled, digest } = expanded(key);
  const mark = shake256(joined(digest, Uint8Array.of(0, 0), message), 64);
  const challenge = transformed(challengeOf(signature.subarray(0, 32))), z = response.map((poly) => transformed(poly.map(inField)));
  const encoded = four.map((row) => {
    const total = challenge.map((one, at) => inField(four.reduce((sum, column) => sum + matrix[row][column][at] * z[column][at], 0) - one * scaled[row][at]));
    const packed = new Uint8Array(192);
    restored(total).forEach((value, at) => {
      const bits = rounded(value, hints[row].has(at)) << (6 * at) % 8, place = (6 * at) >> 3;
      packed[place] |= bits & 255;
      if (bits > 255) packed[place + 1] |= bits >> 8;
    });
    return packed;
  });
  return sameBytes(shake256(joined(mark, ...encoded), 32), signature.subarray(0, 32));
}

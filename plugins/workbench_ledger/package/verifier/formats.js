// Reading what a package consists of; every parser takes exactly one spelling. The same rules as in verify.py.

class Invalid extends Error {}

/** Something does not hold. code: of WORDS.problems; where: file, log, index, field, party. */
class Bad extends Error {
  constructor(code, where = {}) { super(code); this.code = code; this.where = where; }
}

const MAX_BODY = 65535, MAX_NOTE = 65536;
const PARTY = /^[a-z][a-z0-9-]{1,30}$/;
const NAME = /^[A-Za-z0-9._/-]{1,160}$/;
const HEX32 = /^[0-9a-f]{64}$/;
const KIND = /^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*){1,3}$/;
const FIELD = /^[a-z][a-z0-9_]{0,63}$/;
const TOKEN = /^[A-Za-z0-9._:-]{0,64}$/;
const REF = /^[!-~]{1,160}$/;
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/;
const NUMBER = /^(0|[1-9][0-9]{0,15})$/;
const PROJECT = /^[a-z][a-z0-9-]{0,62}$/;
const KEY_NAME = /^[^+\0-\x20\x7f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]{1,255}$/u;
const HALF_PAIR = /[\ud800-\udfff]/u; // in this mode only a surrogate without its other half
const ENVELOPE = ["actor", "committed", "job", "kind", "log", "refs", "shared", "time", "v"];

const LOG_TYPE = Uint8Array.of(1), COSIGN_TYPE = Uint8Array.of(4), MLDSA_TYPE = Uint8Array.of(6);
const utf8 = (text) => new TextEncoder().encode(text);
const SM2_TYPE = joined(Uint8Array.of(0xff), utf8("workbench/v1/sm2-cosign\n"));
const TREES = { sha256, sm3 };

const isText = (value) => typeof value === "string";
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const members = (value) => Object.keys(value).sort().join(" ");
const demand = (holds) => { if (!holds) throw new Invalid(); };
const padIndex = (value) => String(value).padStart(12, "0");
const characters = (text) => (text.length <= MAX_NOTE ? text.length : [...text].length);

/** Text of UTF-8 bytes; a mark at the beginning stays unless skipMark. Throws Invalid. */
function textOf(data, skipMark = false) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: !skipMark }).decode(data);
  } catch { throw new Invalid(); }
}

// ----------------------------------------------------------------------------------------------- JSON

/** RFC 8785 without floating-point numbers. Throws Invalid for anything else. */
function canonical(value, depth = 32) {
  if (value === null || typeof value === "boolean") return String(value);
  if (isText(value)) {
    demand(!HALF_PAIR.test(value));
    return JSON.stringify(value);
  }
  if (typeof value === "number") {
    demand(Number.isSafeInteger(value) && !Object.is(value, -0));
    return String(value);
  }
  demand(depth > 0);
  if (Array.isArray(value)) return "[" + value.map((one) => canonical(one, depth - 1)).join(",") + "]";
  const keys = Object.keys(value).sort();
  return "{" + keys.map((key) => canonical(key) + ":" + canonical(value[key], depth - 1)).join(",") + "}";
}

/** The object whose canonical bytes these are. Throws Invalid. */
function parseCanonical(data) {
  const text = textOf(data);
  let value;
  try { value = JSON.parse(text); } catch { throw new Invalid(); }
  demand(isObject(value) && canonical(value) === text);
  return value;
}

/** A JSON object in any spelling whose members occur once; numbers with a point or exponent become NaN. Throws Invalid. */
function parseOnce(data) {
  const text = textOf(data);
  let at = 0, depth = 0;
  const blank = () => { while (at < text.length && " \t\n\r".includes(text[at])) at++; };
  const take = (sign) => { blank(); demand(text[at] === sign); at++; };
  const string = () => {
    blank();
    const found = /"(?:[^"\\\0-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
    found.lastIndex = at;
    const hit = found.exec(text);
    demand(hit);
    at = found.lastIndex;
    return JSON.parse(hit[0]);
  };
  const list = (end, one) => {
    demand(++depth < 500);
    at++;
    blank();
    if (text[at] === end) at++;
    else for (;;) {
      one();
      blank();
      if (text[at] === end) { at++; break; }
      take(",");
    }
    depth--;
  };
  const value = () => {
    blank();
    if (text[at] === "{") {
      const found = Object.create(null);
      list("}", () => {
        const name = string();
        demand(!(name in found));
        take(":");
        found[name] = value();
      });
      return found;
    }
    if (text[at] === "[") {
      const found = [];
      list("]", () => found.push(value()));
      return found;
    }
    if (text[at] === '"') return string();
    const word = /true|false|null|-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    word.lastIndex = at;
    const hit = word.exec(text);
    demand(hit);
    at = word.lastIndex;
    return hit[1] || hit[2] ? NaN : JSON.parse(hit[0]);
  };
  const result = value();
  blank();
  demand(at === text.length && isObject(result));
  return result;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
function b64(data) {
  let text = "";
  for (let at = 0; at < data.length; at += 3) {
    const bits = (data[at] << 16) | ((data[at + 1] ?? 0) << 8) | (data[at + 2] ?? 0);
    text += ALPHABET[bits >> 18] + ALPHABET[(bits >> 12) & 63];
    text += at + 1 < data.length ? ALPHABET[(bits >> 6) & 63] : "=";
    text += at + 2 < data.length ? ALPHABET[bits & 63] : "=";
  }
  return text;
}

/** The bytes of canonical base64 only. Throws Invalid. */
function unb64(text) {
  demand(/^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text));
  const out = new Uint8Array((text.length / 4) * 3 - (text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0));
  for (let at = 0, to = 0; at < text.length; at += 4) {
    const bits = [0, 1, 2, 3].reduce((sum, next) => (sum << 6) | Math.max(0, ALPHABET.indexOf(text[at + next])), 0);
    for (const shift of [16, 8, 0]) if (to < out.length) out[to++] = (bits >> shift) & 255;
  }
  demand(b64(out) === text);
  return out;
}

function parseNumber(text) {
  demand(NUMBER.test(text) && Number.isSafeInteger(Number(text)));
  return Number(text);
}

// ------------------------------------------------------------------------------------------ container

const isName = (name) => NAME.test(name) && name.split("/").every((part) => !["", ".", ".."].includes(part));

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, one) => {
  let value = one;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(data) {
  let value = 0xffffffff;
  for (const one of data) value = CRC_TABLE[(value ^ one) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Little-endian numbers of 2 or 4 bytes: [[value, size], ...]. */
function little(...parts) {
  return Uint8Array.from(parts.flatMap(([value, size]) => Array.from({ length: size }, (_, at) => (value / 2 ** (8 * at)) & 255)));
}

const sizes = (name, size, crc) => [[crc, 4], [size, 4], [size, 4], [name.length, 2], [0, 2]];
const FIXED_HEADER = [[10, 2], [0, 2], [0, 2], [0, 2], [0x21, 2]];
const localHeader = (name, size, crc) => joined(Uint8Array.of(0x50, 0x4b, 3, 4), little(...FIXED_HEADER, ...sizes(name, size, crc)), name);
const centralHeader = (name, size, crc, offset) => joined(
  Uint8Array.of(0x50, 0x4b, 1, 2),
  little([0x030a, 2], ...FIXED_HEADER, ...sizes(name, size, crc), [0, 2], [0, 2], [0, 2], [0x81a40000, 4], [offset, 4]),
  name,
);
const endRecord = (count, size, offset) => joined(Uint8Array.of(0x50, 0x4b, 5, 6), little([0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2]));

/** The files of a ZIP in our one spelling, by name; every byte outside the files is compared. Throws Bad. `damaged`: files that do not fit their checksum. */
function readContainer(data) {
  const files = new Map();
  files.damaged = [];
  try {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    demand(data.length >= 22);
    const ending = data.length - 22;
    const count = view.getUint16(ending + 8, true), length = view.getUint32(ending + 12, true), start = view.getUint32(ending + 16, true);
    demand(start + length === ending && sameBytes(data.subarray(ending), endRecord(count, length, start)));
    let at = start, offset = 0, last = "";
    for (let number = 0; number < count; number++) {
      demand(at + 46 <= ending);
      const crc = view.getUint32(at + 16, true), size = view.getUint32(at + 20, true), nameLength = view.getUint16(at + 28, true);
      const raw = data.subarray(at + 46, at + 46 + nameLength), name = textOf(raw);
      demand(sameBytes(data.subarray(at, at + 46 + nameLength), centralHeader(raw, size, crc, offset)));
      demand(isName(name) && (!last || name === "manifest.json" || name > last) && !files.has(name));
      const header = localHeader(raw, size, crc);
      demand(sameBytes(data.subarray(offset, offset + header.length), header));
      const content = data.subarray(offset + header.length, offset + header.length + size);
      demand(content.length === size);
      if (crc32(content) !== crc) files.damaged.push(name);
      files.set(name, content);
      last = name;
      at += 46 + nameLength;
      offset += header.length + size;
    }
    demand(at === ending && offset === start && last === "manifest.json" && count <= 65000);
  } catch (error) {
    if (error instanceof Invalid) throw new Bad("CONTAINER");
    throw error;
  }
  return files;
}

// ------------------------------------------------------------------------------------------- envelope

function isTime(text) {
  if (!isText(text) || !TIME.test(text)) return false;
  const moment = new Date(text);
  return !Number.isNaN(moment.getTime()) && moment.getTime() >= 0 && moment.toISOString() === text;
}

const timeOf = (seconds) => (seconds > 253402300799 ? String(seconds) : new Date(seconds * 1000).toISOString().replace(".000Z", "Z"));

/** A parsed entry (evidence.md section 1). Throws Invalid for any other spelling. */
function parseEnvelope(body) {
  demand(body.length <= MAX_BODY);
  const one = parseCanonical(body);
  demand(members(one) === ENVELOPE.join(" ") && one.v === "workbench/v1/entry");
  demand(isObject(one.shared) && isObject(one.committed) && Array.isArray(one.refs));
  const { kind, time, log, job, actor, refs, shared, committed } = one;
  demand([kind, time, log, job, actor, ...refs, ...Object.values(shared), ...Object.values(committed)].every(isText));
  const names = [...Object.keys(shared), ...Object.keys(committed)];
  demand(KIND.test(kind) && kind.length >= 3 && kind.length <= 64 && isTime(time) && PARTY.test(log));
  demand(TOKEN.test(job) && TOKEN.test(actor) && refs.length <= 64 && refs.every((ref) => REF.test(ref)));
  demand(names.length <= 64 && new Set(names).size === names.length && names.every((name) => FIELD.test(name)));
  demand(Object.values(committed).every((text) => HEX32.test(text)));
  demand(Object.values(shared).every((text) => utf8(text).length <= 16384));
  const named = [shared.initiator ?? "", shared.partner ?? "", ...(shared.participants ?? "").split(" ")];
  return { kind, time, log, job, actor, refs, shared, committed, participants: new Set([log, ...named.filter(Boolean)]) };
}

/** Map of field to {salt, value}, from an object of openings. Throws Invalid. */
function parseOpened(value) {
  demand(isObject(value) && Object.keys(value).length <= 64);
  const opened = new Map();
  for (const name of Object.keys(value)) {
    const one = value[name];
    demand(isObject(one) && members(one) === "salt value" && isText(one.salt) && HEX32.test(one.salt) && isText(one.value));
    demand(!HALF_PAIR.test(name) && !HALF_PAIR.test(one.value));
    opened.set(name, { salt: fromHex(one.salt), value: one.value });
  }
  return opened;
}

/** Whether salt and value open the commitment of a field (evidence.md section 2). */
function opens(envelope, field, { salt, value }) {
  const parts = [utf8("workbench/v1/commitment"), utf8(envelope.kind), utf8(field), salt, utf8(value)];
  const framed = parts.flatMap((part) => [Uint8Array.from([24, 16, 8, 0], (shift) => (part.length >>> shift) & 255), part]);
  return parts[4].length <= 65535 && Object.hasOwn(envelope.committed, field)
    && envelope.committed[field] === toHex(sm3(joined(Uint8Array.of(2), ...framed)));
}

// ---------------------------------------------------------------------------------------------- trees

const leafOf = (digest, body) => digest(joined(Uint8Array.of(0), body));
const nodeOf = (digest, left, right) => digest(joined(Uint8Array.of(1), left, right));

/** Whether the leaf is entry `index` under this root (RFC 9162 section 2.1.3.2). Numbers may pass 2^32. */
function leads(digest, index, size, leaf, path, root) {
  if (!(index >= 0 && index < size)) return false;
  let place = BigInt(index), last = BigInt(size) - 1n, value = leaf;
  for (const sibling of path) {
    if (!last) return false;
    if (place & 1n || place === last) {
      value = nodeOf(digest, sibling, value);
      while (!(place & 1n) && place) { place >>= 1n; last >>= 1n; }
    } else value = nodeOf(digest, value, sibling);
    place >>= 1n;
    last >>= 1n;
  }
  return !last && sameBytes(value, root);
}

/** Whether the tree of size `young` continues that of size `old`, 0 < old < young (RFC 9162 section 2.1.4.2). */
function continues(digest, old, young, oldRoot, newRoot, path) {
  if (!(old > 0 && old < young)) return false;
  const steps = BigInt(old) & (BigInt(old) - 1n) ? path : [oldRoot, ...path];
  if (!steps.length) return false;
  let place = BigInt(old) - 1n, last = BigInt(young) - 1n;
  while (place & 1n) { place >>= 1n; last >>= 1n; }
  let before = steps[0], after = steps[0];
  for (const sibling of steps.slice(1)) {
    if (!last) return false;
    if (place & 1n || place === last) {
      before = nodeOf(digest, sibling, before);
      after = nodeOf(digest, sibling, after);
      while (!(place & 1n) && place) { place >>= 1n; last >>= 1n; }
    } else after = nodeOf(digest, after, sibling);
    place >>= 1n;
    last >>= 1n;
  }
  return !last && sameBytes(before, oldRoot) && sameBytes(after, newRoot);
}

/** Lines of base64 as hashes of 32 bytes. Throws Invalid. */
function hashesOf(lines) {
  const found = lines.map(unb64);
  demand(found.length <= 64 && found.every((one) => one.length === 32));
  return found;
}

// ----------------------------------------------------------------------------------- keys, checkpoints

/** Raw bytes of a key in hexadecimal. Throws Invalid. */
function readKey(text, isPoint) {
  const raw = fromHex(text);
  demand(raw && raw.length === (isPoint ? 65 : 32) && (!isPoint || (raw[0] === 4 && isOnSm2Curve(raw.subarray(1)))));
  return isPoint ? raw.subarray(1) : raw;
}

function readLatticeKey(text) {
  const raw = fromHex(text);
  demand(raw && raw.length === 1312);
  return raw;
}

/** Map of log to index: from which entry on an institution is a member, or no longer. Throws Invalid. */
function indicesOf(one, name) {
  if (!(name in one)) return new Map();
  demand(isObject(one[name]) && Object.keys(one[name]).length);
  return new Map(Object.entries(one[name]).map(([log, index]) => {
    demand(PARTY.test(log) && isText(index));
    return [log, parseNumber(index)];
  }));
}

/** Whether an institution belongs to the members of a log at an entry (ledger.md section 7.3). */
function isMember(party, span, log, index) {
  const joined = span.joined.get(log) ?? null, left = span.left.get(log) ?? null;
  if (log === party) return true;
  if (left !== null && (joined === null || left < joined)) return index < left || (joined !== null && index >= joined); // it left, and perhaps came back
  if (joined === null) return !span.joined.size;
  return joined <= index && (left === null || index < left);
}

const membersAt = (keys, log, index) => new Set([...keys].filter(([party, one]) => isMember(party, one.spans[0], log, index)).map(([party]) => party));

/** Co-signers of a head who are members both at the entry and at the head's last one, whoever tells of members. */
const counting = (note, keys, index) => new Set([...note.cosigners.keys()].filter((party) =>
  keys.get(party).spans.every((span) => [index, note.size - 1].every((at) => isMember(party, span, note.log, at)))));

/** The signers that make an entry of this kind final: those with an ML-DSA-44 line where a prefix demands it. */
const weighty = (kind, signers, note, prefixes) =>
  (prefixes.some((one) => kind.startsWith(one)) ? new Set([...signers].filter((party) => note.thirds.has(party))) : signers);

/** Map of party to keys, from a trust file. Throws Bad. */
function parseTrust(data) {
  const found = new Map();
  try {
    const value = parseCanonical(data.length && data[data.length - 1] === 10 ? data.subarray(0, -1) : data);
    demand((value.v === 1 || value.v === 2) && value.kind === "trust" && Array.isArray(value.parties) && value.parties.length);
    for (const one of value.parties) {
      demand(isObject(one) && isText(one.party) && PARTY.test(one.party) && !found.has(one.party));
      demand(isText(one.name_zh) && isText(one.name_en));
      found.set(one.party, {
        ed25519: readKey(one.cosign_ed25519, false),
        sm2: readKey(one.cosign_sm2, true),
        contract: readKey(one.contract_key, true),
        mldsa44: "cosign_mldsa44" in one ? readLatticeKey(one.cosign_mldsa44) : null,
        names: [one.name_zh, one.name_en].join("\n"),
        spans: [{ joined: indicesOf(one, "joined"), left: indicesOf(one, "left") }],
      });
    }
    const everything = [...found.values()].flatMap((keys) => [keys.ed25519, keys.sm2, keys.contract, keys.mldsa44].filter(Boolean).map(toHex));
    demand(new Set(everything).size === everything.length);
    demand((value.v === 2) === [...found.values()].some((keys) => keys.mldsa44 || keys.spans[0].joined.size || keys.spans[0].left.size));
  } catch (error) {
    if (error instanceof Invalid) throw new Bad("TRUST_FORM", { file: "keys/trust.json" });
    throw error;
  }
  return found;
}

const keyId = (name, type, key) => toHex(sha256(joined(utf8(name + "\n"), type, key)).subarray(0, 4));
const vkeyOf = (name, type, key) => `${name}+${keyId(name, type, key)}+${b64(joined(type, key))}`;
const originOf = (project, party) => `workbench.example/${project}/${party}`;
const cosignedBytes = (text, time) => utf8(`cosignature/v1\ntime ${time}\n${text}`);
const sm2SignedBytes = (party, text, time) => joined(utf8(`workbench/v1/cosign\n${party}\n\n`), cosignedBytes(text, time));

const u64 = (value) => bytesOf(BigInt(value), 8);
const withLength = (text) => joined(Uint8Array.of(text.length), utf8(text));

/** What an ML-DSA-44 co-signature signs (ledger.md section 1): the whole tree by its SHA-256 root. */
const mldsaSignedBytes = (party, { project, log, size, roots }, time) => joined(
  utf8("subtree/v1\n\0"), withLength(originOf(project, party)), u64(time), withLength(originOf(project, log)), u64(0), u64(size), roots.sha256,
);

/** SubjectPublicKeyInfo of an SM2 key x || y, PEM. */
function sm2Pem(key) {
  const text = b64(joined(fromHex("3059301306072a8648ce3d020106082a811ccf5501822d03420004"), key));
  return `-----BEGIN PUBLIC KEY-----\n${text.match(/.{1,64}/g).join("\n")}\n-----END PUBLIC KEY-----\n`;
}

/** Text, project, log, size, roots and lines of a note. Throws Invalid. */
function splitNote(note) {
  const cut = note.lastIndexOf("\n\n");
  demand(cut > 0 && characters(note) <= MAX_NOTE);
  const text = note.slice(0, cut + 1), block = note.slice(cut + 2);
  demand(block.endsWith("\n") && block.split("\n").length - 1 <= 64);
  const head = text.split("\n");
  demand(head.length === 5 && head[3].startsWith("sm3 "));
  const parts = head[0].split("/"), size = parseNumber(head[1]);
  demand(parts.length === 3 && parts[0] === "workbench.example" && size && PROJECT.test(parts[1]) && PARTY.test(parts[2]));
  const [first, second] = hashesOf([head[2], head[3].slice(4)]);
  const lines = block.slice(0, -1).split("\n").map((line) => {
    const pieces = line.split(" ");
    demand(pieces.length === 3 && pieces[0] === "\u2014" && KEY_NAME.test(pieces[1]));
    const data = unb64(pieces[2]);
    demand(data.length > 4);
    return { name: pieces[1], id: toHex(data.subarray(0, 4)), payload: data.subarray(4) };
  });
  return { text, project: parts[1], log: parts[2], size, roots: { sha256: first, sm3: second }, lines };
}

/** evidence.md section 5, rules 1 to 4 but the quorum. project: null takes the note's own. Throws Bad. */
function verifyNote(note, keys, project) {
  let found;
  try { found = splitNote(note); } catch (error) {
    if (error instanceof Invalid) throw new Bad("CHECKPOINT_FORM");
    throw error;
  }
  const { text, log, lines } = found;
  if (!keys.has(log) || (project !== null && found.project !== project)) throw new Bad("CHECKPOINT_OF_OTHERS", { party: log });
  const name = originOf(found.project, log), own = keys.get(log);
  const mine = lines.filter((line) => line.name === name && line.id === keyId(name, LOG_TYPE, own.ed25519));
  if (mine.length !== 1 || !verifyEd25519(own.ed25519, utf8(text), mine[0].payload)) throw new Bad("LOG_SIGNATURE", { party: log });
  const cosigners = new Map(), thirds = new Set();
  for (const party of [...keys.keys()].sort()) {
    const one = cosignature(party, keys.get(party), found);
    if (!one) continue;
    cosigners.set(party, one);
    if (one.hasThird) thirds.add(party);
  }
  return { ...found, note, cosigners, thirds, unknown: lines.length - 1 - 2 * cosigners.size - thirds.size };
}

/** Both halves of an institution's co-signature and whether a third line stands beside them, or null when it has none. */
function cosignature(party, keys, note) {
  const { project, text, lines } = note, name = originOf(project, party);
  const of = (type, key) => lines.filter((line) => line.name === name && line.id === keyId(name, type, key)).map((line) => line.payload);
  const plain = of(COSIGN_TYPE, keys.ed25519), national = of(SM2_TYPE, keys.sm2), third = keys.mldsa44 ? of(MLDSA_TYPE, keys.mldsa44) : [];
  if (!plain.length && !national.length && !third.length) return null;
  const half = new Bad("COSIGNATURE_HALF", { party });
  if (plain.length !== 1 || national.length !== 1 || third.length > 1) throw half;
  if (![...national, ...third].every((one) => sameBytes(one.subarray(0, 8), plain[0].subarray(0, 8)))) throw half;
  const time = Number(bigOf(plain[0].subarray(0, 8)));
  if (plain[0].length !== 72 || national[0].length !== 72 || third.some((one) => one.length !== 2428)) throw half;
  if (!Number.isSafeInteger(time) || time < 1) throw half;
  if (!verifyEd25519(keys.ed25519, cosignedBytes(text, time), plain[0].subarray(8))) throw new Bad("COSIGNATURE", { party });
  if (!verifySm2(keys.sm2, sm2SignedBytes(party, text, time), national[0].subarray(8))) throw new Bad("COSIGNATURE", { party });
  for (const one of third) {
    if (!verifyMldsa44(keys.mldsa44, mldsaSignedBytes(party, note, time), one.subarray(8))) throw new Bad("COSIGNATURE_MLDSA", { party });
  }
  return { time, signature: national[0].subarray(8), hasThird: third.length === 1 };
}

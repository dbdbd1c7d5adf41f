// Outside anchors of a package, as far as they can be checked without a network (docs/protocols/package.md section 7.1).

const ANCHOR_FILE = /^anchors\/([a-z][a-z0-9-]{1,30})\/(rfc3161|evm)\/[a-z]{1,20}\.(?:json|note|tsq|tsr|pem)$/;
const ANCHOR_FILES = { rfc3161: ["checkpoint.note", "request.tsq", "token.tsr", "tsa.pem"], evm: ["checkpoint.note", "transaction.json"] };
const ANCHOR_CULPRITS = { ANCHOR_NOTE: "checkpoint.note", ANCHOR_PATH: "anchor.json", ANCHOR_TOKEN: "token.tsr", ANCHOR_CHAIN: "transaction.json" };
const TRANSACTION = "block block_hash block_time chain_id code_sha256 contract data origin origin_id raw sender topics transaction v";
const ANCHORED_TOPIC = "ee4758cf20fae73b4a3539508a2ce82afb8b7c4143ce9206393e3c9d2aff52d7"; // anchor.md section 3.1, as the selector
const ANCHOR_CALL = fromHex("d309a21c");
const SHA256_ALGORITHM = "0609608648016503040201";

/** The step `anchors`. entries: Map of log to indices of its entries here. Returns [[name of UNCHECKED, values]]. */
function checkAnchors(files, notes, keys, project, entries, said, result) {
  const step = result.begin("anchors"), folders = new Map(), proven = [], left = [];
  let other = 0;
  for (const name of files.keys()) {
    if (!name.startsWith("anchors/")) continue;
    const folder = name.slice(0, name.lastIndexOf("/") + 1);
    folders.set(folder, [...(folders.get(folder) ?? []), name]);
  }
  if (folders.size !== said) step.problem("COUNT", { file: "package.json" });
  for (const folder of [...folders.keys()].sort()) {
    const log = folder.split("/")[1], file = `${folder}anchor.json`, read = (name) => files.get(folder + name);
    let anchor;
    const isReadable = tried(step, "ANCHOR_FORM", { file, log }, () => {
      demand(files.has(file));
      anchor = parseAnchor(folder, files.get(file));
      const expected = anchor.state === "confirmed" ? ANCHOR_FILES[anchor.kind] : [];
      demand(folders.get(folder).sort().join() === ["anchor.json", ...expected].map((name) => folder + name).sort().join());
    });
    if (!isReadable) continue;
    if (anchor.state !== "confirmed") { other++; continue; }
    try {
      const note = checkAnchoredNote(anchor, read("checkpoint.note"), keys, project);
      const here = entries.get(log) ?? [], covered = here.filter((index) => index < note.size).length;
      checkAnchorPath(anchor, note, notes.get(`${log}/${anchor.checkpoint}`), covered);
      let told;
      if (anchor.kind === "rfc3161") {
        checkStamp(anchor, read("request.tsq"), read("token.tsr"), read("tsa.pem"));
        told = { command: stampCommand(anchor) };
      } else told = checkTransaction(anchor, note, read("transaction.json"));
      proven.push(`${log} ${anchor.kind} ${anchor.time} ${covered}/${here.length}`);
      left.push([`anchor_${anchor.kind}`, { ...told, log, time: anchor.time, file: `${folder}transaction.json` }]);
    } catch (error) {
      if (!(error instanceof Bad)) throw error;
      step.problem(error.code, { file: folder + ANCHOR_CULPRITS[error.code], log });
    }
  }
  step.end({ count: folders.size, proven: proven.length, other, told: proven.join(", ") || "—" });
  return left;
}

/** How OpenSSL checks what is not checked here: the authority's signature, at the time of the stamp. */
function stampCommand({ folder, time }) {
  const checked = `openssl ts -verify -in ${folder}token.tsr -data ${folder}checkpoint.note`;
  return `${checked} -CAfile ${folder}tsa.pem -untrusted ${folder}tsa.pem -attime ${Math.floor(Date.parse(time) / 1000)}`;
}

/** package.md section 4.2. Throws Invalid. */
function parseAnchor(folder, data) {
  const value = parseCanonical(data), { kind, log, state, size, time, digest, checkpoint } = value;
  demand(members(value) === "checkpoint digest kind log sha256 size sm3 state time v" && value.v === "workbench/v1/package-anchor");
  demand([kind, log, state, time, digest].every(isText) && `anchors/${log}/${kind}/` === folder);
  demand(["confirmed", "waiting", "lost", "conflict"].includes(state) && isCount(size) && size && isCount(checkpoint));
  const isConfirmed = state === "confirmed";
  demand(HEX32.test(digest) && checkpoint > 0 === isConfirmed && (isConfirmed ? isTime(time) : time === ""));
  const paths = {};
  for (const tree of Object.keys(TREES)) {
    demand(Array.isArray(value[tree]) && value[tree].every(isText));
    paths[tree] = hashesOf(value[tree]);
    demand(isConfirmed || !paths[tree].length);
  }
  return { folder, kind, log, state, size, time, digest: fromHex(digest), checkpoint, paths };
}

/** The anchored note. Throws Bad. */
function checkAnchoredNote(anchor, data, keys, project) {
  const bad = new Bad("ANCHOR_NOTE");
  let note;
  try { note = verifyNote(textOf(data), keys, project); } catch (error) {
    if (error instanceof Bad || error instanceof Invalid) throw bad;
    throw error;
  }
  if (!sameBytes(sha256(data), anchor.digest) || note.log !== anchor.log || note.size !== anchor.size) throw bad;
  return note;
}

/** The tie to a checkpoint of the package; covered: how many entries here. Throws Bad. */
function checkAnchorPath(anchor, note, head, covered) {
  const bad = new Bad("ANCHOR_PATH");
  if (!head || !covered) throw bad;
  const [old, young] = head.size <= note.size ? [head, note] : [note, head];
  for (const [tree, digest] of Object.entries(TREES)) {
    const path = anchor.paths[tree];
    const holds = old.size === young.size
      ? !path.length && sameBytes(old.roots[tree], young.roots[tree])
      : continues(digest, old.size, young.size, old.roots[tree], young.roots[tree], path);
    if (!holds) throw bad;
  }
}

// ----------------------------------------------------------------------------------------- time stamps

/** The DER elements that follow one another (X.690 section 10.1): [{tag, content, whole}]. Throws Invalid. */
function elementsOf(data) {
  const found = [];
  for (let at = 0; at < data.length;) {
    demand(at + 2 <= data.length && (data[at] & 0x1f) !== 0x1f);
    let size = data[at + 1], start = at + 2;
    if (size >= 0x80) {
      const count = size & 0x7f;
      demand(count >= 1 && count <= 4 && start + count <= data.length && data[start]);
      size = Number(bigOf(data.subarray(start, start + count)));
      start += count;
      demand(size >= 0x80);
    }
    demand(start + size <= data.length);
    found.push({ tag: data[at], content: data.subarray(start, start + size), whole: data.subarray(at, start + size) });
    at = start + size;
  }
  return found;
}

/** What is inside an element, at least `least` elements, or exactly `exactly`. Throws Invalid. */
function insideOf(element, tag, { least = 1, exactly = 0 } = {}) {
  demand(element.tag === tag);
  const found = elementsOf(element.content);
  demand(exactly ? found.length === exactly : found.length >= least);
  return found;
}

function onlyOf(data, tag, counts) {
  const found = elementsOf(data);
  demand(found.length === 1);
  return insideOf(found[0], tag, counts);
}

/** The SHA-256 digest in a MessageImprint, in hex. */
function imprintOf(element) {
  const [algorithm, hashed] = insideOf(element, 0x30, { exactly: 2 });
  demand(algorithm.tag === 0x30 && [SHA256_ALGORITHM, `${SHA256_ALGORITHM}0500`].includes(toHex(algorithm.content)) && hashed.tag === 4);
  return toHex(hashed.content);
}

function nonceOf(elements) {
  const found = elements.filter(({ tag }) => tag === 2);
  demand(found.length === 1);
  return toHex(found[0].content);
}

/** Digest and nonce of a TimeStampReq, as hex. Throws Invalid. */
function readStampRequest(data) {
  const [version, imprint, ...rest] = onlyOf(data, 0x30, { least: 2 });
  demand(toHex(version.whole) === "020101");
  return [imprintOf(imprint), nonceOf(rest)];
}

/** Digest, nonce and genTime (as in an envelope) of a granted TimeStampResp; no signature is checked. Throws Invalid. */
function readStampToken(data) {
  const [status, token] = onlyOf(data, 0x30, { exactly: 2 });
  demand(toHex(insideOf(status, 0x30)[0].whole) === "020100");
  const [kind, explicit] = insideOf(token, 0x30, { exactly: 2 });
  const [signed] = insideOf(explicit, 0xa0, { exactly: 1 });
  const content = insideOf(signed, 0x30, { least: 3 })[2];
  const [contentKind, wrapped] = insideOf(content, 0x30, { exactly: 2 });
  const [octets] = insideOf(wrapped, 0xa0, { exactly: 1 });
  demand(toHex(kind.whole) === "06092a864886f70d010702" && toHex(contentKind.whole) === "060b2a864886f70d0109100104" && octets.tag === 4);
  const [version, , imprint, , time, ...rest] = onlyOf(octets.content, 0x30, { least: 5 });
  demand(toHex(version.whole) === "020101" && time.tag === 0x18);
  return [imprintOf(imprint), nonceOf(rest), instantOf(textOf(time.content))];
}

/** A GeneralizedTime of DER as in an envelope, to the millisecond below. Throws Invalid. */
function instantOf(text) {
  const found = /^([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]{0,8}[1-9]))?Z$/.exec(text);
  demand(found);
  const [, year, month, day, hour, minute, second, fraction = ""] = found;
  const instant = `${year}-${month}-${day}T${hour}:${minute}:${second}.${`${fraction}000`.slice(0, 3)}Z`;
  demand(isTime(instant));
  return instant;
}

/** Imprint, nonce and time of a time stamp. Throws Bad. */
function checkStamp(anchor, request, token, certificates) {
  const bad = new Bad("ANCHOR_TOKEN");
  let asked, stamped;
  try { [asked, stamped] = [readStampRequest(request), readStampToken(token)]; } catch (error) {
    if (error instanceof Invalid) throw bad;
    throw error;
  }
  const isSame = asked[0] === stamped[0] && asked[1] === stamped[1] && asked[0] === toHex(anchor.digest);
  if (!isSame || stamped[2] !== anchor.time || !isPem(certificates)) throw bad;
}

/** Whether these are one to five certificates in PEM, none of which is looked into. */
function isPem(data) {
  const text = Array.from(data, (one) => String.fromCharCode(one)).join("");
  const blocks = [...text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/= \r\n\t]+)-----END CERTIFICATE-----/g)];
  try {
    return blocks.length >= 1 && blocks.length <= 5 && blocks.every(([, one]) => onlyOf(unb64(one.replace(/[ \r\n\t]/g, "")), 0x30));
  } catch (error) {
    if (error instanceof Invalid) return false;
    throw error;
  }
}

// ---------------------------------------------------------------------------------------------- chain

/** What transaction.json says, once it speaks of this note. Throws Bad. */
function checkTransaction(anchor, note, data) {
  try {
    const value = parseCanonical(data), name = originOf(note.project, note.log);
    demand(members(value) === TRANSACTION && Object.values(value).every(isText));
    const place = sha256(utf8(name)), size = bytesOf(BigInt(note.size), 32);
    const words = joined(note.roots.sha256, note.roots.sm3, anchor.digest);
    demand(value.v === "workbench/v1/anchor-transaction" && value.origin === name && value.origin_id === toHex(place));
    demand(value.topics === `${ANCHORED_TOPIC} ${toHex(place)} ${toHex(size)}` && value.data === toHex(words));
    for (const [member, count] of [["contract", 40], ["sender", 40], ["transaction", 64], ["block_hash", 64], ["code_sha256", 64]]) {
      demand(new RegExp(`^[0-9a-f]{${count}}$`).test(value[member]));
    }
    const seconds = parseNumber(value.block_time), chain = parseNumber(value.chain_id);
    parseNumber(value.block);
    demand(anchor.time === timeOf(seconds).replace("Z", ".000Z") && /^([0-9a-f]{2})+$/.test(value.raw));
    checkRawTransaction(fromHex(value.raw), chain, fromHex(value.contract), joined(ANCHOR_CALL, place, size, words));
    return value;
  } catch (error) {
    if (error instanceof Invalid) throw new Bad("ANCHOR_CHAIN");
    throw error;
  }
}

/** A legacy transaction (nonce, price, gas, to, value, data, v, r, s) of EIP-155. Throws Invalid. */
function checkRawTransaction(raw, chain, contract, call) {
  const whole = rlpItems(raw, 0xc0);
  demand(whole.length === 1);
  const items = rlpItems(whole[0], 0x80);
  demand(items.length === 9 && sameBytes(items[3], contract) && !items[4].length && sameBytes(items[5], call));
  const v = bigOf(items[6]), least = 35n + 2n * BigInt(chain);
  demand(v === least || v === least + 1n);
}

/** Contents of RLP items that follow one another (Yellow Paper appendix B). base: 0x80 for strings, 0xc0 for lists. */
function rlpItems(data, base) {
  const found = [];
  for (let at = 0; at < data.length;) {
    const first = data[at];
    let size, start;
    if (base === 0x80 && first < 0x80) [size, start] = [1, at];
    else if (first >= base && first <= base + 55) [size, start] = [first - base, at + 1];
    else {
      demand(first > base + 55 && first < base + 64);
      start = at + 1 + first - base - 55;
      demand(start <= data.length && data[at + 1]);
      size = Number(bigOf(data.subarray(at + 1, start)));
      demand(size >= 56);
    }
    demand(start + size <= data.length && !(base === 0x80 && size === 1 && start > at && data[start] < 0x80));
    found.push(data.subarray(start, start + size));
    at = start + size;
  }
  return found;
}

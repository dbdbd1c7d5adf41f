// Exported lists (evidence.md section 3), receipts (section 9), and the two ways in: a ZIP or a receipt.

const KEY_COLUMNS = { phone: ["phone", "mobile", "手机号"], id_no: ["id_no", "身份证号"] };
const MAX_CELL = 131072;

/** Rows of a CSV file as Python's csv module reads them in strict mode. Throws Invalid. */
function parseCsv(text) {
  const rows = [];
  let row = [], cell = "", at = 0, isStart = true;
  const endRow = () => { row.push(cell); rows.push(row); row = []; cell = ""; isStart = true; };
  while (at < text.length) {
    const one = text[at];
    if (isStart && one === '"') {
      at++;
      for (;;) {
        demand(at < text.length);
        if (text[at] !== '"') { cell += text[at++]; continue; }
        if (text[at + 1] === '"') { cell += '"'; at += 2; continue; }
        at++;
        break;
      }
      demand(at === text.length || [",", "\n", "\r"].includes(text[at]));
      isStart = false;
    } else if (one === ",") {
      row.push(cell);
      cell = "";
      isStart = true;
      at++;
    } else if (one === "\n" || one === "\r") {
      if (!row.length && !cell && isStart) rows.push([]); else endRow();
      at += one === "\r" && text[at + 1] === "\n" ? 2 : 1;
    } else {
      cell += one;
      isStart = false;
      at++;
    }
    demand(cell.length <= MAX_CELL);
  }
  if (row.length || cell || !isStart) endRow();
  return rows;
}

/** The identifiers of a list, row by row. Throws Invalid. */
function keyColumn(data, keyKind) {
  const rows = parseCsv(textOf(data, true)), header = rows[0] ?? [];
  const kinds = keyKind ? [keyKind] : Object.keys(KEY_COLUMNS);
  const places = kinds.flatMap((kind) => (Object.hasOwn(KEY_COLUMNS, kind) ? KEY_COLUMNS[kind] : []))
    .filter((name) => header.includes(name)).map((name) => header.indexOf(name));
  demand(places.length === 1 && rows.every((row) => !row.length || row.length > places[0]));
  return rows.slice(1).filter((row) => row.length).map((row) => row[places[0]]);
}

function byBytes(one, two) {
  for (let at = 0; at < Math.min(one.length, two.length); at++) if (one[at] !== two[at]) return one[at] - two[at];
  return one.length - two.length;
}

function listDigest(key, identifiers) {
  const encoded = [...new Set(identifiers)].map(utf8).sort(byBytes);
  demand(key && key.length === 32 && encoded.every((one) => one.length && !one.includes(10)));
  const end = Uint8Array.of(10);
  return toHex(hmacSm3(key, joined(utf8("workbench/v1/list\n"), ...encoded.flatMap((one) => [one, end]))));
}

function checkLists(everything, lists, result) {
  const step = result.begin("lists");
  const vouching = everything.filter(({ opened }) => opened.has("list_digest") && opened.has("list_key"));
  for (const { name, data } of lists) {
    const problem = listProblem(vouching, data);
    if (problem) step.problem(problem, { file: name });
  }
  step.end({ count: lists.length });
}

function listProblem(vouching, data) {
  const named = vouching.filter(({ opened }) => opened.has("file_sm3")), candidates = named.length ? named : vouching;
  if (!candidates.length) return "LIST_NONE";
  const whole = toHex(sm3(data));
  let isReadable = false;
  for (const { keyKind, opened } of candidates) {
    try {
      const digest = listDigest(fromHex(opened.get("list_key")), keyColumn(data, keyKind));
      isReadable = true;
      if (digest === opened.get("list_digest") && (opened.get("file_sm3") ?? whole) === whole) return "";
    } catch (error) {
      if (!(error instanceof Invalid)) throw error;
    }
  }
  return isReadable ? "LIST_OTHER" : "LIST_FILE";
}

/** The result for a receipt; besides, `entry` (the envelope or null) and `index`. trust: Map of pinned keys or null. */
function checkReceipt(value, trust, lists, mldsa) {
  const result = new Result(), step = result.begin("format");
  let receipt;
  if (!tried(step, "RECEIPT_FORM", {}, () => { receipt = parseReceipt(value, false); })) {
    return { ...result.finish("FAILED"), entry: null, index: 0 };
  }
  step.end();
  const checked = [receipt, ...receipt.links].map((one, at) => checkOne(one, trust, result, at ? `link ${at} ` : ""));
  const main = checked[0], found = checked.filter(Boolean);
  checkJobs(checked, result);
  if (lists.length) {
    const vouching = found.map(({ receipt: one, envelope }) => ({
      keyKind: envelope.shared.key_kind ?? "", opened: new Map([...one.opened].map(([field, { value: text }]) => [field, text])),
    }));
    checkLists(vouching, lists, result);
  }
  const keys = trust ?? receipt.keys;
  result.parties = keys.size;
  if (main && found.length === checked.length) checkAllSealed(found, keys, mldsa, result);
  if (!trust) result.leave("keys");
  result.leave("time");
  result.leave("truth");
  return { ...result.finish(trust ? "OK" : "KEYS_NOT_PINNED"), entry: main?.envelope ?? null, index: receipt.index };
}

function parseReceipt(value, isLinked) {
  demand(isObject(value) && members(value) === "checkpoint entry index keys links log openings proof tlog_proof v" && value.v === "workbench/v1/receipt");
  const { index, proof, links, log, entry, checkpoint } = value;
  demand(isCount(index) && index < Number.MAX_SAFE_INTEGER);
  demand(isObject(proof) && members(proof) === "sha256 sm3" && Array.isArray(proof.sha256) && Array.isArray(proof.sm3));
  demand([...proof.sha256, ...proof.sm3].every(isText));
  demand(Array.isArray(links) && links.length <= (isLinked ? 0 : 8) && isObject(value.keys) && Object.keys(value.keys).length <= 64);
  const keys = new Map();
  for (const [party, one] of Object.entries(value.keys)) {
    demand(PARTY.test(party) && isObject(one) && members(one) === "ed25519 sm2");
    keys.set(party, { ed25519: readKey(one.ed25519, false), sm2: readKey(one.sm2, true), spans: [{ joined: new Map(), left: new Map() }] });
  }
  demand([log, entry, checkpoint, value.tlog_proof].every(isText) && PARTY.test(log) && !HALF_PAIR.test(entry));
  return {
    log, index, body: utf8(entry), paths: { sha256: hashesOf(proof.sha256), sm3: hashesOf(proof.sm3) }, note: checkpoint,
    tlogProof: value.tlog_proof, keys, opened: parseOpened(value.openings), links: links.map((one) => parseReceipt(one, true)),
  };
}

function checkOne(receipt, trust, result, prefix) {
  const { log, index, body, paths } = receipt, where = { log, index };
  let envelope = null, note = null, step = result.begin(prefix + "entry");
  const isReadable = tried(step, "ENVELOPE", where, () => {
    envelope = parseEnvelope(body);
    demand(envelope.log === log);
  });
  if (isReadable) step.end({ ...where, kind: envelope.kind, time: envelope.time }, "entry"); else envelope = null;
  const keys = trust ?? receipt.keys;
  step = result.begin(prefix + "keys");
  for (const party of [...receipt.keys.keys()].sort()) {
    const inside = receipt.keys.get(party), pinned = trust?.get(party);
    const isSame = pinned && sameBytes(pinned.ed25519, inside.ed25519) && sameBytes(pinned.sm2, inside.sm2);
    if (trust && !isSame) step.problem("KEY_DIFFERS", { party });
  }
  step.end({ parties: [...keys.keys()].sort().join(", ") }, trust ? "keys_pinned" : "keys_unpinned");
  step = result.begin(prefix + "checkpoint");
  const isSigned = tried(step, "CHECKPOINT_FORM", { log }, () => {
    note = verifyNote(receipt.note, keys, null);
    if (note.log !== log) throw new Bad("CHECKPOINT_OF_OTHERS", { party: note.log });
  });
  if (isSigned) {
    const times = [...note.cosigners].map(([party, { time }]) => `${party} (${timeOf(time)})`);
    step.end({ cosigners: times.join(", ") || "—" }, "checkpoint");
  } else note = null;
  for (const [tree, digest] of Object.entries(TREES)) {
    step = result.begin(prefix + tree);
    if (!note || !leads(digest, index, note.size, leafOf(digest, body), paths[tree], note.roots[tree])) step.problem("INCLUSION", where);
    step.end({ count: 1 }, tree);
  }
  step = result.begin(prefix + "tlog_proof");
  const lines = ["c2sp.org/tlog-proof@v1", `index ${index}`, ...paths.sha256.map(b64)];
  if (receipt.tlogProof !== `${lines.join("\n")}\n\n${receipt.note}`) step.problem("RECEIPT", where);
  step.end({}, "tlog_proof");
  if (receipt.opened.size) {
    step = result.begin(prefix + "openings");
    for (const field of [...receipt.opened.keys()].sort()) {
      if (!envelope || !opens(envelope, field, receipt.opened.get(field))) step.problem("OPENING", { ...where, field });
    }
    step.end({ count: receipt.opened.size }, "openings");
  }
  return envelope && note ? { receipt, envelope, note } : null;
}

function checkJobs(checked, result) {
  const main = checked[0], seen = new Set();
  checked.forEach((one, at) => {
    if (!one || !main) return;
    const { log, index } = one.receipt, { job } = one.envelope;
    if (at) {
      const step = result.begin(`link ${at} job`);
      if (job !== main.envelope.job || !job || one.note.project !== main.note.project || seen.has(`${log}/${index}`)) step.problem("RECEIPT", { log, index });
      step.end({ log, index }, "job");
    }
    seen.add(`${log}/${index}`);
  });
}

function checkAllSealed(checked, keys, mldsa, result) {
  const required = new Set(), missing = new Set();
  for (const { receipt, envelope } of checked) for (const party of [receipt.log, ...envelope.participants]) required.add(party);
  const signed = checked.map(({ receipt, note }) => counting(note, keys, receipt.index));
  const counted = checked.map(({ envelope, note }, at) => weighty(envelope.kind, signed[at], note, mldsa));
  for (const one of counted) for (const party of required) if (!one.has(party)) missing.add(party);
  const lacksThird = counted.some((one, at) => one.size !== signed[at].size) && signed.every((one) => [...required].every((party) => one.has(party)));
  const members = membersAt(keys, checked[0].receipt.log, checked[0].receipt.index);
  const signers = [...members].filter((party) => counted.every((one) => one.has(party)));
  const isFinal = !missing.size && signers.length >= 2, isFull = isFinal && signers.length === members.size;
  const step = result.begin("sealed"), { log, index } = checked[0].receipt;
  if (!isFinal) step.problem(lacksThird ? "MLDSA_MISSING" : "NOT_FINAL", { log, index, party: [...missing].sort().join(", ") || "—" }, false);
  result.entries = 1;
  result.states = { FULL: Number(isFull), SEALED: Number(isFinal && !isFull), PENDING: Number(!isFinal) };
  step.end({ share: `${signers.length}/${members.size}` }, "receipt_sealed");
}

/**
 * What both ways in come to. data: bytes of a ZIP or of a receipt, or files: Map of an unpacked folder; trust: bytes or null;
 * lists: [{name, data}]; receipt: bytes or null; mldsa: as in `checkPackage`. Returns {result, story}; throws Bad for a trust file that is none.
 */
function verifyEvidence({ data = null, files = null, trust = null, lists = [], receipt = null, form = null, now = null, mldsa = [] }) {
  const pinned = trust ? parseTrust(trust) : null, story = [];
  const parsed = (bytes) => { try { return parseOnce(bytes); } catch (error) { if (error instanceof Invalid) return null; throw error; } };
  if (data && !(data[0] === 0x50 && data[1] === 0x4b) && data.length <= 4 * 1024 * 1024) {
    if (isConsentReceipt(data)) {
      return { result: checkConsentReceipt(data, pinned, receipt ? parsed(receipt) ?? {} : null, form, now, mldsa), story };
    }
    const value = parsed(data);
    if (value) {
      const { entry, index, ...result } = checkReceipt(value, pinned, lists, mldsa);
      return { result, story };
    }
  }
  try {
    const found = files ?? readContainer(data);
    if (files && ![...files.keys()].every(isName)) throw new Bad("CONTAINER");
    return { result: checkPackage(found, files ? null : data, pinned, lists, receipt ? parsed(receipt) ?? {} : null, mldsa, story), story };
  } catch (error) {
    if (!(error instanceof Bad)) throw error;
    const result = new Result();
    result.begin("container").problem(error.code);
    return { result: result.finish("FAILED"), story };
  }
}

// The steps of docs/protocols/package.md section 7, in order; the result is the same object that verify.py prints.

const MAX_PROBLEMS = 20;
const filled = (text, values) => text.replace(/\{([a-z0-9_]+)\}/g, (_, name) => String(values[name]));
const told = (table, name, values) => ({ zh: filled(WORDS[table][name][0], values), en: filled(WORDS[table][name][1], values) });

class Step {
  constructor(name) { Object.assign(this, { name, zh: "", en: "", problems: [], more: 0, failed: false }); }

  problem(code, where = {}, isFinal = true) {
    this.failed ||= isFinal;
    const { file = "", log = "", index = null, field = "", party = "" } = where;
    const found = { file, log, index, field, party };
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ code, ...found, ...told("problems", code, found) });
    else this.more++;
  }

  end(values = {}, words = "") {
    const { zh, en } = this.problems[0] ?? told("steps", words || this.name, values);
    Object.assign(this, { zh, en });
  }

  plain() {
    if (this.problems.length && !this.zh) this.end();
    const { name, zh, en, problems, more } = this;
    return { name, ok: !problems.length, zh, en, problems, more };
  }
}

class Result {
  constructor() { Object.assign(this, { steps: [], unchecked: [], entries: 0, states: { FULL: 0, SEALED: 0, PENDING: 0 }, parties: 0 }); }
  begin(name) { this.steps.push(new Step(name)); return this.steps.at(-1); }
  leave(name, values = {}) { this.unchecked.push(told("unchecked", name, values)); }

  finish(word) {
    const failed = this.steps.find((step) => step.failed);
    const steps = this.steps.map((step) => step.plain());
    let verdict = word, values;
    if (failed || word === "FAILED") {
      const first = failed ?? this.steps.at(-1);
      verdict = "FAILED";
      values = { step: first.name, zh: first.zh, en: first.en };
    } else {
      verdict = this.states.PENDING ? "NOT_FINAL" : word;
      values = { steps: steps.length, parties: this.parties, count: this.states.PENDING };
    }
    return {
      v: "workbench/v1/package-result", verdict, ...told("verdicts", verdict, values), steps, unchecked: this.unchecked,
      entries: this.entries, full: this.states.FULL, sealed: this.states.SEALED, pending: this.states.PENDING, parties: this.parties,
    };
  }
}

const PLACE = "([a-z][a-z0-9-]{1,30})/([0-9]{12})";
const ENTRY_FILE = new RegExp(`^entries/${PLACE}\\.json$`);
const PROOF_FILE = new RegExp(`^(?:proofs/${PLACE}\\.(?:tlog|sm3)-proof|openings/${PLACE}\\.json)$`);
const NOTE_FILE = new RegExp(`^checkpoints/${PLACE}\\.(note|consistency)$`);
const KEY_FILE = /^keys\/([a-z][a-z0-9-]{1,30})\.(log\.vkey|cosign\.vkey|sm2\.pem)$/;
const SM2_FILE = new RegExp(`^sm2/${PLACE}/([a-z][a-z0-9-]{1,30})\\.(message|der)$`);
const ENTRY_REF = /^entry:([a-z][a-z0-9-]{1,30}):(0|[1-9][0-9]{0,15}):([0-9a-f]{64})$/;
const FIXED_FILES = ["README.txt", "keys/COMPARE.txt", "report.html", "verify.html", "verify.py", "package.json", "keys/trust.json", "manifest.json"];
const DESCRIPTION = "actor entries exporter held made not_final opened project report_pdf selection state uncovered v withheld workspace";

/** Runs `work`; what is malformed gives `code`, what does not hold its own code; true when neither. */
function tried(step, code, where, work) {
  try { work(); return true; } catch (error) {
    if (error instanceof Bad) step.problem(error.code, { ...where, ...error.where, ...where });
    else if (error instanceof Invalid) step.problem(code, where);
    else throw error;
    return false;
  }
}

/**
 * The result for a package. files: Map of name to bytes; whole: the ZIP's bytes, or null for a folder; trust: Map of
 * pinned keys or null; lists: [{name, data}]; receipt: parsed object or null; mldsa: prefixes of kinds for which the reader
 * demands ML-DSA-44 lines, besides those that the package names. story, when given, collects entries.
 */
function checkPackage(files, whole, trust, lists, receipt, mldsa, story = []) {
  const result = new Result();
  const step = result.begin("container");
  for (const file of files.damaged ?? []) step.problem("FILE_CRC", { file });
  step.end({ count: files.size });
  checkManifest(files, result);
  const about = checkDescription(files, result);
  const demanded = [...new Set([...mldsa, ...(about?.mldsa_required ?? [])])].sort();
  const keys = checkKeys(files, trust, about, demanded.length > 0, result);
  if (!about || !keys.size) return result.finish("FAILED");
  const notes = checkCheckpoints(files, keys, about.project, result);
  const entries = checkEntries(files, notes, about.exporter, result);
  checkConsistency(files, notes, result);
  checkReferences(entries, result);
  checkSm2Files(files, notes, result);
  const decided = checkDecisions([...entries.values()], keys, result);
  let left = [];
  if (about.anchors) {
    const indices = new Map();
    for (const { log, index } of entries.values()) {
      if (!indices.has(log)) indices.set(log, []);
      indices.get(log).push(index);
    }
    left = checkAnchors(files, notes, keys, about.project, indices, about.anchors, result);
  }
  if (lists.length) {
    const vouching = [...entries.values()].map((one) => ({ keyKind: one.envelope.shared.key_kind ?? "", opened: one.opened }));
    checkLists(vouching, lists, result);
  }
  if (receipt) checkExport(receipt, trust ?? keys, about, whole, result);
  checkSealed(entries, notes, keys, about, demanded, countsOf(files), result, story);
  result.parties = keys.size;
  const unknown = [...notes.values()].reduce((sum, note) => sum + note.unknown, 0);
  if (!trust) result.leave("keys");
  result.leave("time");
  result.leave("truth");
  if (!receipt) result.leave("claims");
  for (const [name, values] of left) result.leave(name, values);
  if (decided) result.leave("two_people");
  result.leave("verifier");
  if (unknown) result.leave("foreign", { count: unknown });
  return result.finish(trust ? "OK" : "KEYS_NOT_PINNED");
}

function checkManifest(files, result) {
  const step = result.begin("manifest");
  let said;
  const isReadable = tried(step, "MANIFEST_FORM", { file: "manifest.json" }, () => {
    demand(files.has("manifest.json"));
    const value = parseCanonical(files.get("manifest.json"));
    demand(members(value) === "files v" && value.v === "workbench/v1/manifest" && isObject(value.files));
    said = value.files;
    for (const [name, one] of Object.entries(said)) {
      demand(isName(name) && isObject(one) && members(one) === "sha256 size sm3" && isCount(one.size));
      demand([one.sha256, one.sm3].every((text) => isText(text) && HEX32.test(text)));
    }
  });
  if (!isReadable) return;
  const here = [...files.keys()].filter((name) => name !== "manifest.json");
  for (const file of [...new Set([...here, ...Object.keys(said)])].sort()) {
    const one = Object.hasOwn(said, file) ? said[file] : null, data = file === "manifest.json" ? undefined : files.get(file);
    if (!one) step.problem("FILE_EXTRA", { file });
    else if (!data) step.problem("FILE_MISSING", { file });
    else if (data.length !== one.size || toHex(sha256(data)) !== one.sha256 || toHex(sm3(data)) !== one.sm3) step.problem("FILE_CHANGED", { file });
  }
  step.end({ count: Object.keys(said).length });
}

function checkDescription(files, result) {
  const step = result.begin("package");
  let about = null;
  const isReadable = tried(step, "PACKAGE_FORM", { file: "package.json" }, () => {
    demand(files.has("package.json"));
    about = parseCanonical(files.get("package.json"));
    demand(isDescription(about));
  });
  if (!isReadable) about = null;
  const names = [...files.keys()].sort(), places = new Set();
  const fixed = about?.report_pdf === "yes" ? [...FIXED_FILES, "report.pdf"] : FIXED_FILES;
  const patterns = [PROOF_FILE, NOTE_FILE, KEY_FILE, SM2_FILE, ...(about?.anchors ? [ANCHOR_FILE] : [])];
  for (const file of names) {
    const entry = ENTRY_FILE.exec(file);
    if (entry) places.add(`${entry[1]}/${entry[2]}`);
    else if (!fixed.includes(file) && !patterns.some((one) => one.test(file))) step.problem("FILE_UNKNOWN", { file });
  }
  for (const file of [...fixed].sort()) if (!files.has(file)) step.problem("FILE_MISSING", { file });
  for (const place of [...places].sort()) {
    const [log, index] = place.split("/");
    for (const file of [`proofs/${place}.tlog-proof`, `proofs/${place}.sm3-proof`]) {
      if (!files.has(file)) step.problem("PROOF_MISSING", { file, log, index: Number(index) });
    }
  }
  for (const file of names) {
    const found = PROOF_FILE.exec(file);
    if (found && !places.has(found[1] ? `${found[1]}/${found[2]}` : `${found[3]}/${found[4]}`)) step.problem("PROOF_STRAY", { file });
  }
  step.end({ count: places.size });
  return about;
}

function isDescription(about) {
  const { selection, v: version, mldsa_required: required, anchors } = about;
  let expected = DESCRIPTION;
  if (version === "workbench/v2/package") {
    if (!Array.isArray(required) || !required.every((one) => isText(one) && /^[a-z0-9_.-]{0,64}$/.test(one))) return false;
    if (canonical(required) !== canonical([...new Set(required)].sort()) || !isCount(anchors) || !(required.length || anchors)) return false;
    expected = [...DESCRIPTION.split(" "), "anchors", "mldsa_required"].sort().join(" ");
  } else if (version !== "workbench/v1/package") return false;
  if (members(about) !== expected || !isObject(selection)) return false;
  const texts = ["project", "exporter", "actor", "workspace", "state", "report_pdf"].map((name) => about[name]);
  return [...texts, ...Object.values(selection)].every(isText)
    && PARTY.test(about.exporter)
    && members(selection) === "by from identifier to value"
    && ["job", "campaign", "period", "customer"].includes(selection.by)
    && (selection.by === "customer" || !selection.identifier)
    && ["demo", "test", "production"].includes(about.workspace)
    && ["FINAL", "NOT_FINAL"].includes(about.state)
    && ["yes", "NO_FONT", "NO_LIBRARY"].includes(about.report_pdf)
    && isTime(about.made)
    && ["not_final", "uncovered", "opened", "withheld"].every((name) => isCount(about[name]))
    && ["entries", "held"].every((name) => isObject(about[name])
      && Object.entries(about[name]).every(([log, count]) => PARTY.test(log) && isCount(count)));
}

/** log to number of entries */
function countsOf(files) {
  const counts = {};
  for (const name of files.keys()) {
    const found = ENTRY_FILE.exec(name);
    if (found) counts[found[1]] = (counts[found[1]] ?? 0) + 1;
  }
  return counts;
}

function isSameKeys(inside, pinned) {
  if (!inside || !pinned || !["ed25519", "sm2", "contract"].every((name) => sameBytes(inside[name], pinned[name]))) return false;
  if (inside.names !== pinned.names) return false;
  return !(inside.mldsa44 && pinned.mldsa44) || sameBytes(inside.mldsa44, pinned.mldsa44);
}

function checkKeys(files, trust, about, hasThirds, result) {
  const step = result.begin("keys");
  let inside = new Map();
  const file = "keys/trust.json";
  if (!tried(step, "TRUST_FORM", { file }, () => { demand(files.has(file)); inside = parseTrust(files.get(file)); })) return new Map();
  if (trust) {
    for (const party of [...new Set([...inside.keys(), ...trust.keys()])].sort()) {
      if (!isSameKeys(inside.get(party), trust.get(party))) step.problem("KEY_DIFFERS", { file, party });
      else if (hasThirds && inside.get(party).mldsa44 && !trust.get(party).mldsa44) step.problem("MLDSA_UNPINNED", { file, party });
    }
  }
  if (about) {
    const expected = new Map();
    for (const [party, keys] of inside) {
      const name = originOf(about.project, party);
      expected.set(`keys/${party}.log.vkey`, vkeyOf(name, LOG_TYPE, keys.ed25519) + "\n");
      expected.set(`keys/${party}.cosign.vkey`, vkeyOf(name, COSIGN_TYPE, keys.ed25519) + "\n");
      expected.set(`keys/${party}.sm2.pem`, sm2Pem(keys.sm2));
    }
    const found = [...files.keys()].filter((name) => KEY_FILE.test(name));
    for (const name of [...new Set([...found, ...expected.keys()])].sort()) {
      if (!files.has(name) || !sameBytes(files.get(name), utf8(expected.get(name) ?? ""))) step.problem("KEY_FILE", { file: name });
    }
  }
  step.end({ parties: [...inside.keys()].sort().join(", ") }, trust ? "keys_pinned" : "keys_unpinned");
  // The package can only take a co-signature's weight away: a pinned file may be older than a change of members.
  return trust ? new Map([...trust].map(([party, one]) => [party, { ...one, spans: [...one.spans, ...(inside.get(party)?.spans ?? [])] }])) : inside;
}

function checkCheckpoints(files, keys, project, result) {
  const step = result.begin("checkpoints"), notes = new Map(), who = new Map();
  for (const file of [...files.keys()].sort()) {
    const found = NOTE_FILE.exec(file);
    if (!found || found[3] !== "note") continue;
    const log = found[1];
    tried(step, "CHECKPOINT_FORM", { file, log }, () => {
      const note = verifyNote(textOf(files.get(file)), keys, project);
      if (note.log !== log || note.size !== Number(found[2])) throw new Bad("CHECKPOINT_OF_OTHERS", { party: note.log });
      notes.set(`${log}/${note.size}`, note);
    });
  }
  for (const note of notes.values()) for (const [party, { time }] of note.cosigners) who.set(party, Math.max(time, who.get(party) ?? 0));
  const cosigners = [...who].sort(([one], [two]) => (one < two ? -1 : 1)).map(([party, time]) => `${party} (${timeOf(time)})`);
  step.end({ count: notes.size, cosigners: cosigners.join(", ") || "—" });
  return notes;
}

function checkEntries(files, notes, exporter, result) {
  const steps = {};
  for (const name of ["entries", "sha256", "sm3", "openings"]) steps[name] = result.begin(name);
  const entries = new Map();
  let openedCount = 0;
  for (const file of [...files.keys()].sort()) {
    const found = ENTRY_FILE.exec(file);
    if (!found) continue;
    const log = found[1], index = Number(found[2]), place = `${log}/${found[2]}`, where = { log, index }, body = files.get(file);
    let envelope = null;
    const isReadable = tried(steps.entries, "ENVELOPE", { file, ...where }, () => {
      envelope = parseEnvelope(body);
      demand(envelope.log === log);
    });
    if (!isReadable) envelope = null;
    const heads = [];
    for (const [tree, kind] of [["sha256", "tlog"], ["sm3", "sm3"]]) {
      const proof = `proofs/${place}.${kind}-proof`;
      tried(steps[tree], "PROOF_FORM", { file: proof, ...where }, () => {
        demand(files.has(proof));
        heads.push(checkProof(tree, textOf(files.get(proof)), body, log, index, notes));
      });
    }
    let opened = new Map();
    const openings = `openings/${place}.json`;
    if (files.has(openings)) {
      opened = checkOpenings(files.get(openings), envelope, log === exporter, { file: openings, ...where }, steps.openings);
      openedCount += opened.size;
    }
    if (envelope) {
      const head = heads.length === 2 && heads[0] === heads[1] ? heads[0] : 0;
      entries.set(`${log}/${index}`, { log, index, envelope, leaf: toHex(leafOf(sha256, body)), head, opened });
      if (heads.length === 2 && !head) steps.sm3.problem("PROOF_FORM", { file: `proofs/${place}.sm3-proof`, ...where });
    }
  }
  for (const name of ["entries", "sha256", "sm3"]) steps[name].end({ count: entries.size });
  steps.openings.end({ count: openedCount });
  return entries;
}

/** The size of the checkpoint to which a proof file leads. Throws Bad or Invalid. */
function checkProof(tree, text, body, log, index, notes) {
  let note, said, path;
  if (tree === "sha256") {
    const cut = text.indexOf("\n\n"), lines = text.slice(0, cut).split("\n");
    demand(cut >= 0 && lines.length >= 2 && lines[0] === "c2sp.org/tlog-proof@v1");
    note = [...notes.values()].find((one) => one.log === log && one.note === text.slice(cut + 2));
    [said, path] = [lines[1], lines.slice(2)];
  } else {
    const lines = text.split("\n");
    demand(lines.length >= 4 && lines[0] === "workbench/v1/sm3-proof" && lines.at(-1) === "" && lines[2].startsWith("size "));
    note = notes.get(`${log}/${parseNumber(lines[2].slice(5))}`);
    [said, path] = [lines[1], lines.slice(3, -1)];
  }
  demand(note && said === `index ${index}`);
  const digest = TREES[tree];
  if (!leads(digest, index, note.size, leafOf(digest, body), hashesOf(path), note.roots[tree])) throw new Bad("INCLUSION");
  return note.size;
}

function checkOpenings(data, envelope, isOwn, where, step) {
  let opened = new Map();
  const isReadable = tried(step, "OPENING_FORM", where, () => {
    const value = parseCanonical(data);
    demand(members(value) === "fields v" && value.v === "workbench/v1/openings" && isOwn);
    opened = parseOpened(value.fields);
    demand(opened.size);
  });
  if (!isReadable) return new Map();
  for (const field of [...opened.keys()].sort()) {
    if (!envelope || !opens(envelope, field, opened.get(field))) step.problem("OPENING", { ...where, field });
  }
  return new Map([...opened].map(([field, { value }]) => [field, value]));
}

const inOrder = (notes) => [...notes.values()].sort((one, two) => (one.log === two.log ? one.size - two.size : one.log < two.log ? -1 : 1));

function checkConsistency(files, notes, result) {
  const step = result.begin("consistency"), left = new Set([...files.keys()].filter((name) => name.endsWith(".consistency")));
  let count = 0, previous = null;
  for (const note of inOrder(notes)) {
    const file = `checkpoints/${note.log}/${padIndex(note.size)}.consistency`;
    if (previous?.log === note.log) {
      const old = previous;
      tried(step, "CONSISTENCY", { file, log: note.log }, () => demand(files.has(file) && isContinued(textOf(files.get(file)), old, note)));
      left.delete(file);
      count++;
    }
    previous = note;
  }
  for (const file of [...left].sort()) step.problem("CONSISTENCY", { file, log: file.split("/")[1] });
  step.end({ count });
}

function isContinued(text, old, young) {
  const rest = text.split("\n").slice(3, -1);
  const first = rest.filter((line) => line.startsWith("sha256 ")).map((line) => line.slice(7));
  const second = rest.filter((line) => line.startsWith("sm3 ")).map((line) => line.slice(4));
  const lines = ["workbench/v1/consistency", `old ${old.size}`, `new ${young.size}`, ...first.map((one) => `sha256 ${one}`), ...second.map((one) => `sm3 ${one}`), ""];
  if (text !== lines.join("\n")) return false;
  return [["sha256", hashesOf(first)], ["sm3", hashesOf(second)]]
    .every(([tree, path]) => continues(TREES[tree], old.size, young.size, old.roots[tree], young.roots[tree], path));
}

function checkReferences(entries, result) {
  const step = result.begin("references");
  let count = 0;
  for (const { log, index, envelope } of entries.values()) {
    for (const ref of envelope.refs) {
      const found = ENTRY_REF.exec(ref), target = found && entries.get(`${found[1]}/${found[2]}`);
      if (!target) continue;
      count++;
      if (target.leaf !== found[3]) step.problem("REFERENCE", { file: `entries/${log}/${padIndex(index)}.json`, log, index, party: found[1] });
    }
  }
  step.end({ count });
}

function checkSm2Files(files, notes, result) {
  const step = result.begin("sm2"), expected = new Map();
  for (const note of notes.values()) {
    for (const [party, { time, signature }] of note.cosigners) {
      const stem = `sm2/${note.log}/${padIndex(note.size)}/${party}`;
      expected.set(`${stem}.message`, sm2SignedBytes(party, note.text, time));
      expected.set(`${stem}.der`, derOf(signature));
    }
  }
  const found = [...files.keys()].filter((name) => SM2_FILE.test(name));
  for (const file of [...new Set([...found, ...expected.keys()])].sort()) {
    if (!files.has(file) || !sameBytes(files.get(file), expected.get(file))) step.problem("SM2_FILE", { file });
  }
  step.end({ count: expected.size / 2 });
}

function checkExport(receipt, keys, about, whole, result) {
  const step = result.begin("export"), party = about.exporter;
  const found = checkReceipt(receipt, keys, [], []), entry = found.entry;
  if (!whole) step.problem("EXPORT_FOLDER", { file: "manifest.json" });
  else if (found.verdict !== "OK" || !entry) step.problem("EXPORT_RECEIPT", { party });
  else if (entry.kind !== "evidence.exported" || entry.log !== party || entry.shared.package_sm3 !== toHex(sm3(whole))) step.problem("EXPORT_OTHER", { party });
  else step.end({ party, index: found.index, time: entry.time });
}

function checkSealed(entries, notes, keys, about, demanded, counts, result, story) {
  const ofJobs = new Map(), states = { FULL: 0, SEALED: 0, PENDING: 0 };
  let unproven = 0, claimed = 0;
  for (const { envelope } of entries.values()) {
    if (!ofJobs.has(envelope.job)) ofJobs.set(envelope.job, new Set());
    for (const party of envelope.participants) ofJobs.get(envelope.job).add(party);
  }
  const others = ({ log, shared }, members) => new Set([...members].filter((party) => party !== shared.party).concat(log));
  const required = (one, members) => (one.kind.startsWith("ledger.member_") ? others(one, members) : plainly(one));
  const plainly = ({ kind, log, job, participants }) => (kind.startsWith("ledger.") ? new Set([log]) : job ? ofJobs.get(job) : participants);
  const step = result.begin("sealed");
  const ordered = [...entries.values()].sort((one, two) => (one.log === two.log ? one.index - two.index : one.log < two.log ? -1 : 1));
  for (const { log, index, envelope, head, opened } of ordered) {
    const note = notes.get(`${log}/${head}`);
    if (!note) { // its proof does not hold, which is said above; nothing is known of who signed it
      unproven++;
      story.push({ log, index, kind: envelope.kind, time: envelope.time, job: envelope.job, shared: envelope.shared, opened, state: "BROKEN", signers: 0 });
      continue;
    }
    const signers = counting(note, keys, index), members = membersAt(keys, log, index);
    const needed = [...required(envelope, members)], lacking = (some) => needed.filter((party) => !some.has(party)).sort();
    const asSaid = weighty(envelope.kind, signers, note, about.mldsa_required ?? []), counted = weighty(envelope.kind, signers, note, demanded);
    if (lacking(asSaid).length || asSaid.size < 2) claimed++;
    const missing = lacking(counted), isFinal = !missing.length && counted.size >= 2;
    const state = isFinal ? ([...members].every((party) => signers.has(party)) ? "FULL" : "SEALED") : "PENDING";
    states[state]++;
    const code = !lacking(signers).length && signers.size >= 2 ? "MLDSA_MISSING" : "NOT_FINAL";
    if (state === "PENDING") step.problem(code, { file: `entries/${log}/${padIndex(index)}.json`, log, index, party: missing.join(", ") || "—" }, false);
    story.push({ log, index, kind: envelope.kind, time: envelope.time, job: envelope.job, shared: envelope.shared, opened, state, signers: signers.size });
  }
  const opened = [...entries.values()].reduce((sum, one) => sum + one.opened.size, 0);
  const isCounted = canonical(about.entries) === canonical(counts) && about.opened === opened;
  const isAsSaid = about.state === (claimed ? "NOT_FINAL" : "FINAL") && about.not_final === claimed;
  if (!isCounted || (!unproven && !isAsSaid)) step.problem("COUNT", { file: "package.json" });
  result.entries = entries.size;
  result.states = states;
  step.end({ full: states.FULL, sealed: states.SEALED });
}

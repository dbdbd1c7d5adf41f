// Decisions of people about lines: signed by the institution, two people where two are needed (docs/protocols/qkd-channel.md section 9).

const LINE_POLICIES = ["qkd-required", "hybrid-required", "pqc-only"];
const LINE_ASKED = ["qkd.downgrade_proposed", "qkd.resume_proposed"];
const LINE_DECIDED = ["qkd.policy_tightened", "qkd.downgraded", "qkd.resumed"];
const LINE_REQUEST = "act asked_ms before first line nonce target until_ms v";
const LINE_DECISION = "decided_ms number previous request second v";
const LINE_PERSON = /^[A-Za-z0-9._:-]{1,64}$/;

/** The step, where entries are about decisions; whether there was one. entries: {log, index, envelope}, ascending. */
function checkDecisions(entries, keys, result) {
  const about = entries.filter((one) => LINE_ASKED.includes(one.envelope.kind) || LINE_DECIDED.includes(one.envelope.kind));
  if (!about.length) return false;
  const step = result.begin("decisions"), last = new Map();
  for (const { log, index, envelope } of about) {
    const where = { file: `entries/${log}/${padIndex(index)}.json`, log, index };
    tried(step, "DECISION_ALTERED", where, () => {
      if (LINE_ASKED.includes(envelope.kind)) {
        compareLine(envelope, readLineRequest(parseCanonical(utf8(envelope.shared.request ?? "")), log, keys), "");
        return;
      }
      const made = readLineDecision(envelope.shared.decision ?? "", log, keys), before = last.get(log);
      last.set(log, made);
      if (before && (made.number <= before.number || (made.number === before.number + 1 && made.previous !== before.digest))) throw new Bad("DECISION_DIFFERS");
      compareLine(envelope, made.request, made.second);
    });
  }
  step.end({ count: about.length });
  return true;
}

/** The member `request` of a written request that this institution signed. Throws Invalid. */
function readLineRequest(value, log, keys) {
  demand(isObject(value) && members(value) === "request signature");
  const one = value.request;
  demand(isObject(one) && members(one) === LINE_REQUEST && one.v === 1);
  demand([one.act, one.before, one.first, one.line, one.nonce, one.target].every(isText) && one.line);
  demand(isCount(one.asked_ms) && isCount(one.until_ms) && one.asked_ms <= one.until_ms);
  if (one.act === "policy") demand(LINE_POLICIES.includes(one.target) && LINE_POLICIES.includes(one.before) && one.target !== one.before);
  else demand(one.act === "resume" && !one.target && !one.before);
  demand(/^[0-9a-f]{32}$/.test(one.nonce) && LINE_PERSON.test(one.first));
  verifyLine("line-request", one, value.signature, log, keys);
  return one;
}

/** {number, previous, digest, request, second}. Throws Invalid. */
function readLineDecision(text, log, keys) {
  const value = parseCanonical(utf8(text));
  demand(members(value) === "decision signature");
  const one = value.decision;
  demand(isObject(one) && members(one) === LINE_DECISION && one.v === 1);
  const request = readLineRequest(one.request, log, keys), { number, previous, second } = one;
  demand(isText(previous) && isText(second) && isCount(number) && number >= 1 && isCount(one.decided_ms));
  demand(number > 1 ? HEX32.test(previous) : previous === "");
  if (lineNeedsTwo(request)) demand(LINE_PERSON.test(second) && second !== request.first && one.decided_ms <= request.until_ms);
  else demand(second === "");
  demand(one.decided_ms >= request.asked_ms);
  verifyLine("line-decision", one, value.signature, log, keys);
  return { number, previous, digest: toHex(sm3(utf8(text))), request, second };
}

function verifyLine(kind, value, signature, log, keys) {
  demand(isText(signature) && /^[0-9a-f]{128}$/.test(signature) && keys.has(log) && keys.get(log).contract);
  demand(verifySm2(keys.get(log).contract, utf8(`workbench/v1/${kind}\n${log}\n\n${canonical(value)}`), fromHex(signature)));
}

/** Throws Bad DECISION_DIFFERS unless the entry says what was signed. second: of a decision. */
function compareLine({ kind, shared }, request, second) {
  const isAsked = LINE_ASKED.includes(kind), isResume = request.act === "resume";
  const wanted = isAsked ? (isResume ? "qkd.resume_proposed" : "qkd.downgrade_proposed") : isResume ? "qkd.resumed" : second ? "qkd.downgraded" : "qkd.policy_tightened";
  const said = { line: request.line };
  if (!isResume) Object.assign(said, { policy: request.target, before: request.before });
  if (isAsked || second) said.proposal = `Q-${toHex(sm3(joined(utf8("workbench/v1/line-request-name\n"), utf8(canonical(request))))).slice(0, 32)}`;
  if (isAsked) said.until = String(request.until_ms);
  if (kind !== wanted || Object.keys(said).some((name) => shared[name] !== said[name])) throw new Bad("DECISION_DIFFERS");
}

const lineNeedsTwo = (request) => request.act === "resume" || LINE_POLICIES.indexOf(request.target) > LINE_POLICIES.indexOf(request.before);

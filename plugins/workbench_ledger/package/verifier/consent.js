// Consent receipts (consent-receipt.md): their own steps, then those of the ledger proof. It never says "valid now".

const CONSENT_VERSION = "workbench/v1/consent-receipt", MAX_CONSENT = 256 * 1024;
const CONSENT_STATES = {
  LIVE: ["有效期内，未撤回", "within its window and not withdrawn"],
  NOT_YET_VALID: ["尚未生效", "not begun"],
  EXPIRED: ["已到期", "ended"],
  WITHDRAWN: ["已撤回", "withdrawn"],
  SUPPRESSED: ["客户已退出，不再使用", "the customer has left and is kept out"],
  STALE: ["告知内容已有重大变更，须重新同意", "the notice has changed materially; consent is asked anew"],
  UNUSABLE: ["因其他原因不可使用", "not usable for another reason"],
};
const TWO = { en: "text", zh: "text" };
const CONSENT_PARTY = { address: "text", contact: "text", name_en: "text", name_zh: "text", officer: "text", party: "text", type: "text" };
const CONSENT_SHAPE = {
  v: "text", schema: "text", receipt_id: "text", language: "text", jurisdiction: "text",
  lawful_basis: { code: "text", ...TWO },
  subject: { id_no: "text", phone: "text", token: "text" },
  controller: CONSENT_PARTY,
  recipient: CONSENT_PARTY,
  processing: {
    channel: "text", information: [{ code: "text", sensitive: "text", ...TWO }], method: TWO, purpose: { code: "text", ...TWO },
    retention: TWO, storage: TWO,
  },
  notice: { document: "text", key: "text", sm3: "text", version: "text" },
  grant: { digest: "text", form: "text", from_ms: "count", record: "count", salt: "text", until_ms: "count", v: "count" },
  events: [{ entity: "text", event: "count", time_ms: "count", type: "text" }],
  status: { at_ms: "count", event: "count", log: "text", size: "count", state: "text" },
  uses: {
    runs: [{ attempt: "count", entry: "text", job: "text", purpose: "text", recipient: "text", time_ms: "count" }],
    since_ms: "count", total: "count",
  },
  withdrawal: { url: "text", ...TWO },
};
const CONSENT_OPTIONAL = {
  represented_by: { basis: "text", kind: "text" },
  limits: { data_life: "text", max_uses: "text", not_by: "text" },
  grant_v2: {
    categories: "text", contacts: "text", max_uses: "text", method: "text", minor: "text", notice: "text", notice_digest: "text",
    separate: "text", signer: "text",
  },
};

function isConsentReceipt(data) {
  const end = utf8(`"v":"${CONSENT_VERSION}"}`);
  let stop = data.length;
  while (stop && [9, 10, 11, 12, 13, 32].includes(data[stop - 1])) stop--;
  return stop >= end.length && sameBytes(data.subarray(stop - end.length, stop), end);
}

/**
 * The result of all steps, with `status`. data: bytes of the file; trust: Map of pinned keys or null; anchor: parsed JSON of a
 * file beside the receipt or null; form: bytes of the signed form or null; now: the reader's clock in ms or null; mldsa: as in `checkPackage`.
 */
function checkConsentReceipt(data, trust, anchor, form, now, mldsa) {
  const result = new Result();
  let step = result.begin("format"), receipt = null;
  if (!tried(step, "CONSENT_FORM", {}, () => { receipt = parseConsent(data); })) return result.finish("FAILED");
  step.end({}, "consent_format");
  const { content, index, size } = receipt, { grant } = content, { party } = content.controller;
  step = result.begin("grant");
  if (consentGrantDigest(content) !== grant.digest) step.problem("CONSENT_GRANT", { party });
  step.end({}, "consent_grant");
  const root = consentRoot(receipt);
  step = result.begin("path");
  if (!root) step.problem("CONSENT_PATH", { party });
  step.end({ at: index + 1, count: size }, "consent_path");
  step = result.begin("keys");
  const pinned = trust?.get(party)?.contract;
  if (trust && !(pinned && sameBytes(pinned, receipt.key))) step.problem("CONSENT_KEY", { party });
  step.end({ party }, trust ? "consent_keys" : "consent_keys_unpinned");
  step = result.begin("signature");
  const key = trust?.has(party) ? pinned : receipt.key;
  if (!root || !key || !verifySm2(key, consentSigned(receipt, party, root), receipt.signature)) step.problem("CONSENT_SIGNATURE", { party });
  step.end({ party, time: timeOf(Math.floor(receipt.signedMs / 1000)) }, "consent_signature");
  checkConsentAnchor(receipt, party, root, anchor ?? receipt.anchor, trust, mldsa, result);
  if (form) {
    step = result.begin("document");
    const message = joined(utf8("workbench/v1/signed-form\n"), fromHex(grant.salt), Uint8Array.of(32), sm3(form), wideOf(grant.record));
    if (toHex(sm3(message)) !== grant.form) step.problem("CONSENT_DOCUMENT");
    step.end({}, "consent_document");
  }
  if (!trust) result.leave("keys");
  for (const left of ["withdrawn_since", "uses", "time"]) result.leave(left);
  const done = result.finish(trust ? "OK" : "KEYS_NOT_PINNED");
  return done.verdict === "FAILED" ? done : { ...done, status: consentStatus(content, now) };
}

const wideOf = (value) => bytesOf(BigInt(value), 8);

function parseConsent(data) {
  demand(data.length <= MAX_CONSENT && data[data.length - 1] === 10);
  const value = parseCanonical(data.subarray(0, -1));
  demand(isObject(value) && members(value) === "anchor batch content proof v" && value.v === CONSENT_VERSION);
  const { anchor, batch, content, proof } = value;
  demand(isObject(batch) && members(batch) === "index path size" && isObject(proof) && members(proof) === "alg key signature signed_ms uid");
  for (const one of [batch.index, batch.size, proof.signed_ms]) checkConsentShape(one, "count", "");
  demand(batch.index < batch.size && batch.size <= 2 ** 32 && Array.isArray(batch.path) && batch.path.length <= 32 && batch.path.every(isText));
  demand(proof.alg === "SM2-SM3" && proof.uid === "1234567812345678" && isText(proof.signature) && /^[0-9a-f]{128}$/.test(proof.signature));
  demand(anchor === null || isObject(anchor));
  demand(isObject(content));
  checkConsentContent(content);
  return {
    content, body: utf8(canonical(content)), index: batch.index, size: batch.size, path: hashesOf(batch.path), key: readKey(proof.key, true),
    signature: fromHex(proof.signature), signedMs: proof.signed_ms, anchor,
  };
}

function checkConsentContent(content) {
  const names = Object.keys(content), needed = Object.keys(CONSENT_SHAPE);
  demand(needed.every((name) => Object.hasOwn(content, name)));
  demand(names.every((name) => Object.hasOwn(CONSENT_SHAPE, name) || Object.hasOwn(CONSENT_OPTIONAL, name)));
  for (const name of names) checkConsentShape(content[name], CONSENT_SHAPE[name] ?? CONSENT_OPTIONAL[name], name);
  const { grant, status, uses, controller, recipient, processing } = content, has2 = Object.hasOwn(content, "grant_v2");
  demand(content.v === CONSENT_VERSION && content.schema === "iso27560:2023+cn1" && /^CR-[0-9a-f]{32}$/.test(content.receipt_id));
  demand(content.language === "zh-CN en" && content.jurisdiction === "CN" && /^[0-9a-f]{32}$/.test(content.subject.token));
  demand(controller.type === "controller" && recipient.type === "recipient" && controller.party !== recipient.party);
  demand(PARTY.test(controller.party) && PARTY.test(recipient.party));
  demand([grant.digest, grant.form, grant.salt].every((one) => /^[0-9a-f]{64}$/.test(one)) && grant.from_ms < grant.until_ms && grant.record >= 1);
  demand((grant.v === 1 && !has2) || (grant.v === 2 && has2));
  demand(["kept", "not_kept"].includes(content.notice.document));
  demand(Object.hasOwn(CONSENT_STATES, status.state) && status.log === controller.party);
  demand(content.events.every((one) => ["recorded", "withdrawn"].includes(one.type) && PARTY.test(one.entity)));
  demand(uses.runs.length <= uses.total);
  demand(uses.runs.every((one) => !one.entry || /^entry:[a-z][a-z0-9-]{1,30}:(0|[1-9][0-9]{0,15}):[0-9a-f]{64}$/.test(one.entry)));
  demand(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(processing.purpose.code));
  demand(processing.information.every((one) => ["yes", "no"].includes(one.sensitive)));
  demand(["guardian", "agent", "kin"].includes((content.represented_by ?? { kind: "agent" }).kind));
  demand(fitsConsentV2(content.grant_v2, content.notice));
}

function fitsConsentV2(terms, notice) {
  if (!terms) return !notice.key && !notice.version && !notice.sm3;
  const named = notice.key ? `${notice.key}@${notice.version}` : "";
  return named === terms.notice && notice.sm3 === terms.notice_digest && Boolean(terms.notice) === Boolean(terms.notice_digest)
    && /^([0-9a-f]{64})?$/.test(terms.notice_digest) && [terms.minor, terms.separate].every((one) => one === "yes" || one === "no")
    && /^(0|[1-9][0-9]{0,8})$/.test(terms.max_uses);
}

function checkConsentShape(value, shape, name) {
  // Length in characters, not in UTF-16 units: the other verifier counts so.
  if (shape === "text") demand(isText(value) && (value.length <= 4000 || [...value].length <= 4000));
  else if (shape === "count") demand(isCount(value) && value <= Number.MAX_SAFE_INTEGER);
  else if (Array.isArray(shape)) {
    demand(Array.isArray(value) && (name === "runs" || value.length > 0) && value.length <= (name === "runs" ? 20 : 16));
    for (const one of value) checkConsentShape(one, shape[0], "");
  } else {
    demand(isObject(value) && members(value) === members(shape));
    for (const key of Object.keys(shape)) checkConsentShape(value[key], shape[key], key);
  }
}

function consentGrantDigest({ grant, grant_v2: terms, processing, controller, recipient }) {
  const told = (texts) => texts.map(utf8).flatMap((one) => [bytesOf(BigInt(one.length), 2), one]);
  let head = [utf8(`workbench/v${grant.v}/grant\n`), ...told([processing.purpose.code, controller.party, recipient.party, processing.channel])];
  if (grant.v === 2) {
    const flags = (terms.minor === "yes" ? 1 : 0) | (terms.separate === "yes" ? 2 : 0);
    head = [...head, ...told([terms.notice]), fromHex(terms.notice_digest || "00".repeat(32)),
      ...told([terms.categories, terms.contacts, terms.method, terms.signer]), Uint8Array.of(flags), bytesOf(BigInt(terms.max_uses), 4)];
  }
  return toHex(sm3(joined(...head, fromHex(grant.salt), wideOf(grant.from_ms), wideOf(grant.until_ms), fromHex(grant.form))));
}

/** The root that leaf and path lead to, or null when the path does not fit (RFC 9162 section 2.1.3.2). */
function consentRoot({ body, index, size, path }) {
  let place = BigInt(index), last = BigInt(size - 1), value = sm3(joined(Uint8Array.of(0), utf8(`${CONSENT_VERSION}\n`), body));
  for (const sibling of path) {
    if (!last) return null;
    if (place & 1n || place === last) {
      value = sm3(joined(Uint8Array.of(1), sibling, value));
      while (!(place & 1n) && place) { place >>= 1n; last >>= 1n; }
    } else value = sm3(joined(Uint8Array.of(1), value, sibling));
    place >>= 1n;
    last >>= 1n;
  }
  return last ? null : value;
}

function consentSigned({ size, signedMs }, party, root) {
  const v = "workbench/v1/consent-receipts";
  return utf8(`${v}\n${party}\n\n${canonical({ issuer: party, receipts: size, root: toHex(root), signed_ms: signedMs, v })}`);
}

function checkConsentAnchor(receipt, party, root, anchor, trust, mldsa, result) {
  if (!anchor) {
    result.begin("anchor").problem("CONSENT_ANCHOR", { party }, false);
    result.entries = 1;
    result.states = { FULL: 0, SEALED: 0, PENDING: 1 };
    return;
  }
  const found = checkReceipt(anchor, trust, [], mldsa), { entry, index } = found;
  for (const one of found.steps) {
    const step = result.begin(`anchor ${one.name}`);
    Object.assign(step, { zh: one.zh, en: one.en, problems: one.problems, more: one.more });
    step.failed = one.problems.some(({ code }) => !["NOT_FINAL", "MLDSA_MISSING"].includes(code));
  }
  result.entries = 1;
  result.states = { FULL: found.full, SEALED: found.sealed, PENDING: found.pending };
  result.parties = found.parties;
  const step = result.begin("issued");
  const isOfIt = entry && root && entry.kind === "consent.receipts_issued" && entry.log === party
    && entry.shared.root === toHex(root) && index >= receipt.content.status.size;
  if (!isOfIt) step.problem("CONSENT_ISSUED", { party });
  step.end({ party, index }, "consent_issued");
}

function consentStatus(content, now) {
  const { status, grant } = content, time = timeOf(Math.floor(status.at_ms / 1000)), end = timeOf(Math.floor(grant.until_ms / 1000));
  const ended = now !== null && now >= grant.until_ms, told = ended && status.state === "LIVE", [zh, en] = CONSENT_STATES[status.state];
  return {
    state: status.state, log: status.log, size: status.size, at_ms: status.at_ms, from_ms: grant.from_ms, until_ms: grant.until_ms, ended,
    zh: `截至 ${status.log} 日志第 ${status.size} 条（${time}）：${zh}${told ? `；按本机时钟，有效期已于 ${end} 结束` : ""}。之后是否撤回，须凭编号向出具机构查询`,
    en: `as of height ${status.size} of the log of ${status.log} (${time}): ${en}${told ? `; by this machine's clock its window ended at ${end}` : ""}. Whether it was withdrawn since, the issuing institution knows: ask with the receipt's id`,
  };
}

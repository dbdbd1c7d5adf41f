// The page around the engine: takes files, shows the result. Every text is set as text; nothing is fetched or stored.

const PAGE = {
  title: ["证据包核对", "Evidence verifier"],
  offline: ["本页不联网", "This page uses no network"],
  language: ["English", "中文"],
  give: ["把文件拖到这里，或逐项选择", "Drop the files here, or choose them one by one"],
  give_how: ["全部在本机核对，文件不离开这台电脑。信任文件要经另一途径取得；没有它，只能证明内容自洽，不能证明公钥是谁的。", "Everything is checked on this computer; no file leaves it. Obtain the trust file by another way: without it the content is shown to be consistent, not whose the keys are."],
  package: ["证据包 ZIP，或收据、授权凭据 JSON", "Evidence package (ZIP), a receipt or a consent receipt (JSON)"],
  trust: ["信任文件（钉住的公钥）", "Trust file (pinned keys)"],
  lists: ["一并核对的导出名单 CSV（可不选）", "Exported lists to check too, CSV (optional)"],
  receipt: ["导出收据，覆盖整个 ZIP；或授权凭据的 anchor.json（可不选）", "Receipt of the export, covers the whole ZIP; or the anchor.json of a consent receipt (optional)"],
  form: ["授权凭据所依据的签署文件（可不选）", "Signed form of a consent receipt (optional)"],
  status: ["截至某一高度的状态", "Status as of a height"],
  mldsa: ["要求 ML-DSA-44 的种类前缀（可不填，空格分隔，* 为全部）", "Kinds that must have ML-DSA-44 (optional; prefixes with blanks between, * for all)"],
  folder: ["或：解压后的文件夹", "Or: the unpacked folder"],
  clear: ["清空", "Clear"],
  choose: ["选择…", "Choose…"],
  none: ["未选", "none"],
  files: ["{count} 个文件", "{count} files"],
  waiting: ["正在核对…", "Checking…"],
  steps: ["逐项核对", "What was checked"],
  unchecked: ["没有核对", "What was not checked"],
  entries: ["记录", "Entries"],
  entries_more: ["只列前 {shown} 条，共 {total} 条。全部都已核对。", "The first {shown} of {total} are listed. All were checked."],
  limits: ["它证明不了什么", "What it cannot prove"],
  time: ["时间（UTC，各机构时钟）", "Time (UTC, each institution's clock)"],
  log: ["日志与序号", "Log and number"],
  kind: ["种类", "Kind"],
  fields: ["共享与开示（*）的字段", "Shared and opened (*) fields"],
  state: ["共签", "Co-signed"],
  FULL: ["全部共签", "all"],
  SEALED: ["已封存", "sealed"],
  PENDING: ["待封存", "pending"],
  BROKEN: ["✗ 不可信", "✗ do not trust"],
  unreadable: ["文件读不出", "The file cannot be read"],
  bad_trust: ["信任文件不可用：不是信任文件，或自相矛盾", "The trust file cannot be used: it is none, or contradicts itself"],
  more: ["另有 {count} 处", "{count} more"],
};
const LIMITS = [
  ["记录所述是否真实，时钟是否准确：共签只说明此后没有改过。", "That entries are true or clocks right: a co-signature only says that nothing was changed since."],
  ["是否还有未选入的记录：向另一家机构索取同一任务的包，逐条比对。", "That nothing else exists: ask a second institution for its package of the same job and compare."],
  ["本页若随包而来，是出具方给的：与发布版比对 SM3，或改用 README.txt 里的 Go 与 OpenSSL 命令。", "If this page came with the package, its exporter gave it: compare its SM3 with the release, or use Go and OpenSSL as in README.txt."],
];
const MAX_SHOWN = 300;

function startPage() {
  let at = (navigator.language || "zh").toLowerCase().startsWith("zh") ? 0 : 1;
  const given = { data: null, files: null, trust: null, lists: [], receipt: null, form: null, mldsa: [] };
  let outcome = null, turn = 0;
  const byId = (id) => document.getElementById(id);
  const say = (name, values = {}) => filled(PAGE[name][at], values);
  const inWords = (one) => (at ? one.en : one.zh);

  function make(tag, { text, className, title } = {}, ...children) {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    if (title) node.title = title;
    node.append(...children);
    return node;
  }

  function draw() {
    document.documentElement.lang = at ? "en" : "zh-CN";
    for (const node of document.querySelectorAll("[data-text]:not(.given)")) node.textContent = say(node.dataset.text);
    byId("language").textContent = say("language");
    byId("limits").replaceChildren(...LIMITS.map((one) => make("li", { text: one[at] })));
    if (outcome) drawOutcome();
  }

  function drawOutcome() {
    const answer = byId("answer"), detail = byId("detail");
    if (outcome.problem) {
      answer.replaceChildren(make("div", { className: "band failed" }, make("strong", { text: say(outcome.problem) })));
      detail.replaceChildren();
      return;
    }
    const { result, story } = outcome;
    const word = { OK: ["✓ 成立", "✓ OK"], KEYS_NOT_PINNED: ["◌ 未钉住公钥", "◌ Keys not pinned"], NOT_FINAL: ["⧗ 未定稿 NOT_FINAL", "⧗ NOT_FINAL"], FAILED: ["✗ 不可信", "✗ Do not trust this"] };
    answer.replaceChildren(make("div", { className: `band ${result.verdict}` }, make("strong", { text: word[result.verdict][at] }), make("p", { text: inWords(result) })));
    if (result.status) {
      const isLive = result.status.state === "LIVE" && !result.status.ended;
      answer.append(make("div", { className: `band ${isLive ? "waiting" : "failed"}` }, make("strong", { text: say("status") }), make("p", { text: inWords(result.status) })));
    }
    const parts = [make("section", { className: "card" }, make("h2", { text: say("steps") }), make("ol", { className: "steps" }, ...result.steps.map(stepRow)))];
    const left = result.unchecked.map((one) => make("li", { text: inWords(one) }));
    if (left.length) parts.push(make("section", { className: "card" }, make("h2", { text: say("unchecked") }), make("ul", {}, ...left)));
    if (story.length) parts.push(storyCard(story));
    detail.replaceChildren(...parts);
  }

  function stepRow(step) {
    const waits = !step.ok && step.problems.every((one) => ["NOT_FINAL", "MLDSA_MISSING", "CONSENT_ANCHOR"].includes(one.code));
    const body = make("div", {}, make("span", { text: inWords(step) }), make("span", { className: "dim mono", text: `  ${step.name}` }));
    const others = step.problems.slice(1).map((one) => make("li", { text: inWords(one) }));
    if (step.more) others.push(make("li", { text: say("more", { count: step.more }) }));
    if (others.length) body.append(make("ul", {}, ...others));
    return make("li", { className: step.ok ? "" : waits ? "waits" : "wrong" }, make("span", { className: "mark", text: step.ok ? "✓" : waits ? "⧗" : "✗" }), body);
  }

  function storyCard(story) {
    const ordered = [...story].sort((one, two) => (one.time < two.time ? -1 : one.time > two.time ? 1 : 0));
    const rows = ordered.slice(0, MAX_SHOWN).map((one) => {
      const fields = [...Object.entries(one.shared).map(([name, value]) => `${name}: ${shortened(value)}`), ...[...one.opened].map(([name, value]) => `${name}*: ${shortened(value)}`)];
      return make("tr", {},
        make("td", { text: one.time.replace("T", " ").replace(/\.\d+Z$/, ""), className: "nowrap" }),
        make("td", { text: `${one.log} ${one.index}`, className: "nowrap" }),
        make("td", { text: one.kind, className: "mono" }),
        make("td", { text: fields.join("; ") }),
        make("td", {}, make("span", { className: `chip ${one.state}`, text: `${say(one.state)}${one.state === "BROKEN" ? "" : ` ${one.signers}/${outcome.result.parties}`}` })));
    });
    const head = make("tr", {}, ...["time", "log", "kind", "fields", "state"].map((name) => make("th", { text: say(name) })));
    const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
    const card = make("section", { className: "card" }, make("h2", { text: say("entries") }));
    if (ordered.length > MAX_SHOWN) card.append(make("p", { className: "dim", text: say("entries_more", { shown: MAX_SHOWN, total: ordered.length }) }));
    const scroll = make("div", { className: "scroll" }, table);
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", say("entries"));
    card.append(scroll);
    return card;
  }

  const shortened = (value) => (/^[0-9a-f]{64,}$/.test(value) ? `${value.slice(0, 8)}…${value.slice(-4)}` : value.length > 120 ? `${value.slice(0, 117)}…` : value);

  async function check() {
    const mine = ++turn;
    if (!given.data && !given.files) return;
    byId("answer").replaceChildren(make("div", { className: "band waiting" }, make("strong", { text: say("waiting") })));
    await new Promise((resolve) => setTimeout(resolve, 30));
    if (mine !== turn) return;
    try {
      const started = performance.now();
      outcome = verifyEvidence({ ...given, now: Date.now() });
      document.body.dataset.ms = String(Math.round(performance.now() - started));
    } catch (error) {
      outcome = { problem: error instanceof Bad ? "bad_trust" : "unreadable" };
    }
    document.body.dataset.verdict = outcome.result?.verdict ?? outcome.problem;
    drawOutcome();
  }

  const read = async (file) => new Uint8Array(await file.arrayBuffer());

  /** Which of the five a dropped file is, by its content. */
  function roleOf(name, data) {
    if (data[0] === 0x50 && data[1] === 0x4b) return "package";
    if (/\.csv$/i.test(name)) return "lists";
    try {
      const value = parseOnce(data);
      if (value.kind === "trust") return "trust";
      return given.data || given.files ? "receipt" : "package";
    } catch { return "package"; }
  }

  function take(role, name, data) {
    if (role === "package") Object.assign(given, { data, files: null });
    else if (role === "lists") given.lists = [...given.lists.filter((one) => one.name !== name), { name, data }];
    else given[role] = data;
    showTaken(role, role === "lists" ? given.lists.map((one) => one.name).join(", ") : name);
  }

  function showTaken(role, text) {
    byId(`${role}-taken`).textContent = text;
    byId(`${role}-taken`).classList.add("given");
  }

  async function takeAll(files, role = "") {
    try {
      const loaded = await Promise.all([...files].map(async (file) => ({ name: file.name, data: await read(file) })));
      // A ZIP first, so that a receipt dropped with it is taken for the receipt of its export.
      loaded.sort((one, two) => (two.data[0] === 0x50) - (one.data[0] === 0x50));
      for (const { name, data } of loaded) take(role || roleOf(name, data), name, data);
    } catch {
      outcome = { problem: "unreadable" };
      drawOutcome();
      return;
    }
    await check();
  }

  async function takeFolder(files) {
    const found = new Map();
    for (const file of files) found.set(file.webkitRelativePath.split("/").slice(1).join("/"), await read(file));
    Object.assign(given, { data: null, files: found });
    showTaken("folder", say("files", { count: found.size }));
    await check();
  }

  for (const role of ["package", "trust", "lists", "receipt", "form"]) byId(role).addEventListener("change", (event) => takeAll(event.target.files, role));
  byId("folder").addEventListener("change", (event) => takeFolder(event.target.files));
  byId("mldsa").addEventListener("change", (event) => {
    given.mldsa = event.target.value.split(/\s+/).filter(Boolean).map((one) => (one === "*" ? "" : one));
    check();
  });
  byId("language").addEventListener("click", () => { at = 1 - at; draw(); });
  byId("clear").addEventListener("click", () => {
    Object.assign(given, { data: null, files: null, trust: null, lists: [], receipt: null, form: null, mldsa: [] });
    outcome = null;
    turn++;
    for (const node of document.querySelectorAll(".inputs input")) node.value = "";
    for (const node of document.querySelectorAll(".taken")) { node.textContent = say("none"); node.classList.remove("given"); }
    byId("answer").replaceChildren();
    byId("detail").replaceChildren();
    delete document.body.dataset.verdict;
  });
  const drop = byId("drop");
  document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer?.files.length) takeAll(event.dataTransfer.files);
  });
  draw();
}

startPage();

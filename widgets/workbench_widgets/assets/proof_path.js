// From the body of an entry to what was signed. SHA-256 values are computed here, in the reader's browser; SM3 values and
// signatures are the node's and say so. Whatever could not be computed is "unchecked", never "agrees".
function unpacked(base64) { return /^[A-Za-z0-9+/]{43}=$/.test(base64) ? hex(unbase64(base64)) : ""; }
// The signed text: origin, size, SHA-256 root, "sm3 " SM3 root, each line ended (docs/protocols/evidence.md, section 5).
function rootsOf(text) {
  const lines = String(text || "").split("\n");
  if (lines.length !== 5 || lines[4] !== "" || !/^[1-9][0-9]*$/.test(lines[1]) || !lines[3].startsWith("sm3 ")) return null;
  return { origin: lines[0], size: Number(lines[1]), sha256: unpacked(lines[2]), sm3: unpacked(lines[3].slice(4)) };
}
function sidesOf(index, size) {
  let [fn, sn] = [index, size - 1];
  const sides = [];
  while (sn > 0) {
    const left = fn % 2 === 1 || fn === sn;
    sides.push(left ? "left" : "right");
    if (left) while (fn % 2 === 0 && fn !== 0) { fn = Math.floor(fn / 2); sn = Math.floor(sn / 2); }
    fn = Math.floor(fn / 2); sn = Math.floor(sn / 2);
  }
  return sides;
}
function judge(ctx) {
  const proof = ctx.get("proof");
  const { result } = ctx.local;
  const known = Boolean(result && !result.problem);
  const signs = ctx.get("signatures");
  const good = signs.filter((s) => s.verdict === "valid").length;
  const signed = rootsOf(proof.text);
  const state = (ok) => (ok ? "holds" : "broken");
  const text = !proof.text ? "open" : !signed ? "broken" : state(signed.size === proof.size && signed.sha256 === proof.root && (!proof.sm3 || signed.sm3 === proof.sm3.root));
  const sm3 = proof.sm3 ? state(proof.sm3.hashes.at(-1) === undefined ? proof.sm3.leaf === proof.sm3.root : proof.sm3.hashes.at(-1) === proof.sm3.root) : "open";
  return { body: known ? state(result.bodyHolds) : "open", path: known ? state(result.pathHolds) : "open", sm3, text,
    signed: signs.some((s) => s.verdict === "invalid") ? "broken" : good >= ctx.get("required") && good > 0 ? "holds" : "open", good, all: signs.length };
}
const MARKS = { holds: ["sealed", "check"], broken: ["tampered", "cross"], open: ["pending", "hourglass"] };
function checks(ctx, found) {
  const fields = { count: ctx.get("proof").path.length, good: found.good, all: found.all, required: ctx.get("required") };
  const rows = ["body", "path", ...(ctx.get("proof").sm3 ? ["sm3"] : []), ...(ctx.get("proof").text ? ["text"] : []), "signed"];
  return h("ol", { key: "checks", class: "checks", "aria-label": ctx.t("proof_path.checks") }, rows.map((name) => {
    const [tone, glyph] = MARKS[found[name]];
    return h("li", { key: name, class: `row ink-${tone}` }, icon(glyph, true), h("span", { class: "word" }, ctx.t(`proof_path.${name}_${found[name]}`, fields)));
  }));
}
function node(ctx, { key, caption, value, kind, bad, note }) {
  return h("span", { key, class: `hash ${kind || ""}${bad ? " bad" : ""}` }, h("span", { class: "meta" }, caption), value === undefined ? null : h("span", { class: "mono", title: value }, value ? formats.digest("", value) : "…"), note ? h("span", { class: "meta" }, note) : null);
}
function climb(ctx, proof, tree, found) {
  const { result } = ctx.local;
  const own = tree === "sha256";
  const siblings = own ? proof.path : proof.sm3.path;
  const sides = sidesOf(proof.index, proof.size);
  const hashes = own ? (result?.route?.steps || []).map((step) => step.hash) : proof.sm3.hashes;
  const from = ctx.t(own ? "proof_path.here" : "proof_path.given");
  const levels = siblings.map((sibling, level) => {
    const value = level === 0 ? (own ? result?.leaf : proof.sm3.leaf) : hashes[level - 1];
    const caption = level === 0 ? ctx.t("proof_path.leaf", { index: formats.count(proof.index, ctx.lang) }) : ctx.t("proof_path.node", { level });
    const spoken = ctx.t("proof_path.spoken", { level: level + 1, side: ctx.t(`proof_path.${sides[level] || "left"}`), sibling: formats.digest("", sibling), hash: hashes[level] ? formats.digest("", hashes[level]) : "…" });
    return h("li", { key: `l${level}`, class: `level ${sides[level] || "left"}`, style: { "--i": String(level) }, "aria-label": spoken },
      node(ctx, { key: "s", caption: ctx.t("proof_path.sibling"), value: sibling, kind: "sibling" }), h("span", { key: "arm", class: "arm" }),
      node(ctx, { key: "n", caption, value, kind: level === 0 ? "leaf" : "trunk", bad: level === 0 && found.body === "broken" }));
  });
  const alone = siblings.length ? null : h("li", { key: "alone", class: "level", style: { "--i": "0" } }, node(ctx, { key: "n", caption: ctx.t("proof_path.leaf", { index: formats.count(proof.index, ctx.lang) }), value: own ? result?.leaf : proof.sm3.leaf, kind: "leaf" }));
  const bytes = (() => { try { return unbase64(proof.body_base64).length; } catch (error) { return 0; } })();
  const broken = found.body === "broken" && own;
  return h("div", { key: `climb${tree}${ctx.get("turn")}`, class: "climb", tabindex: "0", role: "region", "aria-label": ctx.t("proof_path.path") },
    h("ol", { key: "up" }, [...levels, alone].filter(Boolean).reverse()),
    h("span", { key: "to", class: `stem ${own ? found.body : "holds"}` }, icon(broken ? "cross" : "down", true)),
    node(ctx, { key: "body", caption: ctx.t("proof_path.bytes", { bytes: formats.count(bytes, ctx.lang) }), value: own ? result?.computed : undefined, kind: "body", bad: broken, note: broken ? ctx.t("proof_path.body_differs") : from }));
}
function signers(ctx) {
  return h("ul", { key: "signers", class: "signers", "aria-label": ctx.t("proof_path.signers") }, ctx.get("signatures").map((one, i) => {
    const state = one.verdict === "valid" ? "sealed" : one.verdict === "invalid" ? "tampered" : "pending";
    return h("li", { key: `s${i}`, class: `signer ${state}` }, tile(ctx, one), h("span", { class: "word" }, say(ctx, one.name)), h("span", { class: `row ink-${state}` }, icon(STATE_ICONS[state], true), ctx.t(`proof_path.sign_${one.verdict}`)),
      one.time_ms ? h("span", { class: "meta num" }, when(ctx, one.time_ms)) : null);
  }));
}
function anchored(ctx) {
  const list = ctx.get("anchors");
  if (!list.length) return ctx.get("no_anchor") ? h("p", { key: "noanchor", class: "meta" }, say(ctx, ctx.get("no_anchor"))) : null;
  return h("ul", { key: "anchors", class: "signers", "aria-label": ctx.t("proof_path.anchors") }, list.map((one, i) => h("li", { key: `a${i}`, class: `signer ${one.state}` }, icon("chain", true), h("span", { class: "word" }, say(ctx, one.label)), chip(ctx, one.state, one.word), one.time_ms ? h("span", { class: "meta num" }, when(ctx, one.time_ms)) : null)));
}
export default component({
  name: "proof_path",
  traits: ["proof", "signatures", "required", "anchors", "no_anchor", "turn"],
  heading: "proof_path.heading",
  isEmpty: (ctx) => !ctx.get("proof").root,
  skeleton: () => bones(["60%", "100%", "100%", "80%"], "36px"),
  aside(ctx) {
    if (!ctx.get("proof").sm3) return [];
    const tree = ctx.local.tree || "sha256";
    const show = (to) => () => { ctx.local.tree = to; ctx.emit("tree", { tree: to }); ctx.update(); };
    return [h("span", { key: "trees", class: "row", role: "group", "aria-label": ctx.t("proof_path.trees") }, button(ctx, "SHA-256", show("sha256"), { small: true, pressed: tree === "sha256" }), button(ctx, "SM3", show("sm3"), { small: true, pressed: tree === "sm3" }))];
  },
  view(ctx) {
    const proof = ctx.get("proof");
    const key = JSON.stringify(proof);
    if (ctx.local.key !== key) {
      Object.assign(ctx.local, { key, result: null });
      recompute(proof).then((result) => { if (ctx.local.key === key) { ctx.local.result = result; ctx.update(); } });
    }
    const { result } = ctx.local;
    const found = judge(ctx);
    const tree = proof.sm3 && ctx.local.tree === "sm3" ? "sm3" : "sha256";
    const all = [found.body, found.path, ...(proof.sm3 ? [found.sm3] : []), ...(proof.text ? [found.text] : []), found.signed];
    const verdict = all.includes("broken") ? "broken" : all.every((one) => one === "holds") ? "holds" : "open";
    const sentence = ctx.t(`proof_path.sum_${verdict}`, { count: proof.path.length, good: found.good, all: found.all });
    if (result) ctx.announce(sentence, true);
    // A long path begins where the reader's own entry is: at its lower end.
    if (ctx.local.climbed !== `${key}${tree}`) { ctx.local.climbed = `${key}${tree}`; ctx.after(() => { const box = ctx.root.querySelector(".climb"); if (box) box.scrollTop = box.scrollHeight; }); }
    const roots = [["SHA-256", proof.root, found.path, "sha256", "proof_path.here"], ...(proof.sm3 ? [["SM3", proof.sm3.root, found.sm3, "sm3", "proof_path.given"]] : [])];
    return [h("p", { key: "sum", class: `sum ink-${MARKS[verdict][0]}` }, icon(MARKS[verdict][1]), h("b", null, result ? sentence : ctx.t("proof_path.working"))),
      result?.problem ? h("p", { key: "problem", class: "meta ink-failed" }, ctx.t(`proof_path.${result.problem}`)) : null,
      checks(ctx, found),
      h("div", { key: "top", class: "summit" }, signers(ctx), anchored(ctx), h("span", { key: "stem1", class: `stem ${found.signed}` }),
        h("span", { key: "head", class: "hash head" }, h("span", { class: "meta" }, ctx.t("proof_path.checkpoint")), h("b", { class: "num" }, ctx.t("proof_path.size", { size: formats.count(proof.size, ctx.lang) })), proof.text ? h("span", { class: "meta" }, plain(rootsOf(proof.text)?.origin || "")) : null),
        h("span", { key: "stem2", class: `stem ${found.text}` }),
        h("div", { key: "roots", class: "roots" }, roots.map(([name, value, state, which, from]) => node(ctx, { key: which, caption: ctx.t("proof_path.root", { name }), value, kind: `root ${which === tree ? "on" : ""}`, bad: state === "broken", note: state === "broken" ? ctx.t("proof_path.root_differs") : ctx.t(from) }))),
        h("span", { key: "stem3", class: `stem ${tree === "sha256" ? found.path : found.sm3}` })),
      climb(ctx, proof, tree, found),
      h("p", { key: "where", class: "meta" }, ctx.t("proof_path.where"))].filter(Boolean);
  },
});

// 正文 → 叶 → 树根 → 共签. Every hash is computed here, in the reader's browser, from the leaf's bytes (RFC 9162, 2.1);
// signatures are the node's verdict and are said to be. Where the browser cannot hash, nothing is called verified.
function verdicts(ctx) {
  const { result } = ctx.local;
  const signs = ctx.get("signatures");
  const good = signs.filter((s) => s.verdict === "valid").length;
  const bad = signs.some((s) => s.verdict === "invalid");
  const known = result && !result.problem;
  return [known ? (result.bodyHolds ? "holds" : "broken") : "open", known ? (result.pathHolds ? "holds" : "broken") : "open",
    bad ? "broken" : good >= ctx.get("required") && good > 0 ? "holds" : "open"];
}
export default component({
  name: "proof_chain",
  traits: ["proof", "signatures", "required", "remark"],
  heading: "proof_chain.heading",
  isEmpty: (ctx) => !ctx.get("proof").root,
  skeleton: () => [h("div", { key: "boxes", class: "row", style: { gap: "46px" } }, [0, 1, 2, 3].map((i) => h("span", { key: `b${i}`, class: "bone grow", style: { height: "66px", margin: "0" } })))],
  view(ctx) {
    const proof = ctx.get("proof");
    const key = JSON.stringify(proof);
    if (ctx.local.key !== key) {
      ctx.local.key = key;
      ctx.local.result = null;
      recompute(proof).then((result) => { if (ctx.local.key === key) { ctx.local.result = result; ctx.update(); } });
    }
    const { result } = ctx.local;
    const states = verdicts(ctx);
    const signs = ctx.get("signatures");
    const good = signs.filter((s) => s.verdict === "valid").length;
    const short = (text) => (text ? formats.digest("", text) : "…");
    const words = [states[0] === "open" ? ctx.t("proof_chain.unchecked") : ctx.t(states[0] === "holds" ? "proof_chain.agrees" : "proof_chain.differs"),
      states[1] === "open" ? ctx.t("proof_chain.unchecked") : states[1] === "holds" ? ctx.t("proof_chain.levels", { count: proof.path.length }) : ctx.t("proof_chain.differs"), `${good} / ${signs.length}`];
    const link = (i) => h("li", { key: `k${i}`, class: `link ${states[i] === "holds" ? "holds" : states[i]}` }, h("span", null, words[i]), icon(states[i] === "holds" ? "check" : states[i] === "broken" ? "cross" : "hourglass"));
    const box = (i, title, lines, bad) => h("li", { key: `b${i}`, class: `box${bad ? " bad" : ""}` }, h("b", null, title), lines);
    const algorithms = [...new Set(signs.map((s) => s.algorithm).filter(Boolean))].join(" · ");
    const spoken = states.map((state, i) => ctx.t(`proof_chain.say_${state}`, { n: i + 1 })).join(ctx.lang === "zh" ? "，" : ", ");
    if (result) ctx.announce(spoken, true);
    const open = Boolean(ctx.local.open);
    return [h("ol", { key: "chain", class: "chain", "aria-label": spoken },
      box(0, ctx.t("proof_chain.body"), [h("span", null, ctx.t("proof_chain.recomputed")), h("span", { class: "mono" }, short(result?.computed))], states[0] === "broken"), link(0),
      box(1, ctx.t("proof_chain.leaf"), [h("span", null, ctx.t("proof_chain.leaf_at", { index: formats.count(proof.index, ctx.lang) })), h("span", { class: "mono" }, short(result?.leaf || proof.leaf_hash))]), link(1),
      box(2, ctx.t("proof_chain.root"), [h("span", null, ctx.t("proof_chain.root_at", { size: formats.count(proof.size, ctx.lang) })), h("span", { class: "mono" }, short(proof.root))], states[1] === "broken"), link(2),
      box(3, ctx.t("proof_chain.signed"), [h("span", { class: "row wrap", style: { "justify-content": "center", gap: "4px" } }, signs.map((s, i) => h("span", { key: `t${i}` }, tile(ctx, s)))), algorithms ? h("span", null, plain(algorithms)) : null], states[2] === "broken")),
    result?.problem ? h("p", { key: "problem", class: "meta ink-failed" }, ctx.t(`proof_chain.${result.problem}`)) : null,
    ctx.get("remark") ? h("p", { key: "remark", class: "meta", style: { "margin-top": "8px" } }, say(ctx, ctx.get("remark"))) : null,
    h("p", { key: "where", class: "meta", style: { "margin-top": ctx.get("remark") ? "4px" : "8px" } }, ctx.t("proof_chain.where")),
    h("div", { key: "more", class: "row", style: { "margin-top": "8px" } }, button(ctx, ctx.t(open ? "proof_chain.close" : "proof_chain.open"), () => { ctx.local.open = !open; ctx.emit("open", { open: !open }); ctx.update(); }, { small: true, expanded: open, glyph: "chain" })),
    open ? pathTable(ctx, proof, result) : null].filter(Boolean);
  },
});
function pathTable(ctx, proof, result) {
  const full = (text) => h("span", { class: "mono", title: text }, formats.digest("", text, 4));
  const steps = result?.route?.steps || [];
  let text = "";
  try { text = new TextDecoder().decode(unbase64(proof.body_base64)); } catch (error) { text = ""; }
  const end = result && !result.problem && result.pathHolds;
  return h("div", { key: "path", class: "pathlist", tabindex: "0", role: "region", "aria-label": ctx.t("proof_chain.path") },
    text ? [h("p", { key: "bt", class: "meta" }, ctx.t("proof_chain.body_text")), h("pre", { key: "bp", class: "body", tabindex: "0" }, text)] : null,
    h("table", null, h("thead", null, h("tr", null, ["level", "side", "sibling", "hash"].map((name) => h("th", { key: name }, ctx.t(`proof_chain.${name}`))))),
      h("tbody", null, h("tr", { key: "leaf" }, h("td", null, "0"), h("td", null, ctx.t("proof_chain.leaf")), h("td", null, "—"), h("td", null, full(result?.leaf))),
        steps.map((step, i) => h("tr", { key: `s${i}` }, h("td", { class: "num" }, String(i + 1)), h("td", null, ctx.t(`proof_chain.${step.side}`)), h("td", null, full(step.sibling)), h("td", null, full(step.hash)))),
        h("tr", { key: "root" }, h("td", null, ctx.t("proof_chain.root")), h("td", { colspan: "2" }, result && !result.problem ? h("span", { class: `row ink-${end ? "sealed" : "tampered"}` }, icon(end ? "check" : "cross", true), ctx.t(end ? "proof_chain.agrees" : "proof_chain.differs")) : ctx.t("proof_chain.unchecked")), h("td", null, full(proof.root))))));
}

// A receipt: id, checkpoint, co-signers, both roots, and the command that checks it without this product.
function sealState(signs, required) {
  const good = signs.filter((s) => s.verdict === "valid").length;
  if (signs.some((s) => s.verdict === "invalid")) return { state: "tampered", good };
  if (good === signs.length && good > 0) return { state: "sealed", good };
  return { state: "pending", good, degraded: good >= required && good > 0 };
}
export default component({
  name: "receipt_card",
  traits: ["receipt"],
  isEmpty: (ctx) => !ctx.get("receipt").id,
  skeleton: () => bones(["64%", "58%", "42%", "70%", "70%", "76%"]),
  aside(ctx) {
    const receipt = ctx.get("receipt");
    if (ctx.state === "tampered") return [h("span", { key: "seal" }, chip(ctx, "tampered"))];
    const seal = sealState(receipt.cosigners, receipt.required);
    const word = seal.degraded ? ctx.t("receipt_card.degraded", { good: seal.good, all: receipt.cosigners.length }) : undefined;
    return [h("span", { key: "seal" }, chip(ctx, seal.state, word))];
  },
  heading: "receipt_card.heading",
  view(ctx) {
    const receipt = ctx.get("receipt");
    const seal = sealState(receipt.cosigners, receipt.required);
    const tone = seal.state === "sealed" ? "sealed" : seal.state;
    const dt = (name) => h("dt", { key: `t-${name}` }, ctx.t(`receipt_card.${name}`));
    const marks = { valid: "check", invalid: "cross", missing: "hourglass" };
    const copied = ctx.local.copied;
    return [h("dl", { key: "facts", class: "facts" }, dt("id"), h("dd", { class: "mono" }, plain(receipt.id)),
      dt("checkpoint"), h("dd", { class: "num" }, ctx.t("receipt_card.at", { size: formats.count(receipt.checkpoint, ctx.lang) }), receipt.sealed_ms ? [" · ", when(ctx, receipt.sealed_ms)] : null),
      dt("cosigners"), h("dd", { class: "row wrap" }, receipt.cosigners.map((s, i) => h("span", { key: `c${i}`, class: "row", style: { gap: "2px" }, title: ctx.t(`receipt_card.${s.verdict}`) }, tile(ctx, s),
        s.verdict === "valid" ? null : h("span", { key: "m", class: `ink-${s.verdict === "invalid" ? "tampered" : "pending"}` }, icon(marks[s.verdict], true)), h("span", { class: "sr" }, ctx.t(`receipt_card.${s.verdict}`)))),
      h("span", { class: `ink-${tone} num` }, ctx.t("receipt_card.of", { good: seal.good, all: receipt.cosigners.length }))),
      dt("roots"), h("dd", { class: "mono" }, receipt.roots.map((root, i) => h("div", { key: `r${i}`, title: root.hex }, h("span", { style: { display: "inline-block", "min-width": "58px" } }, plain(root.algorithm)), formats.digest("", root.hex, 4)))),
      dt("offline"), h("dd", { class: "mono" }, plain(receipt.command))),
    h("div", { key: "acts", class: "row wrap", style: { "margin-top": "8px" } }, button(ctx, ctx.t("receipt_card.open"), () => ctx.emit("open_evidence", { id: receipt.id }), { small: true, glyph: "chain" }),
      button(ctx, ctx.t(copied === "command" ? "receipt_card.copied" : "receipt_card.copy"), () => { copyText(ctx, receipt.command, "command"); ctx.emit("copy", { what: "command" }); }, { small: true, subtle: true, glyph: copied === "command" ? "check" : "copy" }),
      button(ctx, ctx.t("receipt_card.print"), () => ctx.emit("print", { id: receipt.id }), { small: true, subtle: true, glyph: "print" })),
    copied ? h("p", { key: "copied", class: copied === "command" ? "sr" : "meta", role: "status" }, ctx.t(copied === "command" ? "receipt_card.copied" : "receipt_card.select")) : null].filter(Boolean);
  },
});

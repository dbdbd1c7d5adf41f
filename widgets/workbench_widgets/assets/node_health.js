// The institutions' nodes: who answers, who does not and since when, and who goes to look.
export default component({
  name: "node_health",
  traits: ["nodes"],
  heading: "node_health.heading",
  isEmpty: (ctx) => !ctx.get("nodes").length,
  view: (ctx) => h("ul", { class: "nodes" }, ctx.get("nodes").map((node, i) => {
    const form = { ok: "sealed", degraded: "pending", away: "failed", distrusted: "tampered" }[node.state];
    const glyph = { ok: "check", degraded: "hourglass", away: "unlink", distrusted: "broken" }[node.state];
    const away = node.state === "away" && node.seen_ms !== null && node.seen_ms !== undefined;
    return h("li", { key: `n${i}` }, tile(ctx, node), h("span", null, say(ctx, node.name), node.mine ? ctx.t("common.mine_paren") : null),
      h("span", { class: `state ink-${form}` }, icon(glyph, true), ctx.t(`node_health.${node.state}`)),
      node.remark || away || node.openable ? h("span", { key: "why", class: "why row wrap" }, away ? [ctx.t("common.as_of", { time: formats.clock(node.seen_ms, ctx.lang) }), node.remark ? " · " : ""] : null, node.remark ? say(ctx, node.remark) : null,
        node.openable ? h("span", { key: "go", style: { "margin-left": "auto" } }, button(ctx, ctx.t("node_health.open"), () => ctx.emit("open", { party: node.party ?? null }), { small: true })) : null) : null);
  })),
});

// A source: the cited characters marked in their surroundings, and a plain word on whether they stand there.
export default component({
  name: "source_panel",
  traits: ["source", "steps"],
  heading: "source_panel.heading",
  isEmpty: (ctx) => !ctx.get("source").title && !ctx.get("steps").length,
  skeleton: () => bones(["70%", "100%", "94%", "88%", "60%"]),
  aside: (ctx) => (ctx.get("source").title ? [button(ctx, ctx.t("source_panel.close"), () => ctx.emit("close", {}), { key: "close", name: "close", small: true, subtle: true, glyph: "cross" })] : []),
  view(ctx) {
    const source = ctx.get("source");
    const row = (name, value) => [h("dt", { key: `t-${name}` }, ctx.t(`source_panel.${name}`)), h("dd", { key: `d-${name}`, class: "num wide" }, value)];
    return [source.title ? h("div", { key: `source-${source.n}`, class: "stack" },
      h("p", { class: "row wrap" }, h("span", { class: "ct on" }, String(source.n)), h("b", {}, say(ctx, source.title))),
      h("p", { class: "row wrap" }, source.synthetic ? chip(ctx, "simulated", ctx.t("source_panel.synthetic")) : null, h("span", { class: "meta" }, ctx.t("source_panel.version", { version: source.version })),
        source.time_ms === undefined || source.time_ms === null ? null : h("span", { class: "meta" }, when(ctx, source.time_ms, "date"))),
      h("blockquote", { class: "span", tabindex: "0" }, say(ctx, source.before), h("mark", {}, say(ctx, source.cited)), say(ctx, source.after)),
      h("dl", { class: "facts" }, row("place", ctx.t("source_panel.from_to", { from: formats.count(source.start, ctx.lang), to: formats.count(source.end, ctx.lang) })),
        source.origin ? row("origin", say(ctx, source.origin)) : null,
        row("digest", h("span", { class: "mono", title: source.digest.hex }, formats.digest(source.digest.algorithm, source.digest.hex))),
        row("check", h("span", { class: `row ink-${source.matches ? "sealed" : "tampered"}` }, icon(source.matches ? "check" : "cross", true), ctx.t(source.matches ? "source_panel.same" : "source_panel.other")))),
      source.next ? h("p", {}, button(ctx, ctx.t("source_panel.next", { n: source.next }), () => ctx.emit("next", { n: source.next }), { key: "next", name: "next", small: true })) : null) : null,
    ctx.get("steps").length ? h("div", { key: "way", class: "way" }, h("h3", { class: "title" }, ctx.t("source_panel.way")), h("ol", { class: "times" }, ctx.get("steps").map((step, i) => h("li", { key: `s${i}` }, when(ctx, step.time_ms, "clock"), h("span", {}, say(ctx, step.told)))))) : null];
  },
});

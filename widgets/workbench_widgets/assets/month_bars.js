// Columns on one scale, one a month. A list in reading order: number, then month; the drawn column says nothing more.
export default component({
  name: "month_bars",
  traits: ["bars", "unit"],
  heading: "month_bars.heading",
  isEmpty: (ctx) => !ctx.get("bars").length,
  skeleton: () => bones(["100%", "80%", "60%"]),
  aside: (ctx) => (ctx.get("bars").some((bar) => bar.soon && bar.count) ? h("span", { key: "key", class: "meta" }, ctx.t("month_bars.key")) : null),
  view(ctx) {
    const bars = ctx.get("bars");
    const most = Math.max(1, ...bars.map((bar) => bar.count));
    return h("ol", { class: "months", "aria-label": ctx.get("unit") || null }, bars.map((bar, i) =>
      h("li", { key: `b${i}`, class: bar.soon && bar.count ? "soon" : null, title: bar.title || null },
        h("span", { class: "num" }, formats.count(bar.count, ctx.lang)),
        h("span", { class: "well", "aria-hidden": "true" }, h("span", { class: "column", style: { height: `${bar.count ? Math.max(2, (bar.count / most) * 100) : 0}%` } })),
        h("span", { class: "meta" }, say(ctx, bar.label)))));
  },
});

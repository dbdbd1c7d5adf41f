// A meter: how much is left, the mark below which people are called, and what that means in time.
export default component({
  name: "pool_gauge",
  traits: ["count", "capacity", "low_water", "unit", "rows"],
  heading: "pool_gauge.heading",
  isEmpty: (ctx) => !ctx.get("capacity"),
  skeleton: () => bones(["40%", "100%", "70%", "60%"]),
  view(ctx) {
    const [count, capacity, low] = ["count", "capacity", "low_water"].map(ctx.get);
    const told = { count: formats.count(count, ctx.lang), capacity: formats.count(capacity, ctx.lang), low: formats.count(low, ctx.lang) };
    const part = (n) => `${Math.max(0, Math.min(100, (n / capacity) * 100))}%`;
    return [h("div", { key: "top", class: "row wrap" }, h("b", { class: "num", style: { "font-size": "24px", "line-height": "30px" } }, told.count), h("span", null, say(ctx, ctx.get("unit"))), h("span", { class: "grow" }),
      h("span", { class: "dim num" }, ctx.t("pool_gauge.capacity", told))),
    h("div", { key: "bar", class: `gauge${count <= low ? " low" : ""}`, role: "meter", "aria-valuemin": "0", "aria-valuemax": String(capacity), "aria-valuenow": String(Math.min(count, capacity)), "aria-label": ctx.t("pool_gauge.said", told) },
      h("i", { style: { width: part(count) } }), low ? h("u", { style: { left: part(low) } }) : null),
    h("dl", { key: "facts", class: "facts" }, h("dt", null, ctx.t("pool_gauge.low")), h("dd", { class: "num" }, ctx.t(count <= low ? "pool_gauge.is_low" : "pool_gauge.mark", told)),
      ctx.get("rows").flatMap((row, i) => [h("dt", { key: `t${i}` }, say(ctx, row.label)), h("dd", { key: `d${i}`, class: row.state ? `ink-${row.state}` : null }, say(ctx, row.value))]))];
  },
});

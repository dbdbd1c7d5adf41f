// From all to those that may be used. A real table whose middle column draws each row: kept solid, removed hatched.
export default component({
  name: "waterfall",
  traits: ["rows", "unit"],
  heading: "waterfall.heading",
  isEmpty: (ctx) => !ctx.get("rows").length,
  skeleton: () => bones(["100%", "62%", "50%", "38%", "30%", "22%", "16%"]),
  check(ctx) {
    const rows = ctx.get("rows");
    for (let i = 0; i < rows.length; i += 1) {
      const row = rows[i];
      const before = i ? rows[i - 1].kept : row.kept + row.removed;
      const reasons = row.reasons || [];
      const told = reasons.reduce((sum, one) => sum + one.count, 0);
      if (row.kept + row.removed !== before || (reasons.length && told !== row.removed)) return ctx.t("waterfall.bad_sum", { row: row.label });
    }
    return null;
  },
  aside: (ctx) => h("span", { key: "key", class: "meta" }, ctx.t("waterfall.key")),
  view(ctx) {
    const rows = ctx.get("rows");
    const whole = Math.max(1, rows[0].kept + rows[0].removed);
    const opened = (ctx.local.opened ||= new Map());
    const lines = rows.flatMap((row, i) => {
      const reasons = row.reasons || [];
      const open = opened.has(i) ? opened.get(i) : Boolean(row.open);
      const flip = () => { opened.set(i, !open); ctx.emit("open", { row: i, label: row.label, open: !open }); ctx.update(); };
      const kept = (row.kept / whole) * 100;
      const gone = row.removed ? Math.max(0.5, (row.removed / whole) * 100) : 0;
      const last = i === rows.length - 1;
      return [h("tr", { key: `r${i}` },
        h("th", { scope: "row", class: "name" }, reasons.length
          ? h("button", { key: "b", type: "button", class: "open", "aria-expanded": String(open), title: ctx.t("waterfall.why"), on: { click: flip } }, say(ctx, row.label), icon("chevron", true))
          : h("span", { key: "s" }, say(ctx, row.label))),
        h("td", { "aria-hidden": "true" }, h("div", { class: "track" }, h("div", { class: "kept", style: { width: `${kept}%` } }),
          gone ? h("div", { key: "gone", class: "gone", style: { left: `${Math.min(kept, 99.5)}%`, width: `${gone}%` } }) : null)),
        h("td", { class: "right num loss" }, row.removed ? formats.change(-row.removed, ctx.lang) : h("span", { class: "sr" }, "0")),
        h("td", { class: "right num rest" }, last && rows.length > 1 ? h("b", null, formats.count(row.kept, ctx.lang)) : formats.count(row.kept, ctx.lang))),
      open && reasons.length ? h("tr", { key: `w${i}`, class: "why" }, h("td", null), h("td", { colspan: "3" }, h("ul", null, reasons.map((one, k) =>
        h("li", { key: `k${k}`, title: one.code }, say(ctx, one.label), " ", h("span", { class: "num" }, formats.count(one.count, ctx.lang))))))) : null].filter(Boolean);
    });
    return h("table", { class: "fall" }, h("thead", { class: "sr" }, h("tr", null, h("th", null, ctx.t("waterfall.step")), h("td", { "aria-hidden": "true" }), h("th", null, ctx.t("waterfall.removed")),
      h("th", null, ctx.t("waterfall.kept")))), h("tbody", null, lines));
  },
});

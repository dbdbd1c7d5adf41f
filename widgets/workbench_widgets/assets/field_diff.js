// One entry, field by field: here, as co-signed, verdict. Only rows that differ are tinted.
export default component({
  name: "field_diff",
  traits: ["rows", "here_label", "cosigned_label"],
  heading: "field_diff.heading",
  isEmpty: (ctx) => !ctx.get("rows").length,
  view(ctx) {
    const told = (ctx.local.told ||= new Set());
    return h("div", { class: "scroll" }, h("table", { class: "diff" }, h("thead", null, h("tr", null, h("th", null, ctx.t("field_diff.field")), h("th", null, say(ctx, ctx.get("here_label") || ctx.t("field_diff.here"))),
      h("th", null, say(ctx, ctx.get("cosigned_label") || ctx.t("field_diff.cosigned"))), h("th", null, ctx.t("field_diff.verdict")))),
    h("tbody", null, ctx.get("rows").flatMap((row, i) => {
      const bad = row.verdict !== "same" && row.verdict !== "hidden";
      const strong = (value) => (bad ? h("b", null, cell(ctx, row.kind, value)) : cell(ctx, row.kind, value));
      const open = told.has(i);
      return [h("tr", { key: `r${i}`, class: bad ? "bad" : "" }, h("th", { scope: "row" }, row.explain
        ? h("button", { key: "b", type: "button", class: "btn small plain", style: { padding: "0", color: "inherit", "font-size": "inherit" }, "aria-expanded": String(open), title: ctx.t("field_diff.explain"), on: { click: () => { if (open) told.delete(i); else told.add(i); ctx.update(); } } }, say(ctx, row.field), icon("info", true))
        : h("span", { key: "s", class: "dim" }, say(ctx, row.field))),
      h("td", null, row.verdict === "missing_here" ? h("span", { class: "dim" }, ctx.t("field_diff.none")) : strong(row.here)),
      h("td", null, row.verdict === "missing_cosigned" ? h("span", { class: "dim" }, ctx.t("field_diff.none")) : strong(row.cosigned)),
      h("td", { class: bad ? "ink-tampered" : "dim" }, bad ? h("b", { class: "row" }, icon("cross", true), ctx.t(`field_diff.${row.verdict}`)) : ctx.t(`field_diff.${row.verdict}`))),
      open ? h("tr", { key: `e${i}`, class: "explain" }, h("td", { colspan: "4" }, say(ctx, row.explain))) : null].filter(Boolean);
    }))));
  },
});

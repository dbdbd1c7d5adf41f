// Rows of a file that did not come in: where, what (masked), why, and how to mend it. Never green.
const REJECTS_PAGE = 20;
export default component({
  name: "rejects_table",
  traits: ["rows", "accepted", "rejected", "downloadable"],
  heading: "rejects_table.heading",
  isEmpty: (ctx) => ctx.get("rejected") === 0,
  aside(ctx) {
    const rejected = ctx.get("rejected");
    return [h("span", { key: "state" }, chip(ctx, ctx.get("accepted") === 0 ? "failed" : "pending", ctx.t("rejects_table.count", { count: formats.count(rejected, ctx.lang) }))),
      ctx.get("downloadable") ? button(ctx, ctx.t("rejects_table.download"), () => ctx.emit("download"), { small: true, glyph: "down", key: "get" }) : null].filter(Boolean);
  },
  view(ctx) {
    const rows = ctx.get("rows");
    const pages = Math.max(1, Math.ceil(rows.length / REJECTS_PAGE));
    const page = Math.min(ctx.local.page || 0, pages - 1);
    const count = (n) => formats.count(n, ctx.lang);
    return [h("p", { key: "sum", class: "ink-pending", role: "status", style: { "font-size": "13px", "margin-bottom": "4px" } }, ctx.t(ctx.get("accepted") === 0 ? "rejects_table.none" : "rejects_table.some", { accepted: count(ctx.get("accepted")), rejected: count(ctx.get("rejected")) })),
      h("div", { key: "scroll", class: "scroll", tabindex: "0", role: "region", "aria-label": ctx.t("rejects_table.heading") }, h("table", null, h("thead", null, h("tr", null, ["line", "column", "value", "reason", "fix"].map((name) => h("th", { key: name, scope: "col", class: name === "line" ? "right" : null }, ctx.t(`rejects_table.${name}`))))),
        h("tbody", null, rows.slice(page * REJECTS_PAGE, (page + 1) * REJECTS_PAGE).map((row, i) => h("tr", { key: `r${page}-${i}` }, h("td", { class: "right num" }, count(row.line)), h("td", { class: "nowrap" }, say(ctx, row.column)),
          h("td", { class: "mono nowrap" }, plain(row.masked)), h("td", null, say(ctx, row.reason)), h("td", { class: "dim" }, say(ctx, row.fix))))))),
      pager(ctx, { page, pages, label: ctx.t("rejects_table.heading"), go: (to) => { ctx.local.page = to; ctx.update(); } }),
      rows.length < ctx.get("rejected") ? h("p", { key: "rest", class: "meta", style: { "margin-top": "4px" } }, ctx.t("rejects_table.rest", { shown: count(rows.length), all: count(ctx.get("rejected")) })) : null].filter(Boolean);
  },
});

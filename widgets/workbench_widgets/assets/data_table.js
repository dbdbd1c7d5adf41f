// Rows of masked data, a page at a time. Content is text whatever its kind; a page that is not here is asked for.
export default component({
  name: "data_table",
  traits: ["columns", "rows", "page_size", "page", "total", "offset", "openable", "row_actions", "note"],
  isEmpty: (ctx) => !ctx.get("rows").length && !ctx.get("total"),
  skeleton: (ctx) => bones(Array(Math.min(6, ctx.get("page_size"))).fill("100%")),
  view(ctx) {
    const rows = ctx.get("rows");
    const offset = ctx.get("offset");
    const total = Math.max(ctx.get("total") || 0, offset + rows.length);
    const size = ctx.get("page_size");
    const pages = Math.max(1, Math.ceil(total / size));
    const page = Math.min(ctx.get("page"), pages - 1);
    const from = page * size - offset;
    const here = from >= 0 ? rows.slice(from, from + size) : [];
    const wanted = Math.min(size, total - page * size);
    if (here.length < wanted && ctx.local.asked !== page) { ctx.local.asked = page; ctx.after(() => ctx.emit("page", { page, offset: page * size, limit: size })); }
    if (here.length >= wanted) ctx.local.asked = undefined;
    const columns = ctx.get("columns");
    const numeric = (column) => column.align === "right" || ["count", "change", "share", "size", "money"].includes(column.kind);
    const openable = ctx.get("openable");
    const actions = ctx.get("row_actions");
    const acts = openable || actions.length > 0;
    const buttons = (row, i) => [...actions.filter((one) => (row.can || []).includes(one.name)).map((one) => button(ctx, one.label, () => ctx.emit("act", { row: page * size + i, id: row.id ?? null, name: one.name }), { small: true, subtle: true, key: `act-${one.name}` })),
      openable ? button(ctx, ctx.t("data_table.open"), () => ctx.emit("open", { row: page * size + i, id: row.id ?? null }), { small: true, subtle: true, key: "open" }) : null].filter(Boolean);
    // A row keeps its elements wherever it moves: a button that is being pressed, or has the focus, never becomes another row's.
    const seen = new Map();
    const keyOf = (row, i) => {
      if (row.id === undefined || row.id === null) return `r${page * size + i}`;
      seen.set(row.id, (seen.get(row.id) || 0) + 1);
      return `i${row.id}/${seen.get(row.id)}`;
    };
    return [h("div", { key: "scroll", class: "scroll", tabindex: "0", role: "region", "aria-label": ctx.get("heading") || ctx.t("data_table.label") }, h("table", null,
      h("thead", null, h("tr", null, columns.map((column, c) => h("th", { key: `c${c}`, scope: "col", class: numeric(column) ? "right" : null }, say(ctx, column.label))), acts ? h("th", { key: "open" }, h("span", { class: "sr" }, ctx.t("data_table.open"))) : null)),
      h("tbody", null, here.length ? here.map((row, i) => h("tr", { key: keyOf(row, i) }, columns.map((column, c) => h("td", { key: `c${c}`, class: numeric(column) ? "right" : null }, cell(ctx, column.kind, row[column.key]))),
        acts ? h("td", { key: "open", class: "right nowrap" }, ...buttons(row, i)) : null))
        : Array.from({ length: Math.min(size, 5) }, (_, i) => h("tr", { key: `b${i}` }, h("td", { colspan: String(columns.length + (acts ? 1 : 0)) }, h("span", { class: "bone", style: { margin: "0" } }))))))),
    pager(ctx, { page, pages, label: ctx.t("data_table.pages"), go: (to) => { ctx.set({ page: Math.max(0, Math.min(pages - 1, to)) }); ctx.update(); } }),
    ctx.get("note") ? h("p", { key: "note", class: "meta", style: { "margin-top": "8px" } }, say(ctx, ctx.get("note"))) : null].filter(Boolean);
  },
});

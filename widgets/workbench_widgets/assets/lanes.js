// Who sent what when. Only the rows in sight are drawn; the list says the same in a plain table.
const ROW = 32;
const PAGE = 100;
function laneX(ctx, party) {
  const lanes = ctx.get("lanes");
  const at = lanes.findIndex((lane) => lane.party === party);
  return at < 0 ? null : ((at + 0.5) / lanes.length) * 100;
}
function laneName(ctx, party) { return ctx.get("lanes").find((lane) => lane.party === party)?.name ?? party ?? ""; }
function sentence(ctx, row) {
  const way = row.kind === "message" ? `${laneName(ctx, row.from)} → ${laneName(ctx, row.to)}` : row.kind === "act" ? laneName(ctx, row.from) : "";
  return [formats.count(row.index, ctx.lang), formats.clock(row.time_ms, ctx.lang), way, row.text, ctx.t(`common.${row.state}`)].filter(Boolean).map(plain).join("，");
}
function links(ctx, row) {
  const lanes = ctx.get("lanes");
  const tone = row.state === "tampered" ? "var(--tampered)" : lanes.find((lane) => lane.party === row.from)?.mine ? "var(--primary)" : "var(--text2)";
  const from = laneX(ctx, row.from);
  const to = row.kind === "message" ? laneX(ctx, row.to) : null;
  const bold = row.state === "tampered" ? "2.4" : "1.6";
  const rails = lanes.map((lane, i) => h("line", { key: `l${i}`, x1: `${laneX(ctx, lane.party)}%`, x2: `${laneX(ctx, lane.party)}%`, y1: "0", y2: String(ROW), style: { stroke: "var(--line)", "stroke-width": "2" } }));
  if (from === null) return rails;
  const marks = [h("circle", { key: "dot", cx: `${from}%`, cy: String(ROW / 2), r: "4.5", style: { fill: tone } })];
  if (to !== null && to !== from) {
    // The head is its own small drawing, since a path cannot mix per cent and pixels.
    const right = to > from;
    marks.unshift(h("line", { key: "way", x1: `${from}%`, x2: `${to}%`, y1: String(ROW / 2), y2: String(ROW / 2), style: { stroke: tone, "stroke-width": bold } }),
      h("svg", { key: "tip", x: `${to}%`, y: "0", width: "1", height: String(ROW), style: { overflow: "visible" } }, h("path", { d: right ? "M-9 12l6 4l-6 4" : "M9 12l-6 4l6 4", style: { fill: "none", stroke: tone, "stroke-width": bold } })));
  }
  return [...rails, ...marks];
}
function laneRow(ctx, row, at, total) {
  const chosen = ctx.get("selected") === row.index;
  const active = ctx.local.focused && ctx.local.active === at;
  const glyph = STATE_ICONS[row.state] || "info";
  return h("div", { key: `row${row.index}`, id: `row${at}`, class: `lane-row ${row.state} ${row.kind}${active ? " active" : ""}`, role: "option", "aria-selected": String(chosen), "aria-label": sentence(ctx, row),
    "aria-setsize": String(total), "aria-posinset": String(at + 1), style: { top: `${at * ROW}px` }, on: { click: () => { ctx.local.active = at; choose(ctx, row); } } },
  h("span", { class: "mono num" }, formats.count(row.index, ctx.lang)), h("span", { class: "num dim", title: formats.utc(row.time_ms, ctx.lang) }, formats.clock(row.time_ms, ctx.lang)),
  row.kind === "checkpoint" ? h("span", { key: "pill", class: "pill", title: row.text }, say(ctx, row.text)) : h("svg", { key: "links", class: "links", "aria-hidden": "true" }, links(ctx, row)),
  row.kind === "checkpoint" ? h("span", { key: "none" }) : h("span", { key: "text", class: "text", title: row.text }, say(ctx, row.text)),
  h("span", { class: `ink-${row.state}`, title: ctx.t(`common.${row.state}`) }, icon(glyph, true)));
}
function choose(ctx, row) {
  if (!row) return;
  ctx.set({ selected: row.index });
  ctx.emit("select", { index: row.index, id: row.id ?? null });
}
function askFor(ctx, at) {
  // Rows outside the window are the server's; one request per window.
  const offset = Math.max(0, Math.floor(at / PAGE) * PAGE);
  if (ctx.local.asked === offset) return;
  ctx.local.asked = offset;
  ctx.emit("page", { offset, limit: PAGE * 2 });
}
function reveal(ctx, at, offset) {
  // A row that was chosen elsewhere comes into sight; one that is in sight stays where it is.
  const chosen = ctx.get("selected");
  if (at < 0 || ctx.local.revealed === chosen) return;
  ctx.local.revealed = chosen;
  requestAnimationFrame(() => {
    const box = ctx.root.querySelector(".lanes");
    const top = (at + offset) * ROW;
    if (box && (top < box.scrollTop || top + ROW > box.scrollTop + box.clientHeight)) box.scrollTop = Math.max(0, top - Math.floor(box.clientHeight / 2));
  });
}
function lanesView(ctx) {
  const rows = ctx.get("rows");
  const offset = ctx.get("offset");
  const total = Math.max(ctx.get("total") || 0, offset + rows.length);
  const height = Math.min(ctx.get("height"), total * ROW + 2);
  const top = ctx.local.top || 0;
  const first = Math.max(0, Math.floor(top / ROW) - 8);
  const last = Math.min(total, Math.ceil((top + height) / ROW) + 8);
  const shown = [];
  for (let at = first; at < last; at += 1) {
    const row = rows[at - offset];
    if (row) shown.push(laneRow(ctx, row, at, total));
    else shown.push(h("div", { key: `gap${at}`, class: "lane-row", style: { top: `${at * ROW}px` } }, h("span", { class: "bone", style: { margin: "0" } })));
  }
  if (first < offset) askFor(ctx, first); else if (last > offset + rows.length) askFor(ctx, last - 1); else ctx.local.asked = undefined;
  const move = (to) => {
    const at = Math.max(0, Math.min(total - 1, to));
    ctx.local.active = at;
    const box = ctx.root.querySelector(".lanes");
    if (at * ROW < box.scrollTop) box.scrollTop = at * ROW;
    if ((at + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (at + 1) * ROW - box.clientHeight;
    ctx.local.top = box.scrollTop;
    ctx.update();
  };
  reveal(ctx, rows.findIndex((row) => row.index === ctx.get("selected")), offset);
  const active = ctx.local.active ?? Math.max(0, rows.findIndex((row) => row.index === ctx.get("selected")) + offset);
  const keys = { ArrowDown: () => move(active + 1), ArrowUp: () => move(active - 1), Home: () => move(0), End: () => move(total - 1), PageDown: () => move(active + 10), PageUp: () => move(active - 10),
    Enter: () => choose(ctx, rows[active - offset]), " ": () => choose(ctx, rows[active - offset]) };
  const head = h("div", { key: "head", class: "lane-head" }, h("span", { class: "dim" }, ctx.t("lanes.index")), h("span", { class: "dim" }, ctx.t("lanes.time")),
    h("span", { class: "names" }, ctx.get("lanes").map((lane, i) => h("span", { key: `n${i}`, style: { left: `${laneX(ctx, lane.party)}%` } }, tile(ctx, lane), h("span", { class: "word" }, say(ctx, lane.name))))), h("span", { class: "dim" }, ctx.t("lanes.what")), h("span"));
  return h("div", { key: "pic", class: total * ROW > height ? "long" : null, style: { "--lanes": String(Math.max(2, ctx.get("lanes").length)) } }, head, h("div", { class: "lanes", tabindex: "0", role: "listbox", "aria-label": ctx.t("lanes.label", { count: formats.count(total, ctx.lang) }),
    "aria-activedescendant": ctx.local.focused && active >= first && active < last ? `row${active}` : null, style: { height: `${height}px` },
    on: { scroll: (e) => { const now = e.target.scrollTop; if (Math.abs(now - (ctx.local.top || 0)) >= ROW) { ctx.local.top = now; ctx.update(); } },
      focus: () => { ctx.local.focused = true; ctx.local.active ??= active; ctx.update(); }, blur: () => { ctx.local.focused = false; ctx.update(); },
      keydown: (e) => { const act = keys[e.key]; if (act && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); act(); } } } },
  h("div", { class: "space", style: { height: `${total * ROW}px` } }, shown)));
}
function listView(ctx) {
  const rows = ctx.get("rows");
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const page = Math.min(ctx.local.page || 0, pages - 1);
  return h("div", { key: "list", class: "scroll" }, h("table", null, h("thead", null, h("tr", null, ["index", "time", "who", "what", "record"].map((name) => h("th", { key: name }, ctx.t(`lanes.${name}`))))),
    h("tbody", null, rows.slice(page * PAGE, (page + 1) * PAGE).map((row) => h("tr", { key: `t${row.index}` }, h("td", { class: "mono" }, formats.count(row.index, ctx.lang)), h("td", null, when(ctx, row.time_ms, "clock")),
      h("td", null, say(ctx, row.kind === "message" ? `${laneName(ctx, row.from)} → ${laneName(ctx, row.to)}` : row.kind === "act" ? laneName(ctx, row.from) : ctx.t("lanes.checkpoint"))),
      h("td", null, h("button", { type: "button", class: "btn small plain", on: { click: () => choose(ctx, row) } }, say(ctx, row.text))), h("td", null, chip(ctx, row.state)))))),
    pager(ctx, { page, pages, label: ctx.t("lanes.list"), go: (to) => { ctx.local.page = to; ctx.update(); } }));
}
export default component({
  name: "lanes",
  traits: ["lanes", "rows", "offset", "total", "selected", "height"],
  heading: "lanes.heading",
  isEmpty: (ctx) => !ctx.get("rows").length && !ctx.get("total"),
  skeleton: () => bones(["100%", "100%", "100%", "100%", "100%"]),
  aside(ctx) {
    const list = Boolean(ctx.local.list);
    const flip = (to) => () => { ctx.local.list = to; ctx.local.top = 0; ctx.update(); };
    return [h("span", { key: "flip", class: "row", role: "group", "aria-label": ctx.t("lanes.form") }, button(ctx, ctx.t("lanes.lanes"), flip(false), { small: true, pressed: !list }), button(ctx, ctx.t("lanes.list"), flip(true), { small: true, pressed: list }))];
  },
  view: (ctx) => (ctx.local.list ? listView(ctx) : lanesView(ctx)),
});

// A job from consent to result. Arrows are as bad as the worse of their records; a record that one side lacks is a gap.
const FLOW = 40;
const WAY = 30;
function laneAt(ctx, party) {
  const lanes = ctx.get("lanes");
  const at = lanes.findIndex((lane) => lane.party === party);
  return at < 0 ? null : ((at + 0.5) / lanes.length) * 100;
}
function nameOf(ctx, party) { return ctx.get("lanes").find((lane) => lane.party === party)?.name ?? party ?? ""; }
function pick(ctx, id) { ctx.set({ selected: id }); ctx.emit("select", { id }); }
function counted(ctx, text, count) { return count > 1 ? `${plain(text)} × ${formats.count(count, ctx.lang)}` : plain(text); }
function act(ctx, one, i) {
  const chosen = ctx.get("selected") === one.id;
  return h("button", { key: `a${i}${one.id}`, type: "button", class: `act ${one.state}`, "aria-pressed": String(chosen), "data-id": one.id, on: { click: () => pick(ctx, one.id) } },
    h("span", { class: `ink-${one.state} mark`, title: ctx.t(`common.${one.state}`) }, icon(STATE_ICONS[one.state] || "info", true)), h("span", { class: "word" }, say(ctx, counted(ctx, one.text, one.count || 1))), h("span", { class: "sr" }, ctx.t(`common.${one.state}`)));
}
function flow(ctx, one, i) {
  const [from, to] = [laneAt(ctx, one.from), laneAt(ctx, one.to)];
  if (from === null || to === null) return null;
  const right = to > from;
  const mine = !one.both && ctx.get("lanes").find((lane) => lane.party === one.from)?.mine;
  const tone = one.state === "tampered" ? "var(--tampered)" : one.missing ? "var(--pending)" : mine ? "var(--primary)" : "var(--text2)";
  const gap = one.missing ? laneAt(ctx, one.missing) : null;
  const dash = one.state === "pending" || one.missing ? "5 4" : null;
  const y = String(WAY);
  const end = (at, key) => (at === gap
    ? h("circle", { key, cx: `${at}%`, cy: y, r: "7", style: { fill: "var(--surface)", stroke: "var(--pending)", "stroke-width": "1.8", "stroke-dasharray": "3 3" } })
    : h("circle", { key, cx: `${at}%`, cy: y, r: "4.5", style: { fill: tone } }));
  // An arrow that crosses a lane in between stays in one piece: the lane's own line lies under it.
  const head = right ? (to === gap ? `M-14 ${WAY - 5}l6 5l-6 5` : `M-11 ${WAY - 5}l6 5l-6 5`) : to === gap ? `M14 ${WAY - 5}l-6 5l6 5` : `M11 ${WAY - 5}l-6 5l6 5`;
  const tail = right ? (from === gap ? `M14 ${WAY - 5}l-6 5l6 5` : `M11 ${WAY - 5}l-6 5l6 5`) : from === gap ? `M-14 ${WAY - 5}l6 5l-6 5` : `M-11 ${WAY - 5}l6 5l-6 5`;
  const text = counted(ctx, one.text, one.count);
  const told = one.missing ? ctx.t("job_graph.gap", { party: nameOf(ctx, one.missing), count: formats.count(one.missing_count, ctx.lang) }) : "";
  const spoken = [`${nameOf(ctx, one.from)} ${one.both ? "⇄" : "→"} ${nameOf(ctx, one.to)}`, text, told, ctx.t(`common.${one.state}`)].filter(Boolean).map(plain).join(ctx.lang === "zh" ? "，" : ", ");
  const middle = (from + to) / 2;
  return h("button", { key: `f${i}${one.id}`, type: "button", class: `flow ${one.state}${one.missing ? " lonely" : ""}`, "aria-label": spoken, "aria-pressed": String(ctx.get("selected") === one.id), "data-id": one.id, on: { click: () => pick(ctx, one.id) } },
    h("svg", { key: "way", class: "way", "aria-hidden": "true" },
      h("line", { key: "l", x1: `${from}%`, x2: `${to}%`, y1: y, y2: y, style: { stroke: tone, "stroke-width": one.state === "tampered" ? "2.6" : "1.8", ...(dash ? { "stroke-dasharray": dash } : {}) } }),
      end(from, "from"), end(to, "to"),
      one.both ? h("svg", { key: "tail", x: `${from}%`, y: "0", width: "1", height: String(FLOW), style: { overflow: "visible" } }, h("path", { d: tail, style: { fill: "none", stroke: tone, "stroke-width": "1.8" } })) : null,
      h("svg", { key: "tip", x: `${to}%`, y: "0", width: "1", height: String(FLOW), style: { overflow: "visible" } }, h("path", { d: head, style: { fill: "none", stroke: tone, "stroke-width": "1.8" } }))),
    h("span", { key: "t", class: "label", style: { left: `${middle}%` } }, icon(one.missing ? "hourglass" : STATE_ICONS[one.state] || "info", true), h("span", null, say(ctx, told ? `${text} · ${told}` : text))));
}
function stage(ctx, one) {
  const lanes = ctx.get("lanes");
  return h("section", { key: one.key, class: "stage", "aria-label": one.label },
    h("h3", { class: "meta" }, say(ctx, one.label)),
    h("div", { class: "field" },
      h("div", { key: "rails", class: "rails", "aria-hidden": "true" }, lanes.map((lane, i) => h("i", { key: `r${i}`, style: { left: `${laneAt(ctx, lane.party)}%` } }))),
      one.acts.length ? h("div", { key: "acts", class: "acts" }, lanes.map((lane) => h("div", { key: lane.party, class: "cell" }, one.acts.filter((a) => a.party === lane.party).map((a, i) => act(ctx, a, i))))) : null,
      one.flows.map((f, i) => flow(ctx, f, i))));
}
export default component({
  name: "job_graph",
  traits: ["lanes", "stages", "selected"],
  heading: "job_graph.heading",
  isEmpty: (ctx) => !ctx.get("stages").some((one) => one.acts.length || one.flows.length),
  skeleton: () => bones(["100%", "100%", "100%", "100%"], "52px"),
  view(ctx) {
    const lanes = ctx.get("lanes");
    const stages = ctx.get("stages").filter((one) => one.acts.length || one.flows.length);
    return h("div", { key: "graph", class: "graph", style: { "--lanes": String(Math.max(2, lanes.length)) } },
      h("div", { key: "head", class: "stage head" }, h("span", null), h("div", { class: "field names" }, lanes.map((lane, i) => h("span", { key: `n${i}`, style: { left: `${laneAt(ctx, lane.party)}%` } }, tile(ctx, lane), h("span", { class: "word" }, say(ctx, lane.name)))))),
      stages.map((one) => stage(ctx, one)),
      h("p", { key: "legend", class: "meta legend" }, ["sealed", "pending", "tampered"].map((state) => h("span", { key: state, class: "row" }, h("span", { class: `ink-${state}` }, icon(STATE_ICONS[state], true)), ctx.t(`common.${state}`))), h("span", { key: "gap", class: "row" }, h("svg", { class: "i s", viewBox: "0 0 24 24", "aria-hidden": "true" }, h("circle", { cx: "12", cy: "12", r: "8", style: { fill: "none", stroke: "var(--pending)", "stroke-width": "2", "stroke-dasharray": "4 4" } })), ctx.t("job_graph.legend_gap"))));
  },
});

// Two growing sums on one scale: what was paid, and what running without a break would have cost. The table says the same.
const COST = { width: 900, left: 74, right: 150, top: 16, high: 150, foot: 26 };
function costTop(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= most * 1.04) ?? 20 * power;
}
export default component({
  name: "cost_curve",
  traits: ["points", "budget_fen"],
  heading: "cost_curve.heading",
  isEmpty: (ctx) => !ctx.get("points").length,
  skeleton: () => bones(["100%"], "180px"),
  view(ctx) {
    const points = ctx.get("points");
    const budget = ctx.get("budget_fen");
    const sums = (name) => { let sum = 0; return points.map((point) => (sum += point[name])); };
    const paid = sums("paid_fen");
    const always = sums("always_fen");
    const [total, full] = [paid.at(-1), always.at(-1)];
    const money = (fen) => formats.money(fen, ctx.lang);
    const inner = COST.width - COST.left - COST.right;
    const base = COST.top + COST.high;
    const most = costTop(Math.max(total, full, budget));
    const X = (i) => COST.left + (points.length > 1 ? (i / (points.length - 1)) * inner : inner);
    const Y = (fen) => base - (fen / most) * COST.high;
    const text = (key, x, y, words, form, anchor = "start", style = {}) => h("text", { key, x: x.toFixed(1), y: y.toFixed(1), class: form, "text-anchor": anchor, style }, plain(words));
    const drawn = [0, 1, 2].flatMap((i) => [h("line", { key: `g${i}`, x1: COST.left, x2: COST.left + inner, y1: Y((most * i) / 2).toFixed(1), y2: Y((most * i) / 2).toFixed(1), style: { stroke: "var(--line)" } }),
      text(`gt${i}`, COST.left - 8, Y((most * i) / 2) + 4, money(Math.round((most * i) / 2)).replace(/\.00$/, ""), "d", "end")]);
    const curve = (key, values, style) => h("path", { key, d: (values.length > 1 ? values : [0, ...values]).map((fen, i, all) => `${i ? "L" : "M"}${(all.length === values.length ? X(i) : COST.left + i * inner).toFixed(1)} ${Y(fen).toFixed(1)}`).join(""), style: { fill: "none", "stroke-width": "2", "stroke-linejoin": "round", ...style } });
    drawn.push(curve("always", always, { stroke: "var(--text2)", "stroke-dasharray": "5 4" }), curve("paid", paid, { stroke: "var(--primary)", "stroke-width": "2.5" }));
    if (budget > 0) drawn.push(h("line", { key: "budget", x1: COST.left, x2: COST.left + inner, y1: Y(budget).toFixed(1), y2: Y(budget).toFixed(1), style: { stroke: "var(--pending)", "stroke-dasharray": "2 4", "stroke-width": "1.5" } }));
    const ends = [{ y: Y(full), words: ctx.t("cost_curve.always_end", { money: money(full) }), tone: "var(--text2)" }, { y: Y(total), words: ctx.t("cost_curve.paid_end", { money: money(total) }), tone: "var(--primary)" },
      ...(budget > 0 ? [{ y: Y(budget), words: ctx.t("cost_curve.budget_end", { money: money(budget) }), tone: "var(--pending)" }] : [])].sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => { if (i && end.y - ends[i - 1].y < 15) end.y = ends[i - 1].y + 15; });
    // The names stay above the axis, where the periods stand.
    for (let i = ends.length - 1, low = base - 6; i >= 0; i -= 1, low -= 15) ends[i].y = Math.min(ends[i].y, low);
    ends.forEach((end, i) => drawn.push(text(`e${i}`, COST.left + inner + 6, end.y + 4, end.words, null, "start", { fill: end.tone, "font-weight": "600" })));
    const step = Math.ceil(points.length / 7);
    points.forEach((point, i) => { if (i % step === 0 || i === points.length - 1) drawn.push(text(`x${i}`, X(i), base + 18, point.label, "d", "middle")); });
    const said = ctx.t("cost_curve.said", { paid: money(total), always: money(full), share: `${wholeShare(Math.max(0, full - total), full) ?? 0} %` });
    const isOpen = Boolean(ctx.local.open);
    const columns = ["step", "used", "paid", "always"];
    const row = (point, i) => h("tr", { key: `r${i}` }, h("td", null, say(ctx, point.label), point.note ? h("span", { class: "dim" }, " ", say(ctx, point.note)) : null), h("td", { class: "right" }, cell(ctx, "count", point.card_seconds ?? null)),
      h("td", { class: "right" }, cell(ctx, "money", point.paid_fen)), h("td", { class: "right" }, cell(ctx, "money", point.always_fen)));
    return [h("p", { key: "said" }, said),
      h("div", { key: "pic", class: "scroll", tabindex: "0", role: "group", "aria-label": said }, h("svg", { class: "chart wide", viewBox: `0 0 ${COST.width} ${base + COST.foot}`, role: "img", "aria-label": said }, drawn)),
      h("div", { key: "more", class: "row" }, button(ctx, ctx.t(isOpen ? "cost_curve.hide" : "cost_curve.show"), () => { ctx.local.open = !isOpen; ctx.update(); }, { small: true, subtle: true, expanded: isOpen })),
      isOpen ? h("div", { key: "rows", class: "scroll", tabindex: "0", role: "region", "aria-label": ctx.t("cost_curve.heading") }, h("table", null,
        h("thead", null, h("tr", null, columns.map((name) => h("th", { key: name, scope: "col", class: name === "step" ? null : "right" }, ctx.t(`cost_curve.${name}`))))), h("tbody", null, points.map(row)))) : null];
  },
});

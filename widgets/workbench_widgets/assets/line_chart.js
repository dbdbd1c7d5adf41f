// Panels below one another on one axis. Names stand at the ends of the lines; a band is what was expected, a span an alarm.
const CHART = { width: 900, left: 58, right: 132, head: 22, high: 112, gap: 26, foot: 24 };
const CHART_LOOKS = { first: { stroke: "var(--text)" }, second: { stroke: "var(--primary)" }, third: { stroke: "var(--text2)", "stroke-dasharray": "5 4" } };
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
function niceTop(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= most * 1.04) ?? 20 * power;
}
function shortNumber(value) {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1e4 || Math.abs(value) < 1e-3) return value.toExponential(0).replace("e+", "e").replace("-", "−");
  return formats.quantity(value, "", value >= 100 ? 0 : value >= 1 ? (Number.isInteger(value) ? 0 : 1) : 3).trim().replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}
function timeTicks(start, stop) {
  const step = (STEPS.find((s) => (stop - start) / 1000 / s <= 6) ?? 86400) * 1000;
  const found = [];
  for (let at = Math.ceil(start / step) * step; at <= stop; at += step) found.push(at);
  return found;
}
function numberTicks(start, stop) {
  const step = niceTop((stop - start) / 7);
  const found = [];
  for (let at = Math.ceil(start / step) * step; at <= stop + 1e-9; at += step) found.push(at);
  return found;
}
export default component({
  name: "line_chart",
  traits: ["panels", "timed", "across_label", "start", "stop", "spans", "marks", "said"],
  isEmpty: (ctx) => !ctx.get("panels").some((panel) => panel.lines.some((line) => line.points.length)),
  skeleton: () => bones(["100%"], "220px"),
  view(ctx) {
    const panels = ctx.get("panels");
    const xs = panels.flatMap((panel) => panel.lines.flatMap((line) => line.points.map((point) => point[0])));
    const given = ctx.get("stop") > ctx.get("start");
    const start = given ? ctx.get("start") : Math.min(...xs);
    const stop = given ? ctx.get("stop") : Math.max(...xs, start + 1);
    const inner = CHART.width - CHART.left - CHART.right;
    const bottom = panels.length * (CHART.head + CHART.high + CHART.gap) - CHART.gap;
    const X = (x) => CHART.left + ((Math.min(stop, Math.max(start, x)) - start) / (stop - start)) * inner;
    const text = (key, x, y, words, form, anchor = "start", style = {}) => h("text", { key, x: x.toFixed(1), y: y.toFixed(1), class: form, "text-anchor": anchor, style }, plain(words));
    const drawn = [];
    ctx.get("spans").forEach((span, i) => {
      const from = X(span.start);
      drawn.push(h("rect", { key: `span${i}`, x: from.toFixed(1), y: 4, width: Math.max(2, X(span.stop) - from).toFixed(1), height: bottom - 4, style: { fill: "var(--tampered)", "fill-opacity": ".13" } }));
    });
    panels.forEach((panel, p) => {
      const top = p * (CHART.head + CHART.high + CHART.gap) + CHART.head;
      const base = top + CHART.high;
      const ys = panel.lines.flatMap((line) => line.points.map((point) => point[1])).filter((y) => y !== null && y !== undefined);
      const log = Boolean(panel.log);
      const most = panel.top || (log ? 10 ** Math.ceil(Math.log10(Math.max(...ys, 1e-12))) : niceTop(Math.max(...ys, panel.band?.high || 0, panel.bound?.at || 0)));
      const least = log ? panel.bottom || 10 ** Math.floor(Math.log10(Math.min(...ys, most))) : panel.bottom || 0;
      const share = (y) => (log ? (Math.log10(Math.max(y, least)) - Math.log10(least)) / Math.max(1e-9, Math.log10(most) - Math.log10(least)) : (y - least) / (most - least));
      const Y = (y) => base - Math.max(0, Math.min(1, share(y))) * CHART.high;
      const decades = log ? Math.round(Math.log10(most / least)) : 0;
      const levels = log ? Array.from({ length: decades + 1 }, (_, i) => least * 10 ** i).filter((_, i) => i % Math.ceil(decades / 5) === 0) : [0, 1, 2].map((i) => least + ((most - least) * i) / 2);
      levels.forEach((level, i) => drawn.push(h("line", { key: `g${p}.${i}`, x1: CHART.left, x2: CHART.left + inner, y1: Y(level).toFixed(1), y2: Y(level).toFixed(1), style: { stroke: "var(--line)" } }),
        text(`gt${p}.${i}`, CHART.left - 8, Y(level) + 4, shortNumber(level), "d", "end")));
      if (panel.band) {
        drawn.push(h("rect", { key: `band${p}`, x: CHART.left, y: Y(panel.band.high).toFixed(1), width: inner, height: Math.max(2, Y(panel.band.low) - Y(panel.band.high)).toFixed(1), style: { fill: "var(--sealed)", "fill-opacity": ".2" } }),
          text(`bandt${p}`, CHART.left + 6, Math.min(base - 4, Y(panel.band.low) + 14), panel.band.label, null, "start", { fill: "var(--sealed)" }));
      }
      if (panel.bound && panel.bound.at <= most) {
        const at = Y(panel.bound.at);
        drawn.push(h("line", { key: `bound${p}`, x1: CHART.left, x2: CHART.left + inner, y1: at.toFixed(1), y2: at.toFixed(1), style: { stroke: "var(--text2)", "stroke-dasharray": "2 4" } }),
          text(`boundt${p}`, CHART.left + inner + 6, at + 4, panel.bound.label, "d"));
      }
      const ends = [];
      panel.lines.forEach((line, n) => {
        const look = CHART_LOOKS[line.kind];
        let path = "";
        let open = false;
        for (const [x, y] of line.points) {
          if (x < start || x > stop) continue;
          if (y === null || y === undefined) { open = false; continue; }
          if (!look) drawn.push(h("circle", { key: `o${p}.${n}.${x}.${y}`, cx: X(x).toFixed(1), cy: Y(y).toFixed(1), r: 4, style: { fill: "var(--surface)", stroke: "var(--sealed)", "stroke-width": "2" } }));
          path += `${open ? "L" : "M"}${X(x).toFixed(1)} ${Y(y).toFixed(1)}`;
          // A lone point has no length; a short stroke makes it visible.
          if (!open) path += "h.1";
          open = true;
        }
        if (look && path) drawn.push(h("path", { key: `l${p}.${n}`, d: path, style: { fill: "none", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round", ...look } }));
        const last = line.points.findLast((point) => point[1] !== null && point[1] !== undefined);
        if (last && line.label) ends.push({ x: X(last[0]), y: Y(last[1]), label: line.label, tone: look ? look.stroke : "var(--sealed)" });
      });
      ends.sort((a, b) => a.y - b.y);
      ends.forEach((end, i) => { if (i && end.y - ends[i - 1].y < 15) end.y = ends[i - 1].y + 15; });
      ends.forEach((end, i) => drawn.push(text(`e${p}.${i}`, CHART.left + inner + 6, end.y + 4, end.label, null, "start", { fill: end.tone, "font-weight": "600" })));
      drawn.push(text(`t${p}`, CHART.left, top - 8, panel.title, null, "start", { "font-weight": "600" }));
    });
    ctx.get("marks").forEach((mark, i) => {
      if (mark.at < start || mark.at > stop) return;
      const x = X(mark.at);
      const late = x > CHART.left + inner / 2;
      const tone = mark.quiet ? "var(--text2)" : "var(--tampered)";
      drawn.push(h("line", { key: `m${i}`, x1: x.toFixed(1), x2: x.toFixed(1), y1: 8, y2: bottom, style: { stroke: tone, "stroke-width": "1.5", "stroke-dasharray": "4 3" } }),
        text(`mt${i}`, x + (late ? -6 : 6), 14 + (i % 2) * 16, mark.label, null, late ? "end" : "start", { fill: tone, "font-weight": "600" }));
    });
    const ticks = ctx.get("timed") ? timeTicks(start, stop) : numberTicks(start, stop);
    const fine = ticks.length > 1 && ticks[1] - ticks[0] < 60000;
    ticks.forEach((at, i) => {
      const words = ctx.get("timed") ? (fine ? formats.clock(at, ctx.lang) : formats.clock(at, ctx.lang).slice(0, 5)) : shortNumber(at);
      drawn.push(text(`x${i}`, X(at), bottom + 18, words, "d", "middle"));
    });
    if (ctx.get("across_label")) drawn.push(text("xl", CHART.left + inner + 10, bottom + 18, ctx.get("across_label"), "d"));
    const said = plain(ctx.get("said") || panels.map((panel) => panel.title).join(" · "));
    return h("div", { key: "pic", class: "scroll", tabindex: "0", role: "group", "aria-label": said },
      h("svg", { class: "chart wide", viewBox: `0 0 ${CHART.width} ${bottom + CHART.foot}`, role: "img", "aria-label": said }, drawn));
  },
});

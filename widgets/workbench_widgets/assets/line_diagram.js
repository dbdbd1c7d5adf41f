// Two boxes and two channels. The quantum one is dotted, the classical one solid, so that colour is not the only difference.
export default component({
  name: "line_diagram",
  traits: ["left", "right", "quantum", "classical", "eavesdropper", "said"],
  isEmpty: (ctx) => !ctx.get("left").name,
  skeleton: () => bones(["100%", "100%"], "40px"),
  view(ctx) {
    const [left, right, quantum, classical, eve] = ["left", "right", "quantum", "classical", "eavesdropper"].map(ctx.get);
    const hears = Boolean(eve.name);
    const ink = { done: "var(--sealed)", simulated: "var(--simulated)", refused: "var(--text2)", failed: "var(--failed)", tampered: "var(--tampered)" };
    const text = (x, y, words, style, anchor = "start") => h("text", { x, y, "text-anchor": anchor, style }, plain(words));
    const site = (x, one, key) => h("g", { key },
      h("rect", { x, y: 12, width: 190, height: 82, rx: 6, style: { fill: "var(--surface2)", stroke: "var(--control)" } }),
      text(x + 14, 36, one.name, { "font-weight": "600", "font-size": "14px" }),
      (one.rows || []).map((row, i) => h("text", { key: `r${i}`, x: x + 14, y: 55 + 17 * i, class: "d" }, plain(row))));
    const dotted = (from, to, key, tone) => h("line", { key, x1: from, x2: to, y1: 40, y2: 40, style: { stroke: tone, "stroke-width": "2.5", "stroke-dasharray": "2 5" } });
    const tone = ink[quantum.state] || ink.done;
    const said = ctx.get("said") || [left.name, quantum.label, hears ? `${eve.name}: ${eve.label}` : "", classical.label, right.name].filter(Boolean).join(" · ");
    return [h("div", { key: "pic", class: "scroll", tabindex: "0", role: "group", "aria-label": plain(said) }, h("svg", { class: "chart wide", viewBox: "0 0 900 108", role: "img", "aria-label": plain(said) },
      site(2, left, "left"), site(708, right, "right"),
      hears ? [dotted(192, 392, "q1", tone), dotted(508, 708, "q2", ink.tampered),
        h("rect", { key: "box", x: 392, y: 16, width: 116, height: 46, rx: 6, style: { fill: "var(--tampered-tint)", stroke: "var(--tampered)", "stroke-width": "1.5" } }),
        text(450, 45, eve.name, { fill: "var(--tampered)", "font-weight": "600", "font-size": "14px" }, "middle"),
        // Half the width is left to it: what stands in brackets goes below the line.
        plain(quantum.label).split(/\s*(?=[（(])/, 2).map((part, i) => h("g", { key: `l${i}` }, text(292, 30 + 27 * i, part, { fill: tone }, "middle"))), text(608, 30, eve.label, { fill: "var(--tampered)" }, "middle")]
        : [dotted(192, 708, "q1", tone), text(450, 30, quantum.label, { fill: tone }, "middle")],
      h("line", { key: "c", x1: 192, x2: 708, y1: 76, y2: 76, style: { stroke: ink[classical.state] || ink.done, "stroke-width": "2" } }),
      text(450, 94, classical.label || "", { fill: ink[classical.state] || ink.done }, "middle")))];
  },
});

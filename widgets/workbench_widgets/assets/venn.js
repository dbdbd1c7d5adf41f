// Who knows what: two circles, not to scale. The partner's remainder is words, for it cannot be known.
export default component({
  name: "venn",
  traits: ["mine", "partner", "released", "dropped", "caption"],
  heading: "venn.heading",
  isEmpty: (ctx) => !ctx.get("mine").name,
  skeleton: () => [h("svg", { key: "pic", class: "venn", viewBox: "0 0 368 208", "aria-hidden": "true" }, [[136, 80], [220, 86]].map(([cx, r], i) => h("circle", { key: `c${i}`, cx, cy: 116, r, style: { fill: "var(--surface2)" } })))],
  view(ctx) {
    const { lang } = ctx;
    const [mine, partner, released, dropped] = ["mine", "partner", "released", "dropped"].map(ctx.get);
    const count = (n) => formats.count(n, lang);
    const rest = mine.count - released - dropped;
    const said = ctx.t(dropped ? "venn.alt_dropped" : "venn.alt", { mine: mine.name, count: count(mine.count), partner: partner.name, bucket: count(partner.bucket), rest: count(rest),
      released: count(released), dropped: formats.change(dropped, lang) });
    const text = (x, y, size, weight, words, form, anchor = "middle") => h("text", { x, y, class: form, "text-anchor": anchor, style: { "font-size": `${size}px`, "font-weight": weight } }, words);
    const bound = `≤ ${count(partner.bucket)}`;
    return [h("svg", { key: "pic", class: "venn", viewBox: "0 0 368 208", role: "img", "aria-label": `${said} ${ctx.t("venn.not_to_scale")}` }, h("title", null, ctx.t("venn.not_to_scale")),
      h("circle", { cx: 136, cy: 116, r: 80, style: { fill: "var(--primary)", "fill-opacity": ".16", stroke: "var(--primary)", "stroke-width": "1.5" } }),
      h("circle", { cx: 220, cy: 116, r: 86, style: { fill: "var(--control)", "fill-opacity": ".13", stroke: "var(--control)", "stroke-width": "1.5" } }),
      text(176, dropped ? 110 : 118, 24, "600", count(released)), text(176, dropped ? 128 : 136, 12, "400", ctx.t("venn.released")),
      dropped ? text(176, 145, 12, "400", ctx.t("venn.dropped", { count: formats.change(dropped, lang) }), "d") : null,
      text(94, 110, 14, "500", count(rest)), text(94, 127, 12, "400", ctx.t("venn.unmatched"), "d"),
      text(264, 110, 14, "500", formats.count(UNKNOWN, lang)), text(264, 127, 12, "400", ctx.t("venn.others"), "d"),
      text(0, 14, 12, "600", `${plain(mine.name)} ${count(mine.count)}`, null, "start"),
      h("text", { x: 368, y: 14, "text-anchor": "end", style: { "font-weight": "600" } }, `${plain(partner.name)} ${bound}`, h("tspan", { style: { "font-weight": "400" } }, ctx.t("venn.padded_paren")))),
    h("p", { key: "alt", class: "sr" }, said), ctx.get("caption") ? h("p", { key: "cap", class: "meta" }, say(ctx, ctx.get("caption"))) : null];
  },
});

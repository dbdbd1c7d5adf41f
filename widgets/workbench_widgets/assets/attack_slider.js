// A rehearsed attack: dashed like everything that is a model. The slider only chooses; the button orders.
export default component({
  name: "attack_slider",
  traits: ["choices", "kind", "share", "warnings", "busy"],
  heading: "attack_slider.heading",
  isEmpty: (ctx) => !ctx.get("choices").length,
  skeleton: () => bones(["60%", "100%", "80%"]),
  aside: (ctx) => h("span", { key: "mark" }, chip(ctx, "simulated", ctx.t("attack_slider.mark"))),
  view(ctx) {
    const runs = ctx.get("share");
    const key = `${ctx.get("kind")}/${runs}`;
    // What runs at the line wins over what was chosen here before it changed.
    if (ctx.local.told !== key) { ctx.local.told = key; ctx.local.kind = ctx.get("kind") || ctx.get("choices")[0].kind; ctx.local.share = runs || ctx.local.share || 20; }
    const chosen = ctx.get("choices").find((one) => one.kind === ctx.local.kind) || ctx.get("choices")[0];
    const order = (share) => { ctx.emit("set", { kind: chosen.kind, share }); };
    const spoken = ctx.t("attack_slider.share", { share: formats.count(ctx.local.share, ctx.lang) });
    return h("div", { key: "all", class: "stack demo" },
      h("label", { key: "which", class: "row wrap" }, h("span", { class: "meta" }, ctx.t("attack_slider.kind")),
        h("select", { class: "field grow", value: chosen.kind, on: { change: (event) => { ctx.local.kind = event.target.value; ctx.update(); } } },
          ctx.get("choices").map((one) => h("option", { key: one.kind, value: one.kind }, plain(one.label))))),
      h("label", { key: "much", class: "stack" }, h("span", { class: "row" }, h("span", { class: "meta" }, ctx.t("attack_slider.label")), h("span", { class: "grow" }), h("b", { class: "num" }, spoken)),
        h("input", { type: "range", min: "1", max: "100", step: "1", value: String(ctx.local.share), "aria-valuetext": spoken, on: { input: (event) => { ctx.local.share = Number(event.target.value); ctx.update(); } } })),
      h("div", { key: "acts", class: "row wrap" }, button(ctx, ctx.t(runs ? "attack_slider.change" : "attack_slider.on"), () => order(ctx.local.share), { key: "on", name: "on", small: true, disabled: ctx.get("busy"), primary: !runs }),
        runs ? button(ctx, ctx.t("attack_slider.off"), () => order(0), { key: "off", name: "off", small: true, disabled: ctx.get("busy"), primary: true }) : null,
        h("span", { key: "now", class: runs ? "meta ink-tampered" : "meta", role: "status" }, runs ? ctx.t("attack_slider.runs", { share: formats.count(runs, ctx.lang) }) : ctx.t("attack_slider.quiet"))),
      chosen.told ? h("p", { key: "told", class: "meta" }, say(ctx, chosen.told)) : null,
      ctx.get("warnings").map((line, i) => h("p", { key: `w${i}`, class: "meta" }, say(ctx, line))));
  },
});

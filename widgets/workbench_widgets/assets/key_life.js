// Where keys stand: the way every key goes, and the ways out of it. A list in reading order.
function lifeStep(ctx, step, i, out) {
  return h("li", { key: `s${i}`, class: out ? "out" : null }, h("b", { class: "num" }, formats.count(step.count, ctx.lang)), h("span", { class: "word" }, say(ctx, step.label)),
    step.told ? h("span", { class: "meta" }, say(ctx, step.told)) : null);
}
export default component({
  name: "key_life",
  traits: ["steps", "exits"],
  heading: "key_life.heading",
  isEmpty: (ctx) => !ctx.get("steps").length,
  skeleton: () => bones(["100%"], "64px"),
  view(ctx) {
    return [h("ol", { key: "way", class: "lives", "aria-label": ctx.t("key_life.way") }, ctx.get("steps").map((step, i) => lifeStep(ctx, step, i, false))),
      ctx.get("exits").length ? h("p", { key: "outs", class: "meta" }, ctx.t("key_life.exits")) : null,
      ctx.get("exits").length ? h("ul", { key: "out", class: "lives exits", "aria-label": ctx.t("key_life.exits") }, ctx.get("exits").map((step, i) => lifeStep(ctx, step, i, true))) : null];
  },
});

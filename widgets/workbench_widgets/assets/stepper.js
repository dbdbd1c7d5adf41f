// The steps of a task. Done steps may be opened to read; what is shut says so.
export default component({
  name: "stepper",
  traits: ["steps", "current", "locked_before", "stopped"],
  isEmpty: (ctx) => !ctx.get("steps").length,
  skeleton: () => bones(["100%"], "24px"),
  view(ctx) {
    const steps = ctx.get("steps");
    const now = ctx.get("current");
    const stopped = ctx.get("stopped");
    return h("nav", { "aria-label": ctx.t("stepper.label") }, h("ol", { class: "steps" }, steps.map((name, i) => {
      const was = i < now;
      const here = i === now;
      const form = here && stopped ? `stop ${stopped}` : was ? "was" : here ? "now" : "";
      const mark = was ? icon("check") : here && stopped ? icon(STATE_ICONS[stopped]) : String(i + 1);
      const word = was ? ctx.t(i < ctx.get("locked_before") ? "stepper.was_read_only" : "stepper.was") : here ? ctx.t(stopped ? `common.${stopped}` : "stepper.now") : ctx.t("stepper.later");
      const inside = [h("span", { class: "dot", "aria-hidden": "true" }, mark), h("span", { class: "word" }, say(ctx, name)), h("span", { class: "sr" }, `，${word}`)];
      return h("li", { class: form, key: `s${i}`, "data-now": here ? "" : null }, was
        ? h("button", { type: "button", class: "step", key: "b", title: word, on: { click: () => ctx.emit("open", { step: i }) } }, inside)
        : h("span", { class: "step", key: "t", "aria-current": here ? "step" : null }, inside));
    })));
  },
});

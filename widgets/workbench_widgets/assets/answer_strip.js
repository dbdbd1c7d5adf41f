// The answer of a page: icon, sentence, reason, to-do, at most two actions, code in small type.
export default component({
  name: "answer_strip",
  traits: ["sentence", "reason", "todo", "code", "actions", "badge"],
  whole(ctx) {
    const state = ctx.state;
    if (state === "loading") {
      return h("div", { key: "strip", class: "band empty", "aria-busy": "true" },
        ctx.local.slow ? h("div", { class: "say" }, h("span", { class: "bone", style: { width: "46%", height: "24px", background: "var(--line)" } }),
          h("span", { class: "bone", style: { width: "72%", background: "var(--line)" } }), h("span", { class: "sr", role: "status" }, ctx.t("common.loading"))) : h("div", { style: { height: "72px" } }));
    }
    const glyph = { sealed: "shield", info: "info", running: "hourglass" }[state];
    const badge = ctx.get("badge");
    // The live region stays the same element; only changed words change, so they are spoken once.
    return h("div", { key: "strip", role: state === "tampered" ? "alert" : "status", "aria-atomic": "true" },
      h("div", { class: `band ${state}` }, icon(glyph || STATE_ICONS[state] || "info"),
        h("div", { class: "say" },
          h("span", { class: "sr", key: "word" }, ctx.t(`common.${state}`) + "："),
          h("h2", { tabindex: "-1", "data-focus": "strip" }, say(ctx, ctx.get("sentence")), badge?.label ? [" ", chip(ctx, badge.state || "simulated", badge.label)] : null),
          ctx.get("reason") ? h("p", { key: "why" }, say(ctx, ctx.get("reason"))) : null,
          ctx.get("todo") ? h("p", { key: "todo" }, h("b", null, ctx.t("common.todo")), say(ctx, ctx.get("todo"))) : null,
          ctx.get("code") ? h("p", { key: "code", class: "code" }, plain(ctx.get("code"))) : null),
        ctx.get("actions")?.length ? h("div", { key: "acts", class: "acts" }, actions(ctx, ctx.get("actions"))) : null));
  },
});

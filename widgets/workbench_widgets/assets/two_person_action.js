// What one person asked and another must confirm. The asker has no button here, and is told why.
export default component({
  name: "two_person_action",
  traits: ["asked_by", "confirm_role", "changes", "expires_ms", "now_ms", "viewer", "outcome", "confirm_label", "decline_label"],
  heading: "two_person_action.heading",
  isEmpty: (ctx) => !ctx.get("asked_by").name,
  aside(ctx) {
    const state = outcomeOf(ctx);
    return [h("span", { key: "chip" }, chip(ctx, { open: "pending", confirmed: "sealed", declined: "refused", expired: "neutral" }[state], ctx.t(`two_person_action.${state}`), { confirmed: "check", expired: "clock" }[state]))];
  },
  mounted(ctx) { ctx.local.tick = setInterval(ctx.update, 15000); },
  unmounted(ctx) { clearInterval(ctx.local.tick); },
  view(ctx) {
    const asked = ctx.get("asked_by");
    const expires = ctx.get("expires_ms");
    const state = outcomeOf(ctx);
    const rest = expires === null || expires === undefined ? null : (expires - nowOf(ctx)) / 1000;
    const may = ctx.state === "done" && state === "open" && ctx.get("viewer") === "confirmer";
    const writing = Boolean(ctx.local.writing);
    const reason = ctx.local.reason || "";
    const dt = (name) => h("dt", { key: `t-${name}` }, ctx.t(`two_person_action.${name}`));
    const line = { asker: "two_person_action.own", reader: "two_person_action.not_yours" }[ctx.get("viewer")];
    return [h("dl", { key: "facts", class: "facts" }, dt("asked_by"), h("dd", { class: "row wrap" }, tile(ctx, { tile: asked.tile, name: asked.party_name, mine: asked.mine }), say(ctx, `${plain(asked.name)} · ${plain(asked.role)}`), asked.at_ms ? when(ctx, asked.at_ms) : null),
      dt("confirm"), h("dd", null, say(ctx, ctx.get("confirm_role"))), dt("changes"), h("dd", null, ctx.get("changes").map((text, i) => h("div", { key: `c${i}` }, say(ctx, text)))),
      expires === null || expires === undefined ? [] : [dt("expires"), h("dd", { key: "d-exp" }, when(ctx, expires), state === "open" ? [" ", h("span", { key: "left", class: rest < 3600 ? "ink-pending" : "dim" }, formats.left(rest, ctx.lang))] : null)]),
    state === "open" && line ? h("p", { key: "not", class: "meta", style: { "margin-top": "8px" } }, ctx.t(line, { role: ctx.get("confirm_role") })) : null,
    may && !writing ? h("div", { key: "acts", class: "row wrap", style: { "margin-top": "10px" } }, button(ctx, ctx.get("confirm_label") || ctx.t("two_person_action.do_confirm"), () => ctx.emit("confirm"), { primary: true }),
      button(ctx, ctx.get("decline_label") || ctx.t("two_person_action.do_decline"), () => { ctx.local.writing = true; ctx.update(); ctx.after(() => ctx.root.querySelector("textarea")?.focus()); }, { name: "decline" })) : null,
    may && writing ? h("div", { key: "why", class: "stack", style: { "margin-top": "10px" }, on: { keydown: (e) => { if (e.key === "Escape") { e.stopPropagation(); ctx.local.writing = false; ctx.update(); ctx.after(() => ctx.root.querySelector("[data-name=decline]")?.focus()); } } } },
      h("label", { for: "reason", class: "meta" }, ctx.t("two_person_action.reason")), h("textarea", { id: "reason", class: "field", rows: "2", value: reason, on: { input: (e) => { ctx.local.reason = e.target.value; ctx.update(); } } }),
      h("div", { class: "row wrap" }, button(ctx, ctx.get("decline_label") || ctx.t("two_person_action.do_decline"), () => ctx.emit("decline", { reason: (ctx.local.reason || "").trim() }), { primary: true, disabled: !reason.trim() }),
        button(ctx, ctx.t("two_person_action.back"), () => { ctx.local.writing = false; ctx.update(); }, {}))) : null].filter(Boolean);
  },
});
function nowOf(ctx) { return ctx.get("now_ms") ?? Date.now(); }
function outcomeOf(ctx) {
  const told = ctx.get("outcome");
  const expires = ctx.get("expires_ms");
  return told === "open" && expires !== null && expires !== undefined && nowOf(ctx) >= expires ? "expired" : told;
}

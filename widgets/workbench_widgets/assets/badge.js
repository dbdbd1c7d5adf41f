// A state chip or a badge of origin. A badge of origin cannot be closed; a click tells what it means, since when, who decided.
const ORIGINS = { synthetic: "simulated", simulated_qkd: "simulated", device_key: "neutral", imported_key: "neutral", post_quantum_only: "pending", ai_generated: "neutral", draft: "pending",
  sandbox_process: "neutral", sandbox_gvisor: "neutral", sandbox_tee: "neutral", sandbox_missing: "failed", degraded: "pending", from_memory: "pending" };
export default component({
  name: "badge",
  traits: ["kind", "label", "meaning", "since_ms", "decided_by"],
  whole(ctx) {
    const kind = ctx.get("kind");
    const origin = kind in ORIGINS;
    const state = origin ? ORIGINS[kind] : kind;
    const word = ctx.get("label") || ctx.t(origin ? `badge.${kind}` : `common.${kind}`);
    const glyph = origin && state === "neutral" ? (kind === "ai_generated" ? "info" : kind.startsWith("sandbox") ? "shield" : "doc") : undefined;
    const told = ctx.get("meaning") || (origin && LOCALE[`badge.${kind}_means`] ? ctx.t(`badge.${kind}_means`) : "");
    if (!told) return h("span", { key: "chip" }, chip(ctx, state, word, glyph));
    const open = Boolean(ctx.local.open);
    const flip = (to) => { ctx.local.open = to; if (to) ctx.emit("explain", { kind }); ctx.update(); };
    const known = state in STATE_ICONS ? state : "neutral";
    return h("div", { key: "badge", on: { keydown: (e) => { if (e.key === "Escape" && ctx.local.open) { e.stopPropagation(); flip(false); ctx.root.querySelector("button")?.focus(); } } } },
      h("button", { type: "button", class: `chip ${known}`, "aria-expanded": String(open), on: { click: () => flip(!open) } }, icon(glyph || STATE_ICONS[known]), say(ctx, word)),
      open ? h("div", { key: "pop", class: "popover", role: "note" }, h("p", null, say(ctx, told)), ctx.get("since_ms") !== null && ctx.get("since_ms") !== undefined ? h("p", { key: "since", class: "meta" }, ctx.t("badge.since"), when(ctx, ctx.get("since_ms"))) : null,
        ctx.get("decided_by") ? h("p", { key: "by", class: "meta" }, ctx.t("badge.decided_by"), say(ctx, ctx.get("decided_by"))) : null) : null);
  },
});

// A run with its phase, bar and remaining time. Cancelling says first what stays and what goes.
export default component({
  name: "progress_cancel",
  traits: ["done", "total", "phase", "remaining_s", "remaining_error", "stays", "goes", "cancel_label", "cancelling", "cannot_cancel"],
  isEmpty: (ctx) => !ctx.get("phase"),
  skeleton: () => [...bones(["56%"]), h("span", { key: "line", class: "bone", style: { height: "8px" } })],
  view(ctx) {
    const { lang } = ctx;
    const [done, total] = [ctx.get("done"), ctx.get("total")];
    const part = wholeShare(done, total);
    const error = ctx.get("remaining_error");
    const rest = ctx.get("remaining_s");
    const told = rest !== null && rest !== undefined && (error === null || error === undefined || error < 0.3);
    const share = part === null ? "" : formats.share(part / 100, 0, lang);
    const spoken = `${plain(ctx.get("phase"))} ${part === null ? "" : formats.share(Math.floor(part / 10) / 10, 0, lang)}`;
    ctx.announce(spoken, ctx.local.phase !== ctx.get("phase"));
    ctx.local.phase = ctx.get("phase");
    const cancelling = ctx.get("cancelling");
    const asking = ctx.local.asking && !cancelling && ctx.state === "done";
    const label = ctx.get("cancel_label") || ctx.t("progress_cancel.cancel");
    const ask = (on) => () => { ctx.local.asking = on; ctx.update(); ctx.after(() => ctx.root.querySelector(on ? "[data-name=keep]" : "[data-name=cancel]")?.focus()); };
    return [h("div", { key: "line", class: "row wrap" }, h("span", { class: "grow" }, say(ctx, ctx.get("phase"))), h("span", { class: "num" }, share, told ? `${share ? " · " : ""}${formats.estimate(rest, lang)}` : "")),
      h("div", { key: "bar", style: { margin: "4px 0 8px" } }, progress(ctx, { done, total, state: ctx.state === "done" ? "running" : ctx.state, label: ctx.get("phase") })),
      cancelling ? h("p", { key: "going", class: "meta", role: "status" }, ctx.get("cannot_cancel") ? say(ctx, ctx.get("cannot_cancel")) : ctx.t("progress_cancel.going")) : null,
      asking ? h("div", { key: "ask", class: "popover", role: "alertdialog", "aria-labelledby": "q", "aria-describedby": "w", style: { "max-width": "none" },
        on: { keydown: (e) => { if (e.key === "Escape") { e.stopPropagation(); ask(false)(); } } } },
      h("p", { id: "q" }, h("b", null, ctx.t("progress_cancel.sure", { action: label }))), h("p", { id: "w" }, ctx.t("progress_cancel.what", { goes: ctx.get("goes"), stays: ctx.get("stays") })),
      h("div", { class: "row wrap", style: { "margin-top": "8px" } }, button(ctx, label, () => { ctx.local.asking = false; ctx.emit("cancel"); ctx.update(); }, { small: true, primary: true }), button(ctx, ctx.t("progress_cancel.keep"), ask(false), { small: true, name: "keep" })))
        : cancelling || ctx.state !== "done" ? null : h("div", { key: "do", class: "row" }, h("span", { class: "grow" }), button(ctx, label, ask(true), { small: true, glyph: "cross", name: "cancel" }))].filter(Boolean);
  },
});

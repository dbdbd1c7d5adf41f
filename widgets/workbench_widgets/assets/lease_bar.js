// One lease: what it is, how much of its time and its budget is used, what happens at the end, and the button that ends it now.
const LEASE_NEAR_S = 300;
const LEASE_NEAR_BUDGET = 0.8;
export default component({
  name: "lease_bar",
  traits: ["lease", "title", "chips", "cards", "most_cards", "from_ms", "until_ms", "now_ms", "card_seconds", "amount_fen", "price_fen", "budget_fen", "ends", "releasable", "busy"],
  heading: "lease_bar.heading",
  isEmpty: (ctx) => !ctx.get("lease"),
  skeleton: () => bones(["50%", "100%", "70%", "60%"]),
  view(ctx) {
    const [from, until, now, paid, budget, cards, most] = ["from_ms", "until_ms", "now_ms", "amount_fen", "budget_fen", "cards", "most_cards"].map(ctx.get);
    const left = Math.max(0, Math.ceil((until - now) / 1000));
    const isOver = until > 0 && left === 0;
    const time = until > from ? Math.max(0, Math.min(1, (now - from) / (until - from))) : 1;
    const share = budget > 0 ? paid / budget : 0;
    const told = { left: formats.left(left, ctx.lang), until: formats.time(until, ctx.lang), paid: formats.money(paid, ctx.lang), budget: formats.money(budget, ctx.lang), share: `${wholeShare(paid, budget) ?? 0} %` };
    const warnings = [];
    if (!isOver && left <= LEASE_NEAR_S) warnings.push(["near", "pending", ctx.t("lease_bar.near_end", told)]);
    if (budget > 0 && share >= 1) warnings.push(["gone", "refused", ctx.t("lease_bar.spent", told)]);
    else if (budget > 0 && share >= LEASE_NEAR_BUDGET) warnings.push(["most", "pending", ctx.t("lease_bar.near_budget", told)]);
    const meter = (key, part, label, low) => h("div", { key, class: `gauge${low ? " low" : ""}`, role: "meter", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(Math.min(1, part) * 100)), "aria-label": label },
      h("i", { style: { width: `${Math.min(1, part) * 100}%` } }));
    return [h("div", { key: "top", class: "row wrap" }, ctx.get("chips").map((one, i) => h("span", { key: `c${i}` }, chip(ctx, one.state, one.label))), h("span", { class: "mono" }, plain(ctx.get("lease"))),
      ctx.get("title") ? h("span", { class: "dim" }, say(ctx, ctx.get("title"))) : null, h("span", { class: "grow" }),
      ctx.get("releasable") ? button(ctx, ctx.t(ctx.get("busy") ? "lease_bar.releasing" : "lease_bar.release"), () => ctx.emit("release", { lease: ctx.get("lease") }), { name: "release", small: true, disabled: ctx.get("busy") }) : null),
    ...warnings.map(([key, state, words]) => h("div", { key, class: `band ${state} inline`, role: "status", style: { margin: "8px 0 2px" } }, icon(STATE_ICONS[state]), h("div", { class: "say" }, h("p", null, words)))),
    meter("time", time, ctx.t("lease_bar.time_said", told), left <= LEASE_NEAR_S),
    h("div", { key: "times", class: "row wrap meta" }, ctx.t("lease_bar.time"), when(ctx, from), h("span", { class: "grow" }), h("span", { class: "num" }, isOver ? ctx.t("lease_bar.over", told) : ctx.t("lease_bar.left", told))),
    ...(budget > 0 ? [meter("budget", share, ctx.t("lease_bar.budget_said", told), share >= LEASE_NEAR_BUDGET), h("div", { key: "money", class: "row wrap meta" }, ctx.t("lease_bar.budget"), h("span", { class: "grow" }), h("span", { class: "num" }, ctx.t("lease_bar.cost_of", told)))] : []),
    h("dl", { key: "facts", class: "facts", style: { "margin-top": "8px" } },
      h("dt", { key: "t1" }, ctx.t("lease_bar.cards")), h("dd", { key: "d1", class: "num" }, most > cards ? ctx.t("lease_bar.cards_of", { cards: formats.count(cards, ctx.lang), most: formats.count(most, ctx.lang) }) : formats.count(cards, ctx.lang)),
      h("dt", { key: "t2" }, ctx.t("lease_bar.used")), h("dd", { key: "d2", class: "num" }, formats.cardSeconds(ctx.get("card_seconds"), ctx.lang)),
      h("dt", { key: "t3" }, ctx.t("lease_bar.cost")), h("dd", { key: "d3", class: "num" }, told.paid, " ", ctx.get("price_fen") > 0 ? h("span", { class: "dim" }, ctx.t("lease_bar.price", { price: formats.money(ctx.get("price_fen"), ctx.lang) })) : null),
      ctx.get("ends") ? [h("dt", { key: "t4" }, ctx.t("lease_bar.ends")), h("dd", { key: "d4" }, say(ctx, ctx.get("ends")))] : null)];
  },
});

// A conversation. Streaming text is a draft and says so; what is final is spoken once, at the end.
const CHAT_MARK = /⟦(\d{1,3})⟧/;
const CHAT_TONES = { refused: "refused", failed: "failed", cut: "failed", abstained: "pending", stopped: "neutral" };
function citeMark(ctx, turn, n, key) {
  const source = (turn.citations || []).find((one) => one.n === n);
  const chosen = ctx.get("chosen") || {};
  const on = chosen.id === turn.id && chosen.n === n;
  return h("button", { key, type: "button", class: on ? "ct on" : "ct", "aria-pressed": String(on), title: source?.title, "aria-label": ctx.t("chat_message.cite", { n, title: source?.title || "" }),
    on: { click: () => ctx.emit("cite", { id: turn.id, n }) } }, String(n));
}
function citedText(ctx, turn, text, key) {
  return text.split(CHAT_MARK).map((piece, i) => (i % 2 ? citeMark(ctx, turn, Number(piece), `${key}c${i}`) : piece ? h("span", { key: `${key}t${i}` }, say(ctx, piece)) : null));
}
function askedText(ctx, turn) {
  const points = [...turn.question];
  const out = [];
  let at = 0;
  (turn.tiles || []).forEach((one, i) => {
    out.push(say(ctx, points.slice(at, one.start).join("")), h("span", { key: `tile${i}`, class: "mask" }, say(ctx, points.slice(one.start, one.end).join(""))));
    at = one.end;
  });
  return [...out, say(ctx, points.slice(at).join(""))];
}
function answerBody(ctx, turn) {
  const lines = (turn.text || "").split("\n").filter((line) => line.trim());
  const draft = turn.state === "streaming";
  return [draft || turn.state === "waiting" ? h("p", { key: "draft", class: "row" }, chip(ctx, "pending", ctx.t(turn.state === "waiting" ? "chat_message.waiting" : "chat_message.draft"))) : null,
    lines.map((line, i) => h("p", { key: `l${i}`, class: i === 0 && !draft ? "lead" : null }, citedText(ctx, turn, line, `l${i}`))),
    (turn.fields || []).length ? h("div", { key: "fields", class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["item", "content", "source"].map((one) => h("th", { key: one, scope: "col" }, ctx.t(`chat_message.${one}`))))),
      h("tbody", {}, turn.fields.map((row, i) => h("tr", { key: `f${i}` }, h("th", { scope: "row" }, say(ctx, row.label)), h("td", { class: "num wide" }, say(ctx, row.value)), h("td", {}, citeMark(ctx, turn, row.cite, `fc${i}`))))))) : null,
    turn.dropped ? h("p", { key: "dropped", class: "row meta" }, icon("block", true), ctx.t("chat_message.dropped", { count: formats.count(turn.dropped, ctx.lang) })) : null,
    turn.disclaimer || turn.label ? h("p", { key: "label", class: "row wrap" }, turn.label ? chip(ctx, "neutral", turn.label) : null, h("span", { class: "meta" }, say(ctx, turn.disclaimer || ""))) : null];
}
function turnFoot(ctx, turn) {
  const done = ["answered", "abstained"].includes(turn.state);
  const text = () => (turn.text || "").replace(/⟦(\d{1,3})⟧/g, "[$1]");
  const rate = (rating, glyph) => button(ctx, ctx.t(`chat_message.${rating}`), () => ctx.emit("rate", { id: turn.id, rating: turn.rating === rating ? "" : rating }),
    { key: rating, name: rating, small: true, subtle: true, glyph, pressed: turn.rating === rating });
  return h("div", { key: "foot", class: "foot" }, (turn.facts || []).map((fact, i) => h("span", { key: `x${i}`, class: "num meta" }, say(ctx, fact))), h("span", { key: "gap", class: "grow" }),
    turn.seal ? chip(ctx, turn.seal, turn.seal_label) : null,
    ["waiting", "streaming"].includes(turn.state) ? button(ctx, ctx.t("chat_message.stop"), () => ctx.emit("stop", { id: turn.id }), { key: "stop", name: "stop", small: true, glyph: "cross" }) : null,
    turn.seal || turn.recorded ? button(ctx, ctx.t("chat_message.receipt"), () => ctx.emit("receipt", { id: turn.id }), { key: "receipt", name: "receipt", small: true, subtle: true, glyph: "chain" }) : null,
    done && turn.text ? button(ctx, ctx.t(ctx.local.copied === turn.id ? "chat_message.copied" : "chat_message.copy"), () => { copyText(ctx, text(), turn.id); ctx.emit("copy", { id: turn.id }); }, { key: "copy", name: "copy", small: true, subtle: true, glyph: "copy" }) : null,
    done && turn.can_rate ? [rate("up", "up"), rate("down", "thumb")] : null);
}
function turnView(ctx, turn) {
  const tone = CHAT_TONES[turn.state];
  return h("li", { key: `turn-${turn.id}`, class: "turn", "data-state": turn.state },
    h("div", { key: "q", class: "asked" }, h("span", { class: "sr" }, ctx.t("chat_message.question")), h("p", {}, askedText(ctx, turn)), turn.masked ? h("p", { class: "meta" }, say(ctx, turn.masked)) : null),
    h("div", { key: "a", class: "answer" }, h("span", { class: "sr" }, ctx.t("chat_message.answer")),
      tone ? h("div", { key: "said" }, h("p", { class: "row wrap" }, chip(ctx, tone, ctx.t(`chat_message.${turn.state}`)), turn.sentence ? h("b", {}, say(ctx, turn.sentence)) : null),
        turn.reason ? h("p", { class: "why" }, say(ctx, turn.reason)) : null, turn.code ? h("p", { class: "mono dim" }, plain(turn.code)) : null) : null,
      tone && !["abstained", "stopped"].includes(turn.state) ? null : answerBody(ctx, turn), turnFoot(ctx, turn)));
}
export default component({
  name: "chat_message",
  traits: ["turns", "chosen"],
  isEmpty: (ctx) => !ctx.get("turns").length,
  skeleton: () => bones(["46%", "88%", "72%", "64%"]),
  view(ctx) {
    const turns = ctx.get("turns");
    const last = turns[turns.length - 1];
    const ended = last && !["waiting", "streaming"].includes(last.state);
    if (ended && ctx.local.open === last.id) ctx.announce(last.sentence || (last.text || "").split("\n")[0].replace(/⟦\d{1,3}⟧/g, ""), true);
    ctx.local.open = ended ? null : last?.id;
    return h("ol", { key: "turns", class: "turns" }, turns.map((turn) => turnView(ctx, turn)));
  },
});

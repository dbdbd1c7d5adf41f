// The few numbers of a page, each with its unit and its meaning in words.
export default component({
  name: "key_numbers",
  traits: ["items", "large", "remark"],
  isEmpty: (ctx) => !ctx.get("items").length,
  skeleton: () => bones(["60%"], "24px"),
  view: (ctx) => h("div", { class: "row wrap" }, h("dl", { class: `keys grow${ctx.get("large") ? " big" : ""}` }, ctx.get("items").map((item, i) => h("div", { key: `i${i}`, class: item.state ? `ink-${item.state}` : "" },
    h("dt", { class: item.state ? "dt" : "dim" }, say(ctx, item.label)), h("dd", null, typeof item.value === "number" ? formats.count(item.value, ctx.lang) : item.value === UNKNOWN || item.value === null ? formats.count(item.value, ctx.lang) : say(ctx, item.value), item.unit ? h("span", { class: "meta" }, ` ${plain(item.unit)}`) : null)))),
  ctx.get("remark") ? h("span", { key: "remark", class: "meta" }, say(ctx, ctx.get("remark"))) : null),
});

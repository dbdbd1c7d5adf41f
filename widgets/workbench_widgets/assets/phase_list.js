// The phases of a protocol run: my bar, their bar, time, record; phases to come say what each side will learn.
function meter(ctx, side, row, who, wide) {
  if (!side) return "—";
  const finished = row.state === "done" || (side.total > 0 && side.done >= side.total);
  const form = finished ? "done" : ["failed", "tampered", "refused"].includes(row.state) ? row.state : "running";
  const total = formats.count(side.total, ctx.lang);
  return h("span", { class: `meter${wide ? " wide" : ""}` }, progress(ctx, { done: side.done, total: side.total, state: form, label: ctx.t("phase_list.bar", { who, name: row.name }) }),
    h("span", { class: "num" }, finished ? total : [h("b", null, formats.count(side.done, ctx.lang)), ` / ${total}`]));
}
export default component({
  name: "phase_list",
  traits: ["rows", "mine", "theirs", "padded"],
  heading: "phase_list.heading",
  isEmpty: (ctx) => !ctx.get("rows").length,
  skeleton: () => bones(Array(8).fill("100%"), "20px"),
  view(ctx) {
    const rows = ctx.get("rows");
    const mine = ctx.get("mine");
    const theirs = ctx.get("theirs");
    const running = rows.find((row) => row.state === "running");
    if (running) {
      const sides = [running.mine, running.theirs].filter(Boolean);
      const part = sides.length ? Math.min(...sides.map((s) => (s.total > 0 ? s.done / s.total : 0))) : 0;
      const tenth = Math.floor(part * 10);
      const spoken = `${running.name} ${tenth}`;
      if (ctx.local.spoken !== spoken) {
        const urgent = !ctx.local.spoken?.startsWith(`${running.name} `);
        ctx.local.spoken = spoken;
        ctx.announce(ctx.t("phase_list.spoken", { name: running.name, share: formats.share(tenth / 10, 0, ctx.lang) }), urgent);
      }
    }
    const lines = rows.flatMap((row, i) => {
      const later = row.state === "waiting";
      const mark = later ? h("span", { class: "meta" }, String(i + 1)) : h("span", { class: `ink-${row.state === "done" ? "sealed" : row.state}` }, icon(STATE_ICONS[row.state]));
      const name = [row.state === "running" ? h("b", null, say(ctx, row.name)) : say(ctx, row.name), h("span", { class: "sr" }, `，${ctx.t(row.state === "done" ? "phase_list.finished" : `common.${row.state}`)}`)];
      const told = !later && row.note;
      const line = h("tr", { key: `r${i}`, class: `${later ? "todo" : ""}${told ? " has" : ""}` }, h("td", { class: "mark" }, mark), h("td", { class: "nowrap" }, name),
        later ? h("td", { key: "learn", colspan: "4", class: "meta last" }, say(ctx, row.learn)) : [
          h("td", { key: "me" }, meter(ctx, row.mine, row, mine.name)), h("td", { key: "them" }, meter(ctx, row.theirs, row, theirs.name, row.state !== "done")),
          h("td", { key: "time", class: "num meta" }, formats.elapsed(row.seconds, ctx.lang)), h("td", { key: "rec", class: "last" }, row.record ? chip(ctx, row.record) : "—")]);
      return told ? [line, h("tr", { key: `n${i}`, class: "told" }, h("td", null), h("td", { colspan: "5" }, say(ctx, row.note)))] : [line];
    });
    return h("div", { class: "scroll" }, h("table", { class: "phases" }, h("thead", null, h("tr", null, h("th", null, h("span", { class: "sr" }, ctx.t("common.state"))), h("th", null, ctx.t("phase_list.phase")),
      h("th", { style: { width: "30%" } }, say(ctx, mine.name), ctx.t("phase_list.ours_paren")), h("th", { style: { width: "38%" } }, say(ctx, theirs.name), ctx.get("padded") ? ctx.t("phase_list.padded_paren") : null),
      h("th", null, ctx.t("phase_list.time")), h("th", null, ctx.t("phase_list.record")))), h("tbody", null, lines)));
  },
});

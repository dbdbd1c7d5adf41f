// An audience in sentences: column, operator, values; groups of "and" and "or". What leaves is the text of the rule.
const OPS = { choice: ["in", "not in"], ordered: [">=", "<=", "=", "in", "not in"], number: [">=", "<=", ">", "<", "="], text: ["=", "!=", "in", "not in"], date: [">=", "<="] };
const MANY = new Set(["in", "not in"]);
const WORDS = new Set(["and", "or", "in", "not"]);
// Bare where nothing can be misread, quoted otherwise; a quote or backslash inside is escaped.
function atom(text) {
  const value = String(text);
  if (/^[\p{L}\p{N}_.\-]+$/u.test(value) && !WORDS.has(value.toLowerCase())) return value;
  return `"${value.replace(/[\\"]/g, (c) => `\\${c}`)}"`;
}
function lineText(line) {
  if (!line.column || !line.op || !line.values.length || line.values.some((v) => String(v).trim() === "")) return "";
  return MANY.has(line.op) ? `${atom(line.column)} ${line.op} (${line.values.map(atom).join(",")})` : `${atom(line.column)} ${line.op} ${atom(line.values[0])}`;
}
function ruleText(group, inner) {
  const parts = group.items.map((item) => (item.items ? ruleText(item, true) : lineText(item))).filter(Boolean);
  const joined = parts.join(` ${group.join} `);
  return inner && parts.length > 1 ? `(${joined})` : joined;
}
function incomplete(group) { return group.items.some((item) => (item.items ? incomplete(item) : lineText(item) === "")); }
const copyOf = (value) => JSON.parse(JSON.stringify(value));
export default component({
  name: "rule_builder",
  traits: ["columns", "tree", "rule", "free", "verdict"],
  heading: "rule_builder.heading",
  isEmpty: (ctx) => !ctx.get("columns").length,
  aside: (ctx) => (ctx.state === "done" && ctx.get("columns").length ? [h("span", { key: "form", class: "row", role: "group", "aria-label": ctx.t("rule_builder.form") },
    button(ctx, ctx.t("rule_builder.sentences"), () => ctx.set({ free: false }), { small: true, pressed: !ctx.get("free") }), button(ctx, ctx.t("rule_builder.as_text"), () => ctx.set({ free: true }), { small: true, pressed: ctx.get("free") }))] : []),
  view(ctx) {
    const columns = ctx.get("columns");
    const given = ctx.get("tree");
    const tree = given.items ? copyOf(given) : { join: "and", items: [] };
    const save = () => { ctx.set({ tree: copyOf(tree), rule: ruleText(tree) }); ctx.emit("rule", { rule: ruleText(tree), complete: !incomplete(tree) }); };
    const fresh = () => { const [first] = columns; return { column: first.name, op: OPS[first.kind][0], values: [] }; };
    const select = (label, value, options, act) => h("select", { class: "field", "aria-label": label, value, on: { change: (e) => act(e.target.value) } }, options.map(([name, text]) => h("option", { key: name, value: name }, plain(text))));
    const values = (line, column) => {
      const set = (list) => { line.values = list; save(); };
      if (column.values?.length && MANY.has(line.op)) {
        return h("fieldset", { class: "values" }, h("legend", { class: "sr" }, ctx.t("rule_builder.values")), column.values.map((one) => h("label", { key: `v${one}`, class: "option" }, h("input", { type: "checkbox", checked: line.values.includes(one),
          on: { change: (e) => set(column.values.filter((v) => (v === one ? e.target.checked : line.values.includes(v)))) } }), say(ctx, one))));
      }
      if (column.values?.length) return select(ctx.t("rule_builder.value"), line.values[0] ?? "", [["", ctx.t("rule_builder.choose")], ...column.values.map((v) => [v, v])], (v) => set(v ? [v] : []));
      const many = MANY.has(line.op);
      return h("input", { class: "field", type: column.kind === "date" ? "date" : "text", inputmode: column.kind === "number" ? "decimal" : null, "aria-label": ctx.t(many ? "rule_builder.values" : "rule_builder.value"), placeholder: many ? ctx.t("rule_builder.comma") : null,
        value: many ? line.values.join("，") : line.values[0] ?? "", on: { change: (e) => set(many ? e.target.value.split(/[,，]/).map((v) => v.trim()).filter(Boolean) : e.target.value.trim() ? [e.target.value.trim()] : []) } });
    };
    const lineView = (line, at, group) => {
      const column = columns.find((c) => c.name === line.column) || columns[0];
      return h("div", { key: `l${at}`, class: "rule-line" }, at ? h("span", { key: "join", class: "dim" }, ctx.t(`rule_builder.${group.join}`)) : h("span", { key: "join", class: "dim" }, ctx.t("rule_builder.where")),
        select(ctx.t("rule_builder.column"), line.column, columns.map((c) => [c.name, c.label || c.name]), (name) => { const next = columns.find((c) => c.name === name); Object.assign(line, { column: name, op: OPS[next.kind][0], values: [] }); save(); }),
        select(ctx.t("rule_builder.operator"), line.op, OPS[column.kind].map((op) => [op, ctx.t(`rule_builder.op_${op}`)]), (op) => { line.values = MANY.has(op) === MANY.has(line.op) ? line.values : MANY.has(op) ? line.values : line.values.slice(0, 1); line.op = op; save(); }),
        values(line, column), button(ctx, ctx.t("rule_builder.remove"), () => { group.items.splice(at, 1); save(); }, { small: true, subtle: true, key: "del" }));
    };
    const groupView = (group, depth, drop) => h("div", { key: `g${depth}-${drop ? drop.at : 0}`, class: "rule-group", role: "group", "aria-label": ctx.t(group.join === "and" ? "rule_builder.all" : "rule_builder.any") },
      h("div", { key: "head", class: "rule-line" }, select(ctx.t("rule_builder.joined"), group.join, [["and", ctx.t("rule_builder.all")], ["or", ctx.t("rule_builder.any")]], (join) => { group.join = join; save(); }),
        drop ? button(ctx, ctx.t("rule_builder.remove_group"), drop.act, { small: true, subtle: true, key: "del" }) : null),
      group.items.map((item, at) => (item.items ? groupView(item, depth + 1, { at, act: () => { group.items.splice(at, 1); save(); } }) : lineView(item, at, group))),
      h("div", { key: "add", class: "rule-line" }, button(ctx, ctx.t("rule_builder.add"), () => { group.items.push(fresh()); save(); }, { small: true, glyph: "plus" }),
        depth < 2 ? button(ctx, ctx.t("rule_builder.add_group"), () => { group.items.push({ join: group.join === "and" ? "or" : "and", items: [fresh()] }); save(); }, { small: true, glyph: "plus", key: "grp" }) : null));
    const verdict = ctx.get("verdict");
    const free = ctx.get("free");
    return h("div", { class: "stack" }, free
      ? h("div", { key: "free", class: "stack" }, h("label", { for: "rule", class: "meta" }, ctx.t("rule_builder.free")), h("textarea", { id: "rule", class: "field mono", rows: "3", spellcheck: "false", "aria-invalid": verdict.state === "failed" ? "true" : null, "aria-describedby": "verdict",
        value: ctx.get("rule"), on: { input: (e) => { ctx.set({ rule: e.target.value }); }, change: (e) => ctx.emit("rule", { rule: e.target.value, complete: e.target.value.trim() !== "" }) } }))
      : [h("div", { key: "tree" }, groupView(tree, 0, null)), h("p", { key: "text", class: "rule-text", "aria-label": ctx.t("rule_builder.rule") }, ruleText(tree) || h("span", { class: "dim" }, ctx.t("rule_builder.everyone")))],
    free && given.items && ctx.get("rule") !== ruleText(given) ? h("p", { key: "lost", class: "meta" }, ctx.t("rule_builder.differs")) : null,
    h("p", { key: "verdict", id: "verdict", role: "status", class: `row ink-${verdict.state || "info"}`, style: { "font-size": "13px" } }, verdict.sentence ? [icon(STATE_ICONS[verdict.state] || "info", true), h("span", null, say(ctx, verdict.sentence))] : null,
      !free && incomplete(tree) ? h("span", { key: "more", class: "dim" }, ctx.t("rule_builder.incomplete")) : null));
  },
});

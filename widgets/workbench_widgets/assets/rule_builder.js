// An audience in sentences: column, operator, values; groups of "and" and "or". What leaves is the text of the rule.
const OPS = { choice: ["in", "not in"], ordered: [">=", "<=", "=", "in", "not in"], number: [">=", "<=", ">", "<", "="], text: ["=", "!=", "in", "not in"], date: [">=", "<="] };
const MANY = new Set(["in", "not in"]);
const WORDS = new Set(["and", "or", "in", "not", "且", "并且", "或", "或者", "非", "不", "属于"]);
// Bare where nothing can be misread, in quotation marks otherwise; a mark inside is doubled. rule_builder.py says why.
function isBare(text) { return /^[\p{L}_][\p{L}\p{N}_]*$/u.test(text) && !WORDS.has(text.toLowerCase()); }
function columnText(name) { return isBare(name) ? name : `\`${name.replaceAll("`", "``")}\``; }
function valueText(value, kind) {
  const text = String(value);
  const level = /^[Cc][1-5]$/.test(text);
  const known = { ordered: level || /^[+-]?[0-9][0-9.]*$/.test(text), number: /^[+-]?[0-9]+(\.[0-9]+)?[万亿]?$/.test(text), date: /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text) }[kind];
  return known || (isBare(text) && !level) ? text : `"${text.replaceAll('"', '""')}"`;
}
function lineText(line, kinds) {
  if (!line.column || !line.op || !line.values.length || line.values.some((v) => String(v).trim() === "")) return "";
  const values = line.values.map((v) => valueText(v, kinds[line.column] || "text"));
  return `${columnText(line.column)} ${line.op} ${MANY.has(line.op) ? `(${values.join(",")})` : values[0]}`;
}
function joinedText(group, kinds, inner) {
  const parts = group.items.map((item) => (item.items ? joinedText(item, kinds, true) : lineText(item, kinds))).filter(Boolean);
  const joined = parts.join(` ${group.join} `);
  return inner && parts.length > 1 ? `(${joined})` : joined;
}
// No condition at all is everybody, said in so many words; conditions that are all unfinished are nobody's rule yet.
function ruleText(group, columns) {
  const kinds = Object.fromEntries(columns.map((c) => [c.name, c.kind]));
  return group.items.length ? joinedText(group, kinds, false) : "*";
}
function incomplete(group) { return group.items.some((item) => (item.items ? incomplete(item) : lineText(item, {}) === "")); }
const copyOf = (value) => JSON.parse(JSON.stringify(value));
export default component({
  name: "rule_builder",
  traits: ["columns", "tree", "rule", "free", "verdict"],
  heading: "rule_builder.heading",
  isEmpty: (ctx) => !ctx.get("columns").length,
  aside: (ctx) => (ctx.state === "done" ? [h("span", { key: "form", class: "row", role: "group", "aria-label": ctx.t("rule_builder.form") },
    button(ctx, ctx.t("rule_builder.sentences"), () => ctx.set({ free: false }), { small: true, pressed: !ctx.get("free") }), button(ctx, ctx.t("rule_builder.as_text"), () => ctx.set({ free: true }), { small: true, pressed: ctx.get("free") }))] : []),
  view(ctx) {
    const columns = ctx.get("columns");
    const given = ctx.get("tree");
    const tree = given.items ? copyOf(given) : { join: "and", items: [] };
    const save = () => { const rule = ruleText(tree, columns); ctx.set({ tree: copyOf(tree), rule }); ctx.emit("rule", { rule, complete: !incomplete(tree) }); };
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
      : [h("div", { key: "tree" }, groupView(tree, 0, null)), h("div", { key: "text", class: "rule-text", role: "group", "aria-label": ctx.t("rule_builder.rule") }, tree.items.length ? ruleText(tree, columns) : [h("span", { key: "star" }, "*　"), h("span", { key: "all", class: "dim" }, ctx.t("rule_builder.everyone"))])],
    free && given.items && ctx.get("rule") !== ruleText(given, columns) ? h("p", { key: "lost", class: "meta" }, ctx.t("rule_builder.differs")) : null,
    h("p", { key: "verdict", id: "verdict", role: "status", class: `row ink-${verdict.state || "info"}`, style: { "font-size": "13px" } }, verdict.sentence ? [icon(STATE_ICONS[verdict.state] || "info", true), h("span", null, say(ctx, verdict.sentence))] : null,
      !free && incomplete(tree) ? h("span", { key: "more", class: "dim" }, ctx.t("rule_builder.incomplete")) : null));
  },
});

// Short texts of a page: headings, facts, lists, next steps, a command to copy. Everything that arrives is set as text.
const PATHS = {
  yes: "M5 12.5l4.5 4.5L19 7.5", no: "M6 6l12 12M18 6L6 18", dot: "M10.6 12a1.4 1.4 0 102.800 0 1.400 1.400 0 10-2.800 0", warn: "M12 4l9 16H3zM12 10v4M12 17v.1",
};
// Characters that reorder or hide text are shown by their number, as the components do.
const TRICKS = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u200B\u200E\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/g;
const plain = (value) => String(value ?? "").replace(TRICKS, (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

function made(tag, className, text, ...inside) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) {
    element.textContent = plain(text);
    if (document.documentElement.lang === "en" && /[\u3400-\u9FFF]/.test(element.textContent)) element.lang = "zh-CN";
  }
  element.append(...inside.filter(Boolean));
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name] || PATHS.dot);
  svg.append(path);
  return svg;
}

function tile(party) {
  const shown = made("span", party.mine ? "tile mine" : "tile", party.tile);
  shown.setAttribute("role", "img");
  shown.setAttribute("aria-label", plain(party.name));
  shown.title = plain(party.name);
  return shown;
}

function title(block, level = "h2") {
  return made("div", "row", null, made(level, "", block.title), block.hint ? made("span", "meta push", block.hint) : null);
}

const TONES = new Set(["sealed", "pending", "failed", "tampered", "refused", "meta"]);
const tone = (name) => (TONES.has(name) ? name : "");

const BLOCKS = {
  head: (block) => made("div", "row", null, made("h1", "", block.title), block.id ? made("span", "mono meta", block.id) : null,
    ...(block.parties || []).flatMap((party, at) => [at ? made("span", "meta", "↔") : null, tile(party)]),
    block.subject ? made("span", "", block.subject) : null, block.meta ? made("span", "meta push", block.meta) : null),
  title: (block) => title(block),
  text: (block) => made("p", block.meta ? "meta" : tone(block.tone), block.text),
  facts: (block) => made("dl", "", null, ...block.rows.flatMap((row) => [made("dt", "", row.label),
    made("dd", `${row.mono ? "mono" : ""} ${tone(row.tone)}`.trim(), row.value)])),
  list: (block) => made("div", "", null, block.title ? made("h3", "", block.title) : null,
    made("ul", "", null, ...block.rows.map((row) => made("li", tone(block.tone), null, icon(block.mark), made("span", "", row))))),
  columns: (block) => made("div", "columns", null, ...block.blocks.map((one) => BLOCKS[one.kind](one))),
  next: (block) => made("div", "next", null, made("h2", "", block.title), made("div", "steps", null,
    ...block.rows.map((row) => made("div", "", null, made("b", "", row.title), made("p", "", row.text))))),
  code: (block) => {
    const copy = made("button", "", block.copy);
    copy.type = "button";
    copy.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(block.text); copy.textContent = plain(block.copied); } catch (error) { copy.textContent = plain(block.select); }
    });
    return made("div", "", null, made("pre", "", block.text), copy);
  },
};

export default {
  render({ model, el }) {
    const draw = () => {
      const blocks = JSON.parse(model.blocks);
      const body = made("div", model.framed ? "card stack" : "stack", null, ...blocks.map((block) => BLOCKS[block.kind]?.(block)));
      el.replaceChildren(body);
    };
    const save = () => {
      const told = JSON.parse(model.file);
      if (told.print) window.print();
      if (!told.name) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([told.text], { type: told.type }));
      link.download = told.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    };
    const focus = () => setTimeout(() => { // what was hidden until now is shown first
      const first = el.querySelector("h1, h2, h3, p, dd, li span");
      if (first) { first.tabIndex = -1; first.focus(); }
    }, 120);
    model.on("blocks", draw);
    model.on("focus_count", focus);
    model.on("file", save);
    draw();
  },
};

// A card of sentences: heading, state, lines, buttons. Everything is set as text; nothing here makes markup from data.
const ICONS = {
  sealed: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 017 0v3",
  pending: "M7 3h10M7 21h10M8 3v4l4 5 4-5V3M8 21v-4l4-5 4 5v4",
  tampered: "M12 3l7 3v5c0 5-3 8.5-7 10-4-1.5-7-5-7-10V6zM9.5 9l5 5.5M14.5 9l-5 5.5",
  failed: "M9 7H7a5 5 0 000 10h2M15 7h2a5 5 0 013.5 8.5M8 12h4M4 4l16 16",
  neutral: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 11v6M12 7.5v.1",
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function chip(told) {
  const made = element("span", `chip ${told.state}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[told.state] || ICONS.neutral);
  svg.append(path);
  made.append(svg, document.createTextNode(told.word));
  return made;
}

function line(told) {
  if (told.kind === "pair") {
    const row = element("tr", told.state || "");
    row.append(Object.assign(element("th", "", told.label), { scope: "row" }), element("td", told.mono ? "mono" : "", told.text));
    return row;
  }
  if (told.kind === "item") {
    const row = element("li", told.state || "");
    if (told.label) row.append(element("b", "", told.label), document.createTextNode("　"));
    row.append(document.createTextNode(told.text));
    return row;
  }
  if (told.kind === "command") {
    const pre = element("pre", "command", told.text);
    pre.tabIndex = 0;
    return pre;
  }
  return element(told.kind === "heading" ? "h3" : "p", told.kind === "meta" ? "meta" : "", told.text);
}

const HOLDER = { pair: ["table", ""], item: ["ul", ""] };

function lines(list) {
  const made = [];
  let holder = null;
  for (const told of list) {
    const wanted = HOLDER[told.kind];
    if (!wanted) holder = null;
    else if (!holder || holder.tagName.toLowerCase() !== wanted[0]) { holder = element(...wanted); made.push(holder); }
    (wanted ? holder : made)[wanted ? "append" : "push"](line(told));
  }
  return made;
}

export default {
  render({ model, el }) {
    let counter = 0;
    let open = null;
    let focused = model.focus_count;
    const press = (name) => { counter += 1; model.pressed = JSON.stringify({ name, counter }); };
    const draw = () => {
      const told = JSON.parse(model.shown);
      const had = el.getRootNode().activeElement;
      const held = had && el.contains(had) ? had.dataset.name || "" : null;
      el.replaceChildren();
      if (!told.heading && !told.lines.length) return;
      const card = element("section", told.heading ? "note" : "note bare");
      const head = element(told.folds ? "summary" : "div", "head");
      const title = element("h2", "", told.heading);
      title.tabIndex = -1;
      if (told.heading) head.append(title);
      if (told.hint) head.append(element("span", "meta", told.hint));
      if (told.chip) head.append(chip(told.chip));
      if (told.close) {
        const close = element("button", "btn close", told.close);
        close.type = "button";
        close.addEventListener("click", () => press("close"));
        head.append(close);
      }
      const body = element("div", "body");
      body.append(...lines(told.lines));
      if (told.actions.length) {
        const bar = element("div", "acts");
        for (const one of told.actions) {
          const button = element("button", one.primary ? "btn go" : "btn", one.label);
          button.type = "button";
          button.dataset.name = one.name;
          button.disabled = Boolean(one.disabled);
          button.addEventListener("click", () => press(one.name));
          bar.append(button);
        }
        body.append(bar);
      }
      if (told.folds) {
        const fold = element("details", "");
        fold.open = open ?? Boolean(told.open);
        fold.addEventListener("toggle", () => { open = fold.open; });
        fold.append(head, body);
        card.append(fold);
      } else if (told.heading) card.append(head, body);
      else card.append(body);
      el.append(card);
      // Whoever works with the keyboard stays on the button that was pressed, or on the card once that button is gone.
      if (held !== null) {
        const again = [...card.querySelectorAll("button")].find((one) => one.dataset.name === held && !one.disabled);
        if (!again) card.tabIndex = -1;
        (again || card).focus({ preventScroll: true });
      }
      if (model.focus_count !== focused) { focused = model.focus_count; title.focus(); }
    };
    model.on("shown", draw);
    model.on("focus_count", () => { focused = model.focus_count; el.querySelector("h2")?.focus(); });
    draw();
  },
};

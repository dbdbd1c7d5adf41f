// Keys of the whole page, and the sheet that names them. In an input only Ctrl+Enter and Escape count.
const typing = (event) => {
  const at = event.composedPath()[0];
  return at instanceof HTMLElement && (at.isContentEditable || /^(input|select|textarea)$/i.test(at.tagName));
};
const keysOn = () => localStorage.getItem("workbench-keys") !== "off";

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function* deep(root) {
  for (const node of root.querySelectorAll("*")) {
    yield node;
    if (node.shadowRoot) yield* deep(node.shadowRoot);
  }
}

export default {
  render({ model, el }) {
    let counter = 0;
    let second = null; // running while the letter after "g" is awaited
    const tell = (key) => { counter += 1; model.pressed = JSON.stringify({ key, counter }); };

    const help = made("details", "help");
    el.replaceChildren(help);
    help.addEventListener("toggle", () => { if (help.open) tell("help"); }); // the page then names the other pages too
    const draw = () => {
      const told = JSON.parse(model.shown);
      const name = made("summary", "", `? ${told.help}`);
      const list = made("dl", "");
      for (const [key, label] of told.keys) list.append(made("dt", "", key), made("dd", "", label));
      const off = made("label", "");
      const tick = made("input", "");
      tick.type = "checkbox";
      tick.checked = keysOn();
      tick.addEventListener("change", () => localStorage.setItem("workbench-keys", tick.checked ? "on" : "off"));
      off.append(tick, made("span", "", told.switch));
      const sheet = made("div", "sheet");
      sheet.append(list, off);
      const open = help.open;
      help.replaceChildren(name, sheet);
      help.open = open;
    };

    const search = () => {
      for (const node of deep(document)) {
        if (node.classList.contains("wb-search") && node.shadowRoot) {
          const input = node.shadowRoot.querySelector("input");
          if (input && input.offsetParent !== null) { input.focus(); input.select(); return true; }
        }
      }
      // A page without a search: its first field.
      for (const node of deep(document)) {
        if (/^(input|select|textarea)$/i.test(node.tagName) && !/^(checkbox|radio|file|hidden)$/.test(node.type) && node.offsetParent !== null && !node.disabled) {
          node.focus();
          return true;
        }
      }
      return false;
    };
    // From row to row of the table that has the focus; Enter then presses the button of the row by itself.
    const row = (event, step) => {
      const path = event.composedPath();
      const table = path.find((node) => node instanceof HTMLElement && node.getAttribute("role") === "region" && node.querySelector("tbody"));
      if (!table) return false;
      const rows = [...table.querySelectorAll("tbody tr")].filter((one) => one.querySelector("button"));
      if (!rows.length) return false;
      const at = rows.findIndex((one) => path.includes(one));
      const next = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step))];
      [...next.querySelectorAll("button")].at(-1).focus();
      return true;
    };

    const pressed = (event) => {
      if (event.defaultPrevented) return;
      if (event.key === "Enter" && event.ctrlKey && !event.altKey && !event.metaKey) { event.preventDefault(); tell("send"); return; }
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") {
        if (help.open) { help.open = false; help.querySelector("summary").focus(); } else if (!typing(event)) tell("Escape");
        return;
      }
      if (typing(event)) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        if (row(event, event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
        return;
      }
      if (!keysOn()) return;
      if (second !== null) {
        clearTimeout(second);
        second = null;
        event.preventDefault();
        tell(`g${event.key}`);
      } else if (event.key === "/") {
        if (search()) event.preventDefault();
      } else if (event.key === "?") {
        help.open = !help.open;
        if (help.open) help.querySelector("summary").focus();
      } else if (event.key === "g") {
        second = setTimeout(() => { second = null; }, 1500);
      } else if (event.key === "v") tell("v");
    };
    document.addEventListener("keydown", pressed);
    model.on("shown", draw);
    draw();
    return () => { document.removeEventListener("keydown", pressed); clearTimeout(second); };
  },
};

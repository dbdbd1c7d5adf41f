// The head of the page: title, search, filters. Texts are set as text only; the page's keys are workbench.app.parts.keys.
const PATHS = {
  search: "M11 5a6 6 0 100 12 6 6 0 000-12zM20 20l-4.7-4.7",
  close: "M6 6l12 12M18 6L6 18",
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function glyph(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

function options(select, list, value) {
  select.replaceChildren(...list.map(([key, label]) => {
    const one = element("option", "", label);
    one.value = key;
    return one;
  }));
  select.value = value;
  select.hidden = list.length < 2;
}

export default {
  render({ model, el }) {
    let counter = 0;
    let asked = null; // the text last asked for
    const tell = (name, payload = {}) => { counter += 1; model.told = JSON.stringify({ name, counter, ...payload }); };

    const head = element("div", "head");
    const title = element("h1", "");
    const form = element("form", "find");
    form.setAttribute("role", "search");
    const box = element("span", "box");
    const input = element("input", "");
    input.type = "search";
    input.autocomplete = "off";
    input.maxLength = 120;
    const hint = element("kbd", "", "/");
    box.append(glyph("search"), input, hint);
    const kind = element("select", "");
    const log = element("select", "");
    const job = element("select", "");
    form.append(box, job, kind, log);
    const chips = element("span", "chips");
    const status = element("span", "status");
    status.setAttribute("aria-live", "polite");
    head.append(title, form, chips, element("span", "grow"), status);
    el.replaceChildren(head);

    // What was asked for stays in the box only if the page says so: it leaves out what names a person.
    const ask = () => { asked = input.value; tell("find", { text: input.value, kind: kind.value, log: log.value, job: job.value }); };
    form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
    input.addEventListener("search", ask);
    for (const one of [kind, log, job]) one.addEventListener("change", ask);

    const draw = () => {
      const told = JSON.parse(model.shown);
      title.textContent = told.title;
      input.placeholder = told.placeholder;
      input.setAttribute("aria-label", told.placeholder);
      input.title = told.searched;
      if (told.text !== asked) input.value = told.text; // half-typed words survive everything else
      asked = told.text;
      kind.setAttribute("aria-label", told.kind_label);
      log.setAttribute("aria-label", told.log_label);
      job.setAttribute("aria-label", told.job_label);
      options(kind, told.kinds, told.kind);
      options(log, told.logs, told.log);
      options(job, told.jobs, told.job);
      chips.replaceChildren(...told.chips.map(([name, label, drop]) => {
        const chip = element("button", "chip", label);
        chip.type = "button";
        chip.title = drop;
        chip.setAttribute("aria-label", `${drop}: ${label}`);
        chip.append(glyph("close"));
        chip.addEventListener("click", () => tell("drop", { what: name }));
        return chip;
      }));
      status.textContent = told.status;
    };

    const save = () => {
      const told = JSON.parse(model.saved);
      if (told.print) { window.print(); return; }
      if (!told.name) return;
      const url = URL.createObjectURL(new Blob([told.text], { type: "application/json" }));
      const link = element("a");
      Object.assign(link, { href: url, download: told.name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    };
    model.on("shown", draw);
    model.on("saved", save);
    draw();
  },
};

// Ties a page to the window around it: language and theme come in, tab titles and page changes go out, and the notices
// of the shell are drawn here. Texts are set as text, never as markup.
const PROTOCOL = 1;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function notice(item, act) {
  const band = element("section", `band ${item.state}`);
  band.setAttribute("role", item.state === "tampered" || item.state === "failed" ? "alert" : "status");
  band.dataset.kind = item.kind;
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", item.icon);
  icon.append(path);
  const say = element("div", "say");
  say.append(element("h2", "", item.title));
  for (const line of item.lines) say.append(element("p", "", line));
  if (item.code) say.append(element("p", "code", item.code));
  const buttons = element("div", "acts");
  for (const button of item.actions) {
    const made = element(button.url ? "a" : "button", button.primary ? "btn go" : "btn", button.label);
    if (button.url) Object.assign(made, { href: button.url, target: "_blank", rel: "noopener" });
    else made.type = "button";
    made.dataset.name = button.name;
    made.addEventListener("click", () => act(item.kind, button.name));
    buttons.append(made);
  }
  band.append(icon, say, buttons);
  return band;
}

export default {
  render({ model, el }) {
    const framed = window.parent !== window;
    const post = (message) => { if (framed) window.parent.postMessage({ workbench: PROTOCOL, ...message }, window.location.origin); };
    const root = document.documentElement;
    let counter = 0;

    const look = () => {
      root.dataset.theme = model.theme;
      root.lang = model.lang === "zh" ? "zh-CN" : "en";
    };
    const act = (kind, name) => {
      if (name === "reload") window.location.reload();
      else { counter += 1; model.pressed = JSON.stringify({ kind, name, counter }); }
    };
    const draw = () => el.replaceChildren(...JSON.parse(model.notices).map((item) => notice(item, act)));
    const tab = () => { const told = JSON.parse(model.tab); document.title = told.title; post({ kind: "tab", ...told }); };
    const go = () => {
      const told = JSON.parse(model.go);
      if (!told.kind) return;
      if (told.kind === "window") window.open(told.url, "_blank", "noopener");
      else if (told.kind === "save") {
        const link = element("a");
        Object.assign(link, { href: told.url, download: "" });
        link.click();
      } else if (framed) post(told);
      else window.location.assign(told.url);
    };
    const ready = () => { if (model.ready) document.body.dataset.ready = "yes"; };
    const visible = () => { model.visible = !document.hidden; };
    const receive = (event) => {
      const told = event.data;
      if (event.origin !== window.location.origin || event.source !== window.parent || told?.workbench !== PROTOCOL) return;
      if (told.kind === "look") {
        if (["light", "dark"].includes(told.theme)) model.theme = told.theme;
        if (["zh", "en"].includes(told.lang)) model.lang = told.lang;
        look();
      } else if (told.kind === "reload" && (!model.is_live || told.force)) window.location.reload();
    };

    window.addEventListener("message", receive);
    document.addEventListener("visibilitychange", visible);
    const heard = { theme: look, lang: look, notices: draw, tab, go, ready };
    for (const [name, call] of Object.entries(heard)) model.on(name, call);
    look(); draw(); tab(); ready(); visible();
    post({ kind: "hello", page: model.page, age: performance.now() }); // age: since this document was asked for, in ms
    return () => {
      window.removeEventListener("message", receive);
      document.removeEventListener("visibilitychange", visible);
    };
  },
};

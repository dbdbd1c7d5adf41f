// What every component stands on: text is text, elements come from a small tree of descriptions, and a new
// description is laid over the old elements, so focus, typed text and what a screen reader has already said survive.
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "circle", "rect", "line", "text", "tspan", "title", "desc"]);

function h(tag, props, ...kids) { return { tag, props: props || {}, kids: kids.flat(Infinity).filter((k) => k !== null && k !== undefined && k !== false) }; }

// Characters that reorder or hide text are shown by their number, so that a name from a partner cannot pose as another.
const TRICKS = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u200B\u200E\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/g;
function plain(value) {
  return String(value ?? "").replace(TRICKS, (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

function dispatch(event) { const act = this.__on?.[event.type]; if (act) act(event); }

function setProps(el, props) {
  const was = el.__props || {};
  for (const name of Object.keys(was)) {
    if (name in props || name === "key" || name === "on") continue;
    // An element that is used again keeps nothing of its former shape.
    if (name === "style") { for (const rule of Object.keys(was.style || {})) el.style.removeProperty(rule); continue; }
    if (name === "checked" || name === "value") el[name] = name === "checked" ? false : ""; else el.removeAttribute(name);
  }
  for (const [name, value] of Object.entries(props)) {
    if (name === "key") continue;
    if (name === "on") {
      el.__on = value;
      for (const type of Object.keys(value)) {
        (el.__types ||= new Set());
        if (!el.__types.has(type)) { el.addEventListener(type, dispatch); el.__types.add(type); }
      }
    } else if (name === "style") {
      // Through the object model: a policy without inline style still lets the widths through.
      for (const old of Object.keys(was.style || {})) if (!(old in value)) el.style.removeProperty(old);
      for (const [rule, text] of Object.entries(value)) el.style.setProperty(rule, text);
    } else if (name === "value" || name === "checked" || name === "indeterminate") {
      // What a person is typing stays, unless the value itself was changed from elsewhere.
      if (el[name] !== value && !(name === "value" && was.value === value && el.matches(":focus"))) el[name] = value;
    } else if (value === null || value === undefined || value === false) el.removeAttribute(name);
    else {
      const text = value === true ? "" : plain(value);
      if (el.getAttribute(name) !== text) el.setAttribute(name, text);
    }
  }
  if (was.on && !props.on) el.__on = undefined;
  el.__props = props;
}

function patch(parent, kids) {
  const keyed = new Map();
  const free = [];
  for (const node of [...parent.childNodes]) (node.__key === undefined ? free.push(node) : keyed.set(node.__key, node));
  const next = kids.map((kid) => {
    if (typeof kid !== "object") {
      const text = plain(kid);
      const at = free.findIndex((n) => n.nodeType === 3);
      const node = at < 0 ? document.createTextNode(text) : free.splice(at, 1)[0];
      if (node.data !== text) node.data = text;
      return node;
    }
    const key = kid.props.key;
    let node;
    if (key === undefined) {
      const at = free.findIndex((n) => n.__tag === kid.tag);
      if (at >= 0) node = free.splice(at, 1)[0];
    } else if (keyed.get(key)?.__tag === kid.tag) { node = keyed.get(key); keyed.delete(key); }
    if (!node) {
      node = SVG_TAGS.has(kid.tag) ? document.createElementNS(SVG, kid.tag) : document.createElement(kid.tag);
      node.__tag = kid.tag;
      node.__key = key;
    }
    // Options come before the chosen value of their list.
    if (kid.tag === "select") { patch(node, kid.kids); setProps(node, kid.props); } else { setProps(node, kid.props); patch(node, kid.kids); }
    return node;
  });
  for (const node of [...free, ...keyed.values()]) node.remove();
  next.forEach((node, i) => { if (parent.childNodes[i] !== node) parent.insertBefore(node, parent.childNodes[i] || null); });
}

const ICONS = {
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 017 0v3", hourglass: "M7 3h10M7 21h10M8 3v4l4 5 4-5V3M8 21v-4l4-5 4 5v4",
  block: "M12 3a9 9 0 100 18 9 9 0 000-18zM6 6l12 12", unlink: "M9 7H7a5 5 0 000 10h2M15 7h2a5 5 0 013.5 8.5M8 12h4M4 4l16 16",
  broken: "M12 3l7 3v5c0 5-3 8.5-7 10-4-1.5-7-5-7-10V6zM9.5 9l5 5.5M14.5 9l-5 5.5",
  shield: "M12 3l7 3v5c0 5-3 8.5-7 10-4-1.5-7-5-7-10V6zM8.5 12l2.5 2.5 4.5-5",
  flask: "M9 3h6M10 3v6l-5 9a2 2 0 002 3h10a2 2 0 002-3l-5-9V3M8 15h8", info: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 11v6M12 7.5v.1",
  check: "M5 12.5l4.5 4.5L19 7.5", cross: "M6 6l12 12M18 6L6 18", play: "M8 5l11 7-11 7z", chevron: "M9 6l6 6-6 6",
  chain: "M7 4h10v6H7zM7 14h10v6H7zM12 10v4", copy: "M9 9h11v11H9zM4 15V4h11", down: "M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 20h14",
  print: "M7 9V3h10v6M7 17H4V9h16v8h-3M7 14h10v7H7z", people: "M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM2.5 20c0-4 3-6 6.500-6s6.500 2 6.500 6M16 4.500a3.500 3.500 0 010 6.500M18 14.500c2.200.7 3.500 2.500 3.500 5.500",
  plus: "M12 5v14M5 12h14", doc: "M6 3h9l4 4v14H6zM9 11h7M9 15h7", dots: "M6 12h.1M12 12h.1M18 12h.1", inbox: "M4 13l2-8h12l2 8v6H4zM4 13h5l1 3h4l1-3h5",
  up: "M4 11h4v9H4zM8 11l4-7c2 0 2.500 1.500 2 3l-.5 3H20l-1.500 10H8", thumb: "M4 4h4v9H4zM8 13l4 7c2 0 2.500-1.500 2-3l-.5-3H20L18.500 4H8",
  clock: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 7v5l3.500 2",
};
const STATE_ICONS = { sealed: "lock", done: "check", pending: "hourglass", refused: "block", failed: "unlink", tampered: "broken", simulated: "flask",
  running: "play", info: "info", neutral: "info", waiting: "dots", empty: "inbox" };

function icon(name, small) { return h("svg", { class: small ? "i s" : "i", viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d: ICONS[name] || ICONS.info })); }

// A string that came as data: in an English page its Chinese keeps its own language, for fonts and for speech.
function say(ctx, value) {
  const text = plain(value);
  return ctx.lang === "en" && /[\u3400-\u9FFF]/.test(text) ? h("span", { lang: "zh-CN" }, text) : text;
}
function chip(ctx, state, word, glyph) {
  const known = state in STATE_ICONS ? state : "neutral";
  return h("span", { class: `chip ${known}` }, icon(glyph || STATE_ICONS[known]), word === undefined ? ctx.t(`common.${known}`) : say(ctx, word));
}
function tile(ctx, party, big) {
  const label = party.name ? plain(party.name) + (party.mine ? ctx.t("common.mine_paren") : "") : plain(party.tile);
  return h("span", { class: `tile${party.mine ? " mine" : ""}${big ? " big" : ""}`, title: label, role: "img", "aria-label": label, lang: "zh-CN" }, plain(party.tile).slice(0, 2));
}
function when(ctx, ms, form = "time") {
  if (ms === null || ms === undefined) return "—";
  return h("time", { class: "num", title: formats.utc(ms, ctx.lang), datetime: Number.isFinite(ms) ? new Date(ms).toISOString() : null }, formats[form](ms, ctx.lang));
}
function button(ctx, label, act, { name, primary, small, subtle, disabled, glyph, pressed, expanded, key, describedby } = {}) {
  return h("button", { key, type: "button", class: `btn${primary ? " go" : ""}${small ? " small" : ""}${subtle ? " plain" : ""}`, disabled, "data-name": name,
    "aria-pressed": pressed === undefined ? null : String(pressed), "aria-expanded": expanded === undefined ? null : String(expanded),
    "aria-describedby": describedby, on: { click: act } }, glyph ? icon(glyph) : null, say(ctx, label));
}
function actions(ctx, list, small) {
  return (list || []).slice(0, 2).map((one) => button(ctx, one.label, () => ctx.emit("action", { name: one.name }),
    { name: one.name, primary: one.primary, small, glyph: one.icon in ICONS ? one.icon : null, disabled: one.disabled, key: `act-${one.name}` }));
}
// Per cent as shown: rounded, but 100 only when nothing is left.
function wholeShare(done, total) { return total > 0 ? (done >= total ? 100 : Math.min(99, Math.max(0, Math.round((done / total) * 100)))) : null; }
function progress(ctx, { done, total, state, label }) {
  const part = total > 0 ? Math.max(0, Math.min(1, done / total)) : 0;
  const whole = wholeShare(done, total) ?? 0;
  const known = total > 0;
  return h("span", { class: `bar ${known ? state || "" : "unknown"}`, role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": known ? String(whole) : null,
    "aria-label": label }, h("i", { style: { width: `${part * 100}%` } }));
}
// One cell of data by kind; whatever the kind, the content is text.
function cell(ctx, kind, value) {
  const lang = ctx.lang;
  if (value === null || value === undefined) return h("span", { class: "dim" }, "—");
  if (value === UNKNOWN) return h("span", { class: "dim" }, formats.count(UNKNOWN, lang));
  if (kind === "count") return h("span", { class: "num" }, typeof value === "number" ? formats.count(value, lang) : plain(value));
  if (kind === "change") return h("span", { class: "num" }, formats.change(value, lang));
  if (kind === "share") return h("span", { class: "num" }, formats.share(value, 0, lang));
  if (kind === "size") return h("span", { class: "num" }, formats.size(value, lang));
  if (kind === "money") return h("span", { class: "num" }, formats.money(value, lang));
  if (kind === "time" || kind === "clock" || kind === "date") return when(ctx, value, kind);
  if (kind === "mono" || kind === "masked" || kind === "token") return h("span", { class: "mono" }, plain(value));
  if (kind === "digest") return h("span", { class: "mono nowrap", title: plain(value.hex) }, formats.digest(value.algorithm, value.hex));
  if (kind === "state") return typeof value === "object" ? chip(ctx, value.state, value.label) : chip(ctx, value);
  if (kind === "check") return h("span", { class: `row ink-${value.ok ? "sealed" : "failed"}` }, icon(value.ok ? "check" : "cross", true), say(ctx, value.label));
  if (kind === "party") return h("span", { class: "row" }, tile(ctx, value), say(ctx, value.name));
  if (typeof value === "boolean") return ctx.t(value ? "common.yes" : "common.no");
  if (typeof value === "object") return plain(JSON.stringify(value));
  return say(ctx, value);
}
function pager(ctx, { page, pages, go, label }) {
  if (pages <= 1) return null;
  return h("div", { key: "pager", class: "paging", role: "group", "aria-label": label },
    button(ctx, ctx.t("common.previous"), () => go(page - 1), { small: true, disabled: page <= 0 }),
    h("span", { class: "meta num", role: "status" }, ctx.t("common.page_of", { page: formats.count(page + 1, ctx.lang), pages: formats.count(pages, ctx.lang) })),
    button(ctx, ctx.t("common.next"), () => go(page + 1), { small: true, disabled: page >= pages - 1 }));
}
async function copyText(ctx, text, done) {
  let copied = false;
  try { await navigator.clipboard.writeText(text); copied = true; } catch (error) { copied = false; }
  ctx.local.copied = copied ? done : `${done}:select`;
  ctx.update();
}
function bones(widths, height = "16px") { return widths.map((w, i) => h("span", { key: `bone${i}`, class: "bone", style: { width: w, height } })); }

// The sentence of a state that stands in for the content: why, and who does what next. Code at the end in small type.
function band(ctx, { state, sentence, reason, todo, code, buttons, inline, role, glyph, token }) {
  return h("div", { key: "band", class: `band ${state}${inline ? " inline" : ""}`, role },
    icon(glyph || STATE_ICONS[state] || "info"),
    h("div", { class: "say" },
      h("h2", { tabindex: "-1", "data-focus": token }, say(ctx, sentence)),
      reason ? h("p", { key: "why" }, say(ctx, reason)) : null,
      todo ? h("p", { key: "todo" }, h("b", null, ctx.t("common.todo")), say(ctx, todo)) : null,
      code ? h("p", { key: "code", class: "code" }, plain(code)) : null),
    buttons?.length ? h("div", { key: "acts", class: "acts" }, buttons) : null);
}

const COMMON = ["theme", "lang", "state", "heading", "hint", "notice", "as_of_ms", "framed", "focus_count"];

function pageTheme() {
  for (const el of [document.body, document.documentElement]) {
    if (!el) continue;
    if (el.dataset.jpThemeLight !== undefined) return el.dataset.jpThemeLight === "false" ? "dark" : "light";
    for (const name of ["data-theme", "data-bs-theme", "data-panel-theme"]) {
      const value = el.getAttribute(name);
      if (value) return value.includes("dark") ? "dark" : "light";
    }
  }
  return "light";
}

function card(ctx, spec, kids) {
  const heading = ctx.get("heading") || (spec.heading ? ctx.t(spec.heading) : "");
  const hint = ctx.get("hint");
  const asOf = ctx.get("as_of_ms");
  const quiet = ["loading", "empty", "refused"].includes(ctx.state) || (ctx.state === "done" && spec.isEmpty?.(ctx));
  const side = [...(spec.aside && !quiet ? [spec.aside(ctx)].flat() : []),
    hint ? h("span", { key: "hint", class: "meta" }, say(ctx, hint)) : null,
    asOf !== null && asOf !== undefined ? h("span", { key: "asof", class: "meta" }, ctx.t("common.as_of", { time: formats.time(asOf, ctx.lang) })) : null].filter(Boolean);
  return h("section", { class: `card${ctx.get("framed") === false ? " bare" : ""}`, "aria-label": heading || null, "aria-busy": ctx.state === "loading" ? "true" : null },
    heading || side.length ? h("div", { key: "head", class: "head" }, heading ? h("h2", { class: "title" }, say(ctx, heading)) : h("span", {}), side) : null, kids);
}

// States every component has: loading (skeleton after 300 ms), empty, refused, failed, tampered, done.
function body(ctx, spec) {
  const state = ctx.state;
  const notice = ctx.get("notice") || {};
  if (state === "loading") return card(ctx, spec, ctx.local.slow ? [...(spec.skeleton ? spec.skeleton(ctx) : bones(["100%", "84%", "92%", "70%"])), h("span", { key: "wait", class: "sr", role: "status" }, ctx.t("common.loading"))] : [h("span", { key: "hold", class: "bone", style: { visibility: "hidden" } })]);
  const problem = (kind, role) => band(ctx, { state: kind, inline: true, role, sentence: notice.sentence || ctx.t(LOCALE[`${spec.name}.${kind}`] ? `${spec.name}.${kind}` : `common.${kind}_sentence`), reason: notice.reason,
    todo: notice.todo, code: notice.code, buttons: actions(ctx, notice.actions, true), token: "band" });
  const wrong = spec.check?.(ctx);
  if (wrong && state !== "empty" && state !== "refused") {
    return card(ctx, spec, [band(ctx, { state: "failed", inline: true, role: "alert", sentence: ctx.t("common.bad_data"), reason: wrong, code: "BAD_DATA" })]);
  }
  if (state === "empty" || (state === "done" && spec.isEmpty?.(ctx))) return card(ctx, spec, [problem("empty", "status")]);
  if (state === "refused") return card(ctx, spec, [problem("refused", "status"), spec.refusedBody ? h("div", { key: "content" }, spec.refusedBody(ctx)) : null].filter(Boolean));
  const shown = spec.isEmpty?.(ctx) ? [] : [h("div", { key: "content", class: state === "failed" ? "stale" : null }, spec.view(ctx))];
  if (state === "failed") return card(ctx, spec, [problem("failed", "status"), ...shown]);
  if (state === "tampered") return card(ctx, spec, [problem("tampered", "alert"), ...shown]);
  return card(ctx, spec, shown);
}

function component(spec) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS_TEXT);
  const names = [...COMMON, ...spec.traits];
  function render({ model, el }) {
    const host = document.createElement("div");
    host.className = "workbench-widget";
    host.dataset.component = spec.name;
    const root = host.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    const top = document.createElement("div");
    top.className = "wb";
    const live = document.createElement("div");
    live.className = "sr";
    live.setAttribute("role", "status");
    root.append(top, live);
    el.append(host);
    let queued = false;
    let gone = false;
    let timer = 0;
    let focused = model.get("focus_count");
    let spokenAt = -Infinity;
    const ctx = {
      root, host, top, local: {}, get: (name) => model.get(name),
      get lang() { return model.get("lang") === "en" ? "en" : "zh"; },
      get state() { return model.get("state") || "done"; },
      t(key, fields = {}) {
        const text = LOCALE[key]?.[ctx.lang];
        return text === undefined ? key : text.replace(/\{(\w+)\}/g, (all, name) => (name in fields ? plain(fields[name]) : all));
      },
      set(values) { for (const [name, value] of Object.entries(values)) model.set(name, value); model.save_changes(); },
      emit(name, payload = {}) {
        model.set("event", { name, payload, counter: (model.get("event")?.counter || 0) + 1 });
        model.save_changes();
      },
      // Polite, and at most every 10 s unless the matter itself changed.
      announce(text, urgent) {
        const now = performance.now();
        if (live.textContent === text || (!urgent && now - spokenAt < 10000)) return;
        spokenAt = now;
        live.textContent = plain(text);
      },
      update() { if (!queued && !gone) { queued = true; queueMicrotask(draw); } },
      after(act) { (ctx.local.afters ||= []).push(act); },
    };
    function draw() {
      queued = false;
      if (gone) return;
      const theme = model.get("theme");
      host.dataset.theme = theme === "dark" || theme === "light" ? theme : pageTheme();
      host.lang = ctx.lang === "zh" ? "zh-CN" : "en";
      if (ctx.state !== "loading") { clearTimeout(timer); timer = 0; ctx.local.slow = false; }
      else if (!timer) timer = setTimeout(() => { ctx.local.slow = true; ctx.update(); }, 300);
      patch(top, [spec.whole ? spec.whole(ctx) : body(ctx, spec)]);
      for (const act of (ctx.local.afters || []).splice(0)) act();
      const wanted = model.get("focus_count");
      if (wanted !== focused) { focused = wanted; root.querySelector("[data-focus], h2, button, [tabindex]")?.focus(); }
    }
    const watched = names.map((name) => `change:${name}`);
    for (const name of watched) model.on(name, ctx.update);
    const watcher = new MutationObserver(ctx.update);
    for (const node of [document.documentElement, document.body]) {
      if (node) watcher.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-bs-theme", "data-panel-theme", "data-jp-theme-light"] });
    }
    // JupyterLab sees only the host of a shadow root, takes typing for commands, and would delete a cell at "d d".
    // Its own mark stops that; keys with Ctrl, Meta or Alt still belong to the Lab.
    const guard = (event) => {
      if (event.composedPath().includes(host)) host.toggleAttribute("data-lm-suppress-shortcuts", !(event.ctrlKey || event.metaKey || event.altKey));
    };
    window.addEventListener("keydown", guard, true);
    spec.mounted?.(ctx);
    draw();
    return () => {
      gone = true;
      clearTimeout(timer);
      watcher.disconnect();
      window.removeEventListener("keydown", guard, true);
      spec.unmounted?.(ctx);
      for (const name of watched) model.off(name, ctx.update);
      host.remove();
    };
  }
  return { render, traits: names, component: spec.name };
}

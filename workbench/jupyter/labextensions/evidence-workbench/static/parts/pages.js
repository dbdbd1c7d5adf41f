// Pages in main-area tabs, and the messages between their frames and Lab: look, titles, opening one another.
const PROTOCOL = 1;
const SANDBOX = ['allow-scripts', 'allow-same-origin', 'allow-forms', 'allow-downloads', 'allow-popups'];

export class Pages {
  constructor(lab, app, look) {
    this.lab = lab;
    this.app = app;
    this.look = look;
    this.tracker = new lab.WidgetTracker({ namespace: 'workbench' });
    this.frames = new Set();
    this.titles = new Map();
    this.reloaded = { at: 0, force: false };
    // What a person opens while Lab still restores its layout is in front afterwards, not the tab of last time.
    this.early = null;
    this.isRestored = false;
    app.restored.then(() => { this.isRestored = true; if (this.early && !this.early.isDisposed) app.shell.activateById(this.early.id); });
    window.addEventListener('message', (event) => this.receive(event));
    look.onChange(() => this.broadcast({ kind: 'look', ...this.look.value() }));
  }

  url(page, params) {
    const { lang, theme } = this.look.value();
    const query = new URLSearchParams({ ...params, lang, theme, name: page });
    return `${this.lab.URLExt.join(this.lab.PageConfig.getBaseUrl(), 'workbench/app/page')}?${query}`;
  }

  open(page, params = {}, label = page, icon = undefined, restoring = false) {
    const { IFrame, MainAreaWidget } = this.lab;
    const key = JSON.stringify([page, Object.entries(params).sort()]);
    let widget = this.tracker.find((one) => one.workbench?.key === key);
    if (!widget) {
      const frame = new IFrame({ sandbox: SANDBOX });
      // A confirmation opens on the node's own page, which must not inherit this frame's restrictions.
      frame.node.querySelector('iframe').sandbox.add('allow-popups-to-escape-sandbox');
      frame.url = this.url(page, params);
      widget = new MainAreaWidget({ content: frame });
      widget.id = `workbench-${page}-${Date.now()}`;
      widget.addClass('wb-page');
      widget.workbench = { key, page, params };
      Object.assign(widget.title, { label: this.titles.get(page) || label, icon, closable: true });
      this.tracker.add(widget);
      this.app.shell.add(widget, 'main');
    }
    if (!this.isRestored && !restoring) this.early = widget;
    this.app.shell.activateById(widget.id);
    return widget;
  }

  frameOf(widget) { return widget.content.node.querySelector('iframe').contentWindow; }

  receive(event) {
    const told = event.data;
    if (event.origin !== window.location.origin || told?.workbench !== PROTOCOL) return;
    if (told.kind === 'hello') {
      this.frames.add(event.source);
      this.send(event.source, { kind: 'look', ...this.look.value() });
      // Asked for before a sign-in or its end and drawn after it: such a frame could not hear of it.
      if (Date.now() - Number(told.age) < this.reloaded.at) this.send(event.source, { kind: 'reload', force: this.reloaded.force });
    } else if (told.kind === 'tab' && typeof told.title === 'string' && told.title) {
      const widget = this.tracker.find((one) => this.frameOf(one) === event.source);
      if (!widget) return;
      widget.title.label = told.title.slice(0, 60);
      widget.title.className = told.running ? 'wb-tab-running' : '';
    } else if (told.kind === 'open' && typeof told.page === 'string' && /^[a-z][a-z0-9-]{0,40}$/.test(told.page)) {
      const params = Object.fromEntries(Object.entries(told.params || {}).map(([name, value]) => [String(name), String(value)]));
      this.app.commands.execute('workbench:open', { page: told.page, params });
    }
  }

  send(frame, message) { frame.postMessage({ workbench: PROTOCOL, ...message }, window.location.origin); }

  broadcast(message) {
    for (const frame of [...this.frames]) {
      if (frame.closed) this.frames.delete(frame);
      else this.send(frame, message);
    }
  }

  // After a sign-in, pages that only show a state load again; with another person or none, all of them do.
  reload(force) {
    this.reloaded = { at: Date.now(), force };
    this.broadcast({ kind: 'reload', force });
  }
}

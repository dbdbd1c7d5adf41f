// The one place that asks the Lab server how things stand, and tells everybody here who wants to know.
const WHEN_RUNNING_MS = 1000;
const WHEN_CALM_MS = 3000;
const WHEN_HIDDEN_MS = 15000;
const WHILE_SIGNING_IN_MS = 700;

export class Status {
  constructor(lab) {
    this.lab = lab;
    this.settings = lab.ServerConnection.makeSettings();
    this.base = lab.URLExt.join(lab.PageConfig.getBaseUrl(), 'workbench');
    this.value = null;
    this.asOf = 0;
    this.listeners = [];
    this.signingInUntil = 0;
    this.timer = 0;
    this.asked = 0;
  }

  onChange(listener) { this.listeners.push(listener); }

  async request(path, init = {}) {
    const answer = await this.lab.ServerConnection.makeRequest(this.lab.URLExt.join(this.base, path), init, this.settings);
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    return answer.json();
  }

  async ask() {
    window.clearTimeout(this.timer);
    const number = ++this.asked;
    let value;
    try {
      value = await this.request('status');
      if (value.node === 'ok') this.asOf = Date.now();
    } catch (error) {
      // 404: no node is configured; anything else: the Lab server itself is away and Lab says so already.
      value = String(error.message).endsWith('404') ? { configured: false } : { ...(this.value || {}), node: 'offline' };
    }
    if (number !== this.asked) return; // asked anew meanwhile: an answer from before a sign-out must not come after it
    const before = this.value;
    this.value = value;
    // First of all: whatever a listener does wrong, the next answer comes.
    this.timer = window.setTimeout(() => this.ask(), this.pause());
    for (const listener of this.listeners) listener(value, before);
  }

  pause() {
    if (Date.now() < this.signingInUntil && !this.value?.signed_in) return WHILE_SIGNING_IN_MS;
    if (document.hidden) return WHEN_HIDDEN_MS;
    return this.value?.status?.running?.length ? WHEN_RUNNING_MS : WHEN_CALM_MS;
  }

  expectSignIn() { this.signingInUntil = Date.now() + 600_000; return this.ask(); }

  // What was asked before is not heard any more.
  async signOut() {
    this.asked += 1;
    try { await this.request('signout', { method: 'POST', body: '{}' }); } finally { this.ask(); }
  }
}

// Puts the parts together: sidebar, launcher cards, palette, status line, pages in tabs.
import { svgText } from './dom.js';
import { Look } from './look.js';
import { Pages } from './pages.js';
import { makeSidebar } from './sidebar.js';
import { Status } from './status.js';
import { text } from './texts.js';

const CATEGORY = '证据工作台';
// Lab's palette begins a match at a Latin word only; with one in front, Chinese is found as well.
const PALETTE_CATEGORY = `Workbench ${CATEGORY}`;
const SIGN_IN_WINDOW = 'popup,width=620,height=720';

export function makePlugin(lab, here) {
  const { ICommandPalette, IThemeManager, ILauncher, ILayoutRestorer, IStatusBar, ITranslator } = lab;
  return {
    id: 'evidence-workbench:plugin',
    autoStart: true,
    optional: [ICommandPalette, IThemeManager, ILauncher, ILayoutRestorer, IStatusBar, ITranslator],
    activate: (app, palette, themes, launcher, restorer, statusBar, translator) => {
      addStyle(`${here}parts/style.css`);
      const look = new Look(themes, translator);
      const status = new Status(lab);
      const pages = new Pages(lab, app, look);
      const t = (key, fields) => text(look.value().lang, key, fields);
      const signIn = makeSignIn(lab, status, pages);
      addCommands(app, { lab, look, status, pages, t, signIn });
      const cards = new Cards(lab, app, { look, status, pages, t, palette, launcher });
      status.onChange((value, before) => { cards.follow(value); signIn.follow(value, before); });
      look.onChange(() => cards.follow(status.value));
      addSidebar(lab, app, { status, look, signIn, t });
      if (statusBar) addStatusLine(lab, statusBar, look, t);
      if (palette) for (const command of ['sign-in', 'sign-out', 'language', 'theme']) palette.addItem({ command: `workbench:${command}`, category: PALETTE_CATEGORY, args: { palette: true } });
      restorer?.restore(pages.tracker, { command: 'workbench:open', args: (one) => ({ page: one.workbench.page, params: one.workbench.params, restoring: true }), name: (one) => one.workbench.key });
      status.ask();
    },
  };
}

function addStyle(href) {
  const link = document.createElement('link');
  Object.assign(link, { rel: 'stylesheet', href });
  document.head.append(link);
}

function makeSignIn(lab, status, pages) {
  let opened = null;
  let blocked = false;
  let lastPerson = '';
  const url = () => lab.URLExt.join(status.base, 'signin');
  return {
    url,
    blocked: () => blocked,
    start() {
      opened = window.open(url(), 'workbench-sign-in', SIGN_IN_WINDOW);
      blocked = opened === null;
      return status.expectSignIn();
    },
    follow(value, before) {
      if (!value.signed_in) return;
      const person = `${value.me.me.party}/${value.me.me.person}`;
      // Another sign-in also when nobody was seen in between: it may come from another window, faster than this one asks.
      if (before?.signed_in && person === lastPerson && value.until_ms === before.until_ms) return;
      opened?.close();
      opened = null;
      blocked = false;
      // What somebody else saw must not stay on the screen; one's own half-filled form may. Pages that are there with the
      // first answer are this person's already, and may just be loading.
      if (before) pages.reload(lastPerson !== '' && person !== lastPerson);
      lastPerson = person;
    },
  };
}

function addCommands(app, { look, status, pages, t, signIn }) {
  const named = (key, fields) => (args) => (args.palette ? `${t('workbench')}: ${t(key, fields)}` : t(key, fields));
  const signedIn = () => Boolean(status.value?.signed_in);
  app.commands.addCommand('workbench:open', {
    label: (args) => t('open', { page: args.page || '' }),
    execute: (args) => {
      const page = status.value?.pages?.pages?.find((one) => one.name === args.page);
      const title = page ? page[look.value().lang === 'zh' ? 'title_zh' : 'title_en'] : String(args.page);
      const own = `workbench:page-${args.page}`;
      return pages.open(String(args.page), args.params || {}, title, app.commands.hasCommand(own) ? app.commands.icon(own, {}) : undefined, args.restoring === true);
    },
  });
  app.commands.addCommand('workbench:sign-in', { label: named('sign_in'), isVisible: () => !signedIn(), execute: () => signIn.start() });
  app.commands.addCommand('workbench:sign-out', {
    label: named('sign_out'), isVisible: signedIn,
    execute: async () => { await status.signOut(); pages.reload(true); },
  });
  app.commands.addCommand('workbench:language', { label: named('language_hint'), execute: () => look.switchLanguage() });
  app.commands.addCommand('workbench:theme', { label: named('theme_hint'), execute: () => look.switchTheme() });
}

// One launcher card and one palette entry for each page that the person's role may open, and none for others.
class Cards {
  constructor(lab, app, parts) {
    Object.assign(this, parts);
    this.lab = lab;
    this.app = app;
    this.shown = '';
    this.added = [];
    this.known = new Map();
  }

  follow(value) {
    const open = value?.signed_in ? value.pages.pages : [];
    const model = JSON.stringify([open, this.look.value().lang]);
    if (model === this.shown) return;
    this.shown = model;
    for (const one of this.added.splice(0)) one.dispose();
    open.forEach((page, place) => this.add(page, place));
  }

  add(page, place) {
    const command = `workbench:page-${page.name}`;
    const lang = () => (this.look.value().lang === 'zh' ? 'title_zh' : 'title_en');
    this.known.set(page.name, page);
    if (!this.app.commands.hasCommand(command)) {
      const { LabIcon } = this.lab;
      const icon = new LabIcon({ name: `evidence-workbench:${page.icon}`, svgstr: svgText(page.icon) });
      this.app.commands.addCommand(command, {
        label: (args) => (args.palette ? `${this.t('workbench')}: ${this.known.get(page.name)[lang()]}` : this.known.get(page.name)[lang()]),
        icon: (args) => (args.palette ? undefined : icon),
        execute: () => this.pages.open(page.name, {}, this.known.get(page.name)[lang()], icon),
      });
    }
    if (this.launcher) this.added.push(this.launcher.add({ command, category: CATEGORY, rank: place }));
    if (this.palette) this.added.push(this.palette.addItem({ command, category: PALETTE_CATEGORY, args: { palette: true } }));
  }
}

function addSidebar(lab, app, { status, look, signIn, t }) {
  const actions = {
    signIn: () => app.commands.execute('workbench:sign-in'),
    signOut: () => app.commands.execute('workbench:sign-out'),
    signInUrl: signIn.url,
    blocked: signIn.blocked,
    open: (page, params) => (params ? app.commands.execute('workbench:open', { page, params }) : app.commands.execute(`workbench:page-${page}`)),
    // What waits for this person, or runs, behind each page.
    counts: (value) => ({
      intersection: value.status.running?.length || 0,
      inbox: value.status.inbox || 0,
      evidence: value.status.health?.filter((one) => one.state === 'failed').length || 0,
    }),
  };
  const panel = makeSidebar(lab, status, look, actions);
  const icon = new lab.LabIcon({ name: 'evidence-workbench:panel', svgstr: svgText('workbench') });
  const name = () => { panel.title.caption = t('workbench'); };
  panel.title.icon = icon;
  name();
  look.onChange(name);
  app.shell.add(panel, 'left', { rank: 50 });
  app.restored.then(() => app.shell.activateById(panel.id));
}

function addStatusLine(lab, statusBar, look, t) {
  const item = (id, rank, label, hint, act) => {
    const widget = new lab.Widget({ node: document.createElement('button') });
    widget.addClass('wb-status');
    widget.node.addEventListener('click', act);
    const draw = () => { widget.node.textContent = label(); widget.node.title = hint(); };
    draw();
    look.onChange(draw);
    statusBar.registerStatusItem(`evidence-workbench:${id}`, { item: widget, align: 'right', rank });
  };
  item('language', 90, () => t('language'), () => t('language_hint'), () => look.switchLanguage());
  item('theme', 91, () => t(look.value().theme), () => t('theme_hint'), () => look.switchTheme());
}

// The left panel, 264 px: who I am, pages, running jobs, nodes, evidence. Drawn anew only when what it shows changed.
import { h, icon } from './dom.js';
import { PHASES, clock, number, text } from './texts.js';

const SHORT_ID = /(\w{4})$/;

export function makeSidebar(lab, status, look, actions) {
  const panel = new lab.Widget();
  panel.id = 'evidence-workbench-sidebar';
  panel.addClass('wb-side');
  panel.node.style.minWidth = '264px'; // before Lab measures it: the style sheet may come later
  let drawn = '';

  const draw = () => {
    const value = status.value;
    const { lang, theme } = look.value();
    panel.node.lang = lang === 'zh' ? 'zh-CN' : 'en';
    panel.node.dataset.theme = theme;
    const model = JSON.stringify([value, lang, theme, value?.node === 'offline' ? status.asOf : 0, actions.blocked()]);
    if (model === drawn) return;
    drawn = model;
    const focused = document.activeElement?.dataset?.key;
    const t = (key, fields) => text(lang, key, fields);
    panel.node.replaceChildren(...content(value, lang, t, status.asOf, actions));
    if (focused) panel.node.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  };

  status.onChange(draw);
  look.onChange(draw);
  return panel;
}

function content(value, lang, t, asOf, actions) {
  if (!value) return [h('div', { class: 'wb-bone' }), h('div', { class: 'wb-bone' })];
  if (value.configured === false) return [h('p', { class: 'wb-note' }, t('not_configured'))];
  const offline = value.node === 'offline' ? [notice(t('node_offline'), asOf ? t('as_of', { time: clock(asOf) }) : t('seen_never'))] : [];
  if (!value.signed_in) return [...offline, signedOut(value, t, actions)];
  const stale = offline.length > 0;
  const body = h('div', { class: stale ? 'wb-stale' : '' }, who(value, lang, t, actions), pages(value, lang, t, actions),
    running(value, lang, t, actions), nodes(value, lang, t), evidence(value, t), demo(value, t));
  return [...offline, body];
}

function notice(sentence, detail) {
  return h('div', { class: 'wb-failed', role: 'status' }, icon('unlink'), h('span', {}, sentence, h('small', {}, detail)));
}

function signedOut(value, t, actions) {
  return h('section', {}, h('h2', {}, t('workbench')), h('p', { class: 'wb-strong' }, t(value.ended ? 'session_ended' : 'signed_out')),
    h('button', { class: 'wb-button wb-go', 'data-key': 'sign-in', onclick: actions.signIn }, t('sign_in')),
    actions.blocked() ? h('p', {}, h('a', { href: actions.signInUrl(), target: '_blank' }, t('popup_blocked'))) : null,
    h('p', { class: 'wb-note' }, t('password_hint')));
}

function heading(words, extra) { return h('h3', {}, words, extra ? h('span', {}, extra) : null); }

function who(value, lang, t, actions) {
  const { me, party_zh, party_en } = value.me;
  const party = lang === 'zh' ? party_zh : party_en;
  const roles = me.role_names.map((pair) => pair[lang === 'zh' ? 0 : 1]).join(lang === 'zh' ? '、' : ', ');
  return h('section', { class: 'wb-who' }, h('span', { class: 'wb-tile wb-mine', 'aria-hidden': 'true', lang: 'zh-CN' }, party_zh.slice(0, 1)),
    h('div', { class: 'wb-grow' }, h('div', { class: 'wb-strong' }, party), h('div', {}, `${me.display_name} · ${roles}`),
      h('small', { title: t('zone') }, t('until', { time: clock(value.until_ms).slice(0, 5) }))),
    h('button', { class: 'wb-button wb-small', 'data-key': 'sign-out', onclick: actions.signOut }, t('sign_out')));
}

function pages(value, lang, t, actions) {
  const counts = actions.counts(value);
  const rows = value.pages.pages.map((page) => {
    const title = lang === 'zh' ? page.title_zh : page.title_en;
    const count = counts[page.name] || 0;
    return h('button', { class: 'wb-row', 'data-key': `page-${page.name}`, onclick: () => actions.open(page.name) }, icon(page.icon), h('span', { class: 'wb-grow' }, title),
      count ? h('span', { class: 'wb-count', title: t('count', { count }) }, number(count)) : null);
  });
  const faults = value.pages.faults.map((one) => h('p', { class: 'wb-note wb-ink-failed' }, icon('warning'), t('plugin_faulty', { plugin: one.plugin })));
  return h('nav', { 'aria-label': t('pages') }, heading(t('pages')), rows, faults);
}

function running(value, lang, t, actions) {
  const jobs = value.status.running || [];
  const rows = jobs.map((job) => {
    const share = job.total ? Math.min(100, Math.floor((100 * job.done) / job.total)) : 0;
    const phase = job.state === 'SEALING' ? t('sealing') : t('progress', { phase: PHASES[lang][job.name] || job.name || '', percent: share });
    const bar = h('span', { class: 'wb-bar', role: 'progressbar', 'aria-valuenow': share, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': phase }, h('i', { width: `${share}%` }));
    return h('button', { class: 'wb-job', 'data-key': `job-${job.job}`, title: job.job, onclick: () => actions.open('intersection', { job: job.job }) },
      h('span', { class: 'wb-line' }, h('b', {}, `…${SHORT_ID.exec(job.job)?.[1] || job.job}`), h('span', { class: 'wb-grow' }, phase)), bar);
  });
  return h('section', {}, heading(t('running')), rows.length ? rows : h('p', { class: 'wb-note' }, t('none_running')));
}

function nodes(value, lang, t) {
  const rows = (value.status.nodes || []).map((node) => {
    const state = value.node === 'offline' && node.party === value.status.party ? 'silent' : node.state;
    const fine = state === 'ok';
    const word = t({ ok: 'online', clock: 'clock' }[state] || 'offline');
    const name = lang === 'zh' ? node.name_zh : node.name_en;
    const problem = lang === 'zh' ? node.problem_zh : node.problem_en;
    return h('div', { class: 'wb-node', title: problem || '' }, h('span', { class: `wb-tile${node.party === value.status.party ? ' wb-mine' : ''}`, 'aria-hidden': 'true', lang: 'zh-CN' }, node.name_zh.slice(0, 1)),
      h('span', { class: 'wb-grow' }, name), h('span', { class: fine ? 'wb-ink-sealed' : 'wb-ink-failed' }, icon(fine ? 'check' : 'unlink'), word));
  });
  return h('section', {}, heading(t('nodes')), rows);
}

function evidence(value, t) {
  const { sealed = 0, pending = 0, health = [] } = value.status;
  const todo = health.filter((one) => one.state === 'failed').length;
  return h('section', {}, heading(t('evidence')), h('div', { class: 'wb-node wb-ink-sealed' }, icon('lock'), t('sealed', { count: number(sealed) })),
    h('div', { class: `wb-node ${pending ? 'wb-ink-pending' : 'wb-dim'}` }, icon('hourglass'), t('pending', { count: number(pending) })),
    todo ? h('div', { class: 'wb-node wb-ink-failed' }, icon('warning'), t('health', { count: todo })) : null);
}

function demo(value, t) {
  if (value.me.workspace === 'production') return null;
  return h('div', { class: 'wb-simulated', title: t('synthetic_hint') }, icon('flask'), t('synthetic'));
}

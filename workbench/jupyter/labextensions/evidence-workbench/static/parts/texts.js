// Sentences in both languages, the same keys with the same fields (tested in tests/jupyter/test_lab_texts.py).
export const TEXTS = {
  zh: {
    workbench: '证据工作台', sign_in: '登录', sign_out: '登出', signed_out: '未登录',
    password_hint: '密码只在本机构节点的页面上输入，不经过 JupyterLab', waiting: '请在打开的窗口里登录', popup_blocked: '浏览器拦住了登录窗口，点此打开',
    until: '会话到 {time}', pages: '页面', running: '正在进行', nodes: '机构节点', evidence: '证据', sealed: '已封存 {count}', pending: '待封存 {count}',
    none_running: '没有正在进行的求交', online: '在线', offline: '没有回应', clock: '时钟不准', own: '本机构', as_of: '截至 {time}', node_offline: '本机构的节点没有回应。运维检查节点是否运行',
    not_configured: '这个 JupyterLab 没有连接任何节点', synthetic: '合成数据 · 演示同处一机', plugin_faulty: '插件 {plugin} 的页面出错', language: 'English', language_hint: '切换语言',
    light: '浅色', dark: '深色', theme_hint: '切换明暗', open: '打开 {page}', count: '{count} 项', reload: '重新载入', seen_never: '尚未连上',
    session_ended: '登录已结束，请重新登录', zone: '时间为 Asia/Shanghai', progress: '{phase} {percent} %', sealing: '等待共签', health: '{count} 项要处理',
    synthetic_hint: '数据由程序生成，不对应任何真实的人；一台机器上的一个系统用户拥有全部机构',
  },
  en: {
    workbench: 'Evidence Workbench', sign_in: 'Sign in', sign_out: 'Sign out', signed_out: 'Not signed in',
    password_hint: 'The password is entered on the node\'s own page, not in JupyterLab', waiting: 'Sign in in the window that opened', popup_blocked: 'The browser blocked the window; open it here',
    until: 'Session until {time}', pages: 'Pages', running: 'Running', nodes: 'Nodes', evidence: 'Evidence', sealed: '{count} sealed', pending: '{count} pending',
    none_running: 'No intersection is running', online: 'online', offline: 'no answer', clock: 'clock is off', own: 'ours', as_of: 'as of {time}', node_offline: 'The node of this institution does not answer. Operations check whether it runs',
    not_configured: 'This JupyterLab is connected to no node', synthetic: 'Synthetic data · one trust domain', plugin_faulty: 'The pages of plugin {plugin} have a fault', language: '中文', language_hint: 'Switch language',
    light: 'Light', dark: 'Dark', theme_hint: 'Switch light and dark', open: 'Open {page}', count: '{count} items', reload: 'Reload', seen_never: 'not yet seen',
    session_ended: 'The session has ended; sign in again', zone: 'Times are Asia/Shanghai', progress: '{phase} {percent} %', sealing: 'waiting for co-signatures', health: '{count} to do',
    synthetic_hint: 'The data is generated and belongs to no real person; one user of one machine owns every institution',
  },
};

// Phases as docs/protocols/intersection.md names them.
export const PHASES = {
  zh: { prepare: '准备', mask: '遮蔽标识', compare: '比对密文', count: '核对人数', strike: '剔除已撤回', reveal: '揭示', check: '放行前复核', 'compare-results': '核对结果' },
  en: { prepare: 'preparing', mask: 'masking', compare: 'comparing', count: 'counting', strike: 'striking withdrawn', reveal: 'revealing', check: 'last check', 'compare-results': 'comparing results' },
};

export function text(lang, key, fields = {}) {
  return TEXTS[lang][key].replace(/\{(\w+)\}/g, (_, name) => String(fields[name]));
}

export function number(value) { return new Intl.NumberFormat('en-US').format(value); }

export function clock(ms) {
  return new Intl.DateTimeFormat('en-GB', { timeZone: 'Asia/Shanghai', hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(new Date(ms));
}

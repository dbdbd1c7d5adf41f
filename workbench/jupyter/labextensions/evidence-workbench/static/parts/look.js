// Language and theme of the workbench: the theme is Lab's, the language is the person's choice, Chinese first.
const KEY = 'evidence-workbench:language';

export class Look {
  constructor(themes, translator) {
    this.themes = themes;
    this.listeners = [];
    const stored = window.localStorage.getItem(KEY);
    const labs = translator?.languageCode || '';
    this.lang = stored === 'zh' || stored === 'en' ? stored : (labs && !labs.startsWith('zh') && labs !== 'en' && labs !== 'default' ? 'en' : 'zh');
    themes?.themeChanged.connect(() => this.tell());
  }

  value() { return { lang: this.lang, theme: this.isDark() ? 'dark' : 'light' }; }

  isDark() { return Boolean(this.themes?.theme) && !this.themes.isLight(this.themes.theme); }

  onChange(listener) { this.listeners.push(listener); }

  tell() { for (const listener of this.listeners) listener(this.value()); }

  switchLanguage() {
    this.lang = this.lang === 'zh' ? 'en' : 'zh';
    window.localStorage.setItem(KEY, this.lang);
    this.tell();
  }

  switchTheme() { return this.themes?.setTheme(this.isDark() ? 'JupyterLab Light' : 'JupyterLab Dark'); }
}

// The contract of a prebuilt extension: window._JUPYTERLAB[name] = {init(scope), get(module)}. Lab's own packages come
// from the scope it hands over; the parts beside this file are plain modules, so there is nothing to build.
(() => {
  const NAME = 'evidence-workbench';
  const here = new URL('.', document.currentScript.src).href;
  const PACKAGES = ['@jupyterlab/application', '@jupyterlab/apputils', '@jupyterlab/coreutils', '@jupyterlab/launcher', '@jupyterlab/services',
    '@jupyterlab/statusbar', '@jupyterlab/translation', '@jupyterlab/ui-components', '@lumino/widgets'];
  let scope;

  const shared = async (name) => {
    const versions = scope[name];
    if (!versions) throw new Error(`JupyterLab does not share ${name}`);
    return (await Object.values(versions)[0].get())();
  };

  const load = async () => {
    const [{ makePlugin }, ...packages] = await Promise.all([import(`${here}parts/plugin.js`), ...PACKAGES.map(shared)]);
    const lab = Object.assign({}, ...packages);
    return { __esModule: true, default: [makePlugin(lab, here)] };
  };

  (window._JUPYTERLAB = window._JUPYTERLAB || {})[NAME] = {
    init: (given) => { scope = given; },
    get: async (module) => {
      if (module !== './extension') throw new Error(`${NAME} has no module ${module}`);
      const loaded = await load();
      return () => loaded;
    },
  };
})();

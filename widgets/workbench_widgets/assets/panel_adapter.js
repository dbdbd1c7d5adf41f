// Gives a component the model it expects on top of Panel's: one text property of JSON per trait, prefixed with "t_".
function panelModel(model) {
  const pending = {};
  const cache = new Map();
  const get = (name) => {
    if (name in pending) return pending[name];
    const text = model[`t_${name}`];
    const held = cache.get(name);
    if (held?.text === text) return held.value;
    const value = JSON.parse(text);
    cache.set(name, { text, value });
    return value;
  };
  return {
    get,
    set(name, value) { pending[name] = value; },
    save_changes() {
      for (const [name, value] of Object.entries(pending)) {
        delete pending[name];
        model[`t_${name}`] = JSON.stringify(value);
      }
    },
    on(event, call) { const name = event.replace(/^change:/, ""); model.on(`t_${name}`, call); },
    off(event, call) { const name = event.replace(/^change:/, ""); model.off(`t_${name}`, call); },
    send() {},
  };
}
export default {
  render({ model, el }) {
    const stop = COMPONENT.render({ model: panelModel(model), el });
    model.on("remove", stop);
  },
};

// Takes one file and hands it over piece by piece: a message of the page's connection may hold 8 MB, a list more.
const PIECE = 1 << 20;

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

export default {
  render({ model, el }) {
    const zone = document.createElement("label");
    zone.className = "zone";
    const input = document.createElement("input");
    input.type = "file";
    input.accept = model.accept;
    const name = document.createElement("b");
    const hint = document.createElement("span");
    hint.className = "meta";
    const bar = document.createElement("progress");
    bar.max = 1;
    const state = document.createElement("span");
    state.className = "meta";
    state.setAttribute("role", "status");
    zone.append(input, name, hint, bar, state);
    el.append(zone);

    let waiting = null;
    let round = 0;
    model.on("msg:custom", (event) => { waiting?.(event.data); });
    const ask = (message) => new Promise((done) => { waiting = done; model.send_msg(message); });

    async function send(file) {
      const texts = JSON.parse(model.texts);
      round += 1;
      const mine = round;
      if (file.size > model.limit) { model.send_msg({ kind: "too_large", name: file.name, size: file.size }); input.value = ""; return; }
      input.disabled = true;
      bar.hidden = false;
      for (let at = 0; at === 0 || at < file.size; at += PIECE) {
        const piece = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
        const answer = await ask({ kind: "piece", round: mine, name: file.name, size: file.size, at, data: base64(piece) });
        if (!answer?.ok) break;
        bar.value = file.size ? Math.min(1, (at + piece.length) / file.size) : 1;
        state.textContent = texts.sending.replace("{share}", Math.floor(bar.value * 100));
      }
      state.textContent = "";
      bar.hidden = true;
      input.disabled = false;
      input.value = "";
    }

    const draw = () => {
      const texts = JSON.parse(model.texts);
      name.textContent = texts.choose;
      hint.textContent = texts.hint;
    };
    bar.hidden = true;
    input.addEventListener("change", () => { if (input.files[0]) send(input.files[0]); });
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer.files[0] && !input.disabled) send(event.dataTransfer.files[0]);
    });
    model.on("texts", draw);
    draw();
  },
};

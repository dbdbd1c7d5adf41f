// A button that opens the neighbouring side column as a drawer on narrow pages. Wide pages show the column in its place
// and hide the button. While the drawer is open everything else is inert, so the keyboard stays in it.
const NARROW = window.matchMedia("screen and (max-width: calc(DRAWER_PXpx - 1px))");

export default {
  render({ model, el }) {
    const opener = document.createElement("button");
    const closer = document.createElement("button");
    const veil = document.createElement("div");
    for (const one of [opener, closer]) one.type = "button";
    opener.className = "opener";
    opener.setAttribute("aria-haspopup", "dialog");
    closer.className = "closer";
    veil.className = "veil";
    el.replaceChildren(opener, veil, closer);

    const root = el.getRootNode(); // shadow root of this component
    const place = () => root.host ?? el;
    const side = () => [...(place().parentNode?.children ?? [])].find((one) => one.classList.contains("wb-side"));
    let still = [];
    let isOpen = false;

    // Everything beside the way from the drawer to the document rests, the drawer and this button's host do not.
    const rest = (drawer) => {
      for (let at = drawer; at && at !== document.documentElement;) {
        const parent = at.parentNode;
        for (const one of parent?.children ?? []) {
          if (one !== at && one !== place() && !one.inert && !/^(STYLE|SCRIPT|LINK)$/.test(one.tagName)) { one.inert = true; still.push(one); }
        }
        at = parent instanceof ShadowRoot ? parent.host : parent;
      }
    };
    const draw = () => {
      opener.textContent = model.label;
      closer.setAttribute("aria-label", `${model.close}: ${model.label}`);
      closer.textContent = `${model.close} ✕`;
      opener.setAttribute("aria-expanded", String(isOpen));
      opener.inert = isOpen;
      el.classList.toggle("open", isOpen);
      el.classList.toggle("narrow", NARROW.matches);
      const drawer = side();
      drawer?.classList.toggle("wb-open", isOpen);
      if (!drawer) return;
      if (isOpen) {
        drawer.setAttribute("role", "dialog");
        drawer.setAttribute("aria-modal", "true");
        drawer.setAttribute("aria-label", model.label);
      } else for (const name of ["role", "aria-modal", "aria-label"]) drawer.removeAttribute(name);
    };
    const close = (focus) => {
      if (!isOpen) return;
      isOpen = false;
      for (const one of still.splice(0)) one.inert = false;
      draw();
      if (focus) opener.focus();
    };
    const open = () => {
      const drawer = side();
      if (!drawer || !NARROW.matches) return;
      isOpen = true;
      draw();
      rest(drawer);
      closer.focus();
    };
    // Before the page's own Escape, which would stop a run.
    const pressed = (event) => {
      if (event.key !== "Escape" || !isOpen) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      close(true);
    };
    const narrowed = () => { if (!NARROW.matches) close(false); draw(); };

    opener.addEventListener("click", open);
    closer.addEventListener("click", () => close(true));
    veil.addEventListener("click", () => close(true));
    window.addEventListener("keydown", pressed, true);
    NARROW.addEventListener("change", narrowed);
    for (const name of ["label", "close"]) model.on(name, draw);
    draw();
    return () => {
      close(false);
      window.removeEventListener("keydown", pressed, true);
      NARROW.removeEventListener("change", narrowed);
    };
  },
};

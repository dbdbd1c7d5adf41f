// The lowest contrast of any visible text of the page, through every shadow root, by the formula of WCAG 2.x.
() => {
  const channel = (value) => { const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parse = (text) => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const above = (element) => element.parentElement ?? element.getRootNode().host;
  const behind = (element) => {
    for (let one = element; one; one = above(one)) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  let lowest = { ratio: 21, text: "", count: 0 };
  const look = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) look(element.shadowRoot);
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      const shown = element.getClientRects().length && getComputedStyle(element).visibility === "visible" && !element.closest(".sr");
      if (!own || !shown || element.closest("style, script, option")) continue;
      lowest.count += 1;
      const colour = getComputedStyle(element).color;
      const [a, b] = [luminance(parse(colour)), luminance(behind(element))].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < lowest.ratio) lowest = { ...lowest, ratio, text: element.textContent.slice(0, 40) };
    }
  };
  look(document.querySelector("#page"));
  return lowest;
}

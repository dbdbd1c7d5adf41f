// Elements from descriptions. Everything shown is set as text; no string is ever read as markup.
const SVG = 'http://www.w3.org/2000/svg';

export function h(tag, props = {}, ...kids) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) el.addEventListener(name.slice(2), value);
    else if (name === 'width') el.style.width = value;
    else el.setAttribute(name, value === true ? '' : String(value));
  }
  el.append(...kids.flat().filter((kid) => kid !== null && kid !== undefined && kid !== false));
  return el;
}

const PATHS = {
  home: 'M4 11l8-7 8 7v9h-5v-6H9v6H4z', join_inner: 'M9 6a6 6 0 100 12A6 6 0 009 6zM15 6a6 6 0 100 12 6 6 0 000-12z',
  inbox: 'M4 13l2-8h12l2 8v6H4zM4 13h5l1 3h4l1-3h5', account_tree: 'M4 4h6v5H4zM14 4h6v5h-6zM14 15h6v5h-6zM10 6.500h4M12 6.500V17.500h2',
  how_to_reg: 'M10 11a3.500 3.500 0 100-7 3.500 3.500 0 000 7zM3 20c0-4 3-6 7-6 1 0 2 .1 3 .5M14 18l2 2 5-5', settings_ethernet: 'M7 8l-4 4 4 4M17 8l4 4-4 4M8 12h.1M12 12h.1M16 12h.1',
  forum: 'M4 4h12v8H8l-4 4zM10 15h6l4 4V8', speed: 'M4 18a9 9 0 1116 0M12 14l5-6', policy: 'M12 3l7 3v5c0 5-3 8.500-7 10-4-1.500-7-5-7-10V6z',
  monitor_heart: 'M3 5h18v14H3zM3 12h5l2-3 3 6 2-3h6', lock: 'M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 017 0v3',
  hourglass: 'M7 3h10M7 21h10M8 3v4l4 5 4-5V3M8 21v-4l4-5 4 5v4', check: 'M5 12.500l4.500 4.500L19 7.500',
  unlink: 'M9 7H7a5 5 0 000 10h2M15 7h2a5 5 0 013.500 8.500M8 12h4M4 4l16 16', flask: 'M9 3h6M10 3v6l-5 9a2 2 0 002 3h10a2 2 0 002-3l-5-9V3M8 15h8',
  timer: 'M9 2h6M12 13V9M12 5a8 8 0 100 16 8 8 0 000-16z', dns: 'M4 4h16v7H4zM4 13h16v7H4zM7.500 7.500h.1M7.500 16.500h.1',
  page: 'M6 3h9l4 4v14H6zM9 11h7M9 15h7', warning: 'M12 4l9 16H3zM12 10v5M12 17.500v.1',
  workbench: 'M12 3l8 4.500v9L12 21l-8-4.500v-9zM8 12a4 4 0 108 0 4 4 0 00-8 0z',
};

export function svgText(name) {
  return `<svg xmlns="${SVG}" width="16" viewBox="0 0 24 24"><path d="${PATHS[name] || PATHS.page}" fill="none" class="jp-icon3-stroke"`
    + ' stroke="#616161" stroke-width="1.800" stroke-linecap="round" stroke-linejoin="round"/></svg>';
}

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', 'wb-icon');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name] || PATHS.page);
  svg.append(path);
  return svg;
}

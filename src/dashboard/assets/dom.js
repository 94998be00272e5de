// Builds elements. Data only ever becomes text or an attribute's value here, never markup.

const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = new Set(['value', 'checked', 'indeterminate', 'disabled', 'selected', 'open', 'hidden']);

function assign(element, props) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) {
      if (value === false && PROPERTIES.has(name)) element[name] = false;
    } else if (name === 'class') {
      element.setAttribute('class', Array.isArray(value) ? value.filter(Boolean).join(' ') : value);
    } else if (name === 'data') {
      Object.assign(element.dataset, value);
    } else if (name === 'style') {
      for (const [key, part] of Object.entries(value)) element.style.setProperty(key, part);
    } else if (name.startsWith('on') && typeof value === 'function') {
      element.addEventListener(name.slice(2).toLowerCase(), value);
    } else if (PROPERTIES.has(name)) {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** `h('p', {class: 'muted', onclick}, 'text', node, [more])`; null and false are left out. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  assign(element, props);
  append(element, children);
  return element;
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  const element = document.createElementNS(SVG, tag);
  assign(element, props);
  append(element, children);
  return element;
}

/** Puts children in the place of those that are there. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

const sprite = new URL('icons.svg', import.meta.url).href;

/** A picture beside a text; pass a label where it stands alone. */
export function icon(name, label) {
  const props = label ? { class: 'icon', role: 'img', 'aria-label': label } : { class: 'icon', 'aria-hidden': 'true' };
  return s('svg', props, s('use', { href: `${sprite}#${name}` }));
}

let ids = 0;
/** An id for `for` and `aria-describedby`. */
export function uid(prefix = 'id') {
  ids += 1;
  return `${prefix}-${ids}`;
}

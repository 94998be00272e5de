// What pages are built of: buttons, badges, cards, states, tables, pagers, fields, dialogs, toasts.

import { ApiError } from './api.js';
import { fill, h, icon, uid } from './dom.js';
import { hasText, t, word } from './i18n.js';

// --- Buttons and links

/** `kind`: primary, danger, plain; `iconName` before the text. */
export function button(text, { kind = '', iconName, small, ...props } = {}) {
  return h('button', { type: 'button', class: ['button', kind, small && 'small'], ...props }, iconName && icon(iconName), h('span', {}, text));
}

/** A button that is only a picture; its label is read out and shown on hover. */
export function iconButton(name, label, props = {}) {
  return h('button', { type: 'button', class: ['button', 'square', props.kind], 'aria-label': label, title: label, ...props, kind: null }, icon(name));
}

export function linkButton(text, href, { kind = '', iconName, small, ...props } = {}) {
  return h('a', { class: ['button', kind, small && 'small'], href, ...props }, iconName && icon(iconName), h('span', {}, text));
}

/** Keeps a button busy while its work goes on, so that it can't be pressed twice. */
export async function busy(element, work) {
  if (!element) return work();
  if (element.getAttribute('aria-busy') === 'true') return undefined;
  element.setAttribute('aria-busy', 'true');
  element.disabled = true;
  try {
    return await work();
  } finally {
    element.removeAttribute('aria-busy');
    element.disabled = false;
  }
}

// --- Badges

/** `tone`: ok, info, warn, high, bad, mute. */
export function badge(text, tone = 'mute', { iconName, title } = {}) {
  return h('span', { class: ['badge', tone], title }, iconName && icon(iconName), text);
}

const SEVERITY_TONE = { info: 'info', warning: 'warn', minor: 'warn', major: 'high', critical: 'bad' };
const SEVERITY_ICON = { info: 'info', warning: 'warning', minor: 'warning', major: 'warning', critical: 'critical' };

export function severityTone(severity) {
  return SEVERITY_TONE[severity] || 'mute';
}

export function severityBadge(severity) {
  return badge(word('severity', severity), severityTone(severity), { iconName: SEVERITY_ICON[severity] });
}

const QUALITY_TONE = { good: 'ok', uncertain: 'warn', bad: 'bad' };

export function qualityBadge(quality) {
  return badge(word('quality', quality), QUALITY_TONE[quality] || 'mute');
}

/** How a device stands: blocked and pending before online and offline. */
export function deviceState(device) {
  if (device.retired_at) return 'retired';
  if (device.approval && device.approval !== 'active') return device.approval;
  return device.online ? 'online' : 'offline';
}

const STATE_TONE = { online: 'ok', offline: 'mute', pending: 'warn', blocked: 'bad', retired: 'mute' };

export function deviceBadge(state) {
  return h('span', { class: ['badge', 'state', STATE_TONE[state]] }, h('span', { class: ['dot', state] }), word('device_state', state));
}

// --- Structure

/** The head of a page: its title, what stands beneath, and what can be done. */
export function pageHead(title, { sub, actions, back } = {}) {
  return h('header', { class: 'page-head' },
    back && h('a', { class: 'back', href: back.href }, icon('left'), back.text),
    h('div', { class: 'page-title' },
      h('div', { class: 'grow' }, h('h1', { tabindex: '-1' }, title), sub && h('div', { class: 'sub' }, sub)),
      actions && h('div', { class: 'actions' }, actions)));
}

export function card({ title, actions, sub, class: extra, id } = {}, ...body) {
  const heading = title && h('h2', { id: id || uid('card') }, title);
  return h('section', { class: ['card', extra], 'aria-labelledby': heading?.id },
    title && h('div', { class: 'card-head' }, h('div', { class: 'grow' }, heading, sub && h('p', { class: 'sub' }, sub)), actions && h('div', { class: 'actions' }, actions)),
    body);
}

/** Names and values; entries are [name, value], those without a value are left out. */
export function facts(entries) {
  return h('dl', { class: 'facts' }, entries
    .filter((entry) => entry && entry[1] !== null && entry[1] !== undefined && entry[1] !== '')
    .map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

export function labelChips(labels) {
  // In an order of their own: the answer's may differ from one to the next.
  const entries = Object.entries(labels || {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return entries.length ? h('span', { class: 'chips' }, entries.map(([name, value]) =>
    h('span', { class: 'chip', title: `${name}: ${value}` }, h('span', { class: 'chip-name' }, name), h('span', { class: 'chip-value' }, String(value))))) : null;
}

/** Tabs that are links; `tabs`: [{key, text, href, count}]. */
export function tabs(list, current, label) {
  return h('nav', { class: 'tabs', 'aria-label': label }, list.filter(Boolean).map((tab) =>
    h('a', { href: tab.href, 'aria-current': tab.key === current ? 'page' : null }, tab.text,
      tab.count ? h('span', { class: 'count' }, String(tab.count)) : null)));
}

/** A choice of a few, side by side; `options`: [[value, text]]. Calls back with the value. */
export function segmented(options, value, onchange, label) {
  const group = h('div', { class: 'segmented', role: 'group', 'aria-label': label });
  fill(group, options.map(([key, text]) => h('button', {
    type: 'button', 'aria-pressed': String(key === value), onclick: (event) => {
      for (const other of group.children) other.setAttribute('aria-pressed', String(other === event.currentTarget));
      onchange(key);
    },
  }, text)));
  return group;
}

// --- States

export function skeleton(lines = 3) {
  return h('div', { class: 'skeleton', 'aria-hidden': 'true' }, Array.from({ length: lines }, () => h('span', {})));
}

export function emptyState({ iconName = 'inbox', title, text, actions } = {}) {
  return h('div', { class: 'empty' }, h('div', { class: 'empty-icon' }, icon(iconName)), h('h3', {}, title), text && h('p', {}, text), actions && h('div', { class: 'actions' }, actions));
}

/** What happened, in the viewer's language where it can be told, with what the server said. */
export function problemText(error) {
  if (error instanceof ApiError) {
    const key = error.isNetwork ? 'errors.network' : `errors.${error.status}`;
    const said = error.detail && !error.isNetwork ? error.detail : '';
    if (error.status === 422 && said) return said;
    const text = hasText(key) ? t(key) : t('errors.unknown', { status: error.status });
    return said && error.status !== 401 ? `${text} ${t('errors.said', { detail: said })}` : text;
  }
  return t('errors.page', { detail: error?.message || String(error) });
}

export function errorState(error, retry) {
  return h('div', { class: 'empty error', role: 'alert' }, h('div', { class: 'empty-icon' }, icon('warning')), h('h3', {}, t('errors.title')), h('p', {}, problemText(error)),
    error?.requestId && h('p', { class: 'muted small-text' }, t('errors.request', { id: error.requestId })),
    retry && h('div', { class: 'actions' }, button(t('actions.retry'), { iconName: 'refresh', onclick: retry })));
}

/**
 * Fills an element with what a read gives: a skeleton, then `show(data)`, or what went wrong with a way
 * to try again. Returns a function that reads again without the skeleton.
 */
export function load(element, read, show, { lines = 4, signal, hideMissing } = {}) {
  const again = async (isQuiet) => {
    if (!isQuiet) {
      fill(element, skeleton(lines));
      element.setAttribute('aria-busy', 'true');
    }
    try {
      const data = await read();
      if (!signal?.aborted) fill(element, show(data));
    } catch (error) {
      if (signal?.aborted || error?.name === 'AbortError') return;
      if (hideMissing && error.status === 404) element.hidden = true;
      else if (!isQuiet) fill(element, errorState(error, () => again(false)));
      if (!(error instanceof ApiError)) console.error(error);
    } finally {
      element.removeAttribute('aria-busy');
    }
  };
  again(false);
  return () => again(true);
}

// --- Tables

/**
 * A table that becomes cards on a phone.
 * `columns`: [{key, label, render(row), sort?: key, descending?, align?: 'end', wide?, primary?, hideLabel?}];
 * `sort`: 'key' or '-key'; `onSort(next)`. `href(row)` makes the whole row lead there.
 * Returns {element, set(rows), rowOf(key)}; `rowKey(row)` names rows.
 */
export function table({ columns, caption, sort, onSort, href, rowKey = (row) => row.id, empty, rowClass, selection }) {
  const body = h('tbody', {});
  const shown = new Map();
  const all = selection && h('input', { type: 'checkbox', 'aria-label': t('table.select_all'), onchange: () => selectAll(all.checked) });
  const head = h('tr', {}, selection && h('th', { class: 'select' }, all), columns.map((column) => headCell(column)));
  const element = h('div', { class: 'table-wrap', tabindex: '-1' }, h('table', { class: 'table' }, h('caption', { class: 'sr-only' }, caption), h('thead', {}, head), body));
  const rest = h('div', { hidden: true });
  const whole = h('div', { class: 'table-box' }, element, rest);

  function headCell(column) {
    const isSorted = sort && (sort === column.sort || sort === `-${column.sort}`);
    const isDown = isSorted && sort.startsWith('-');
    const content = column.sort && onSort
      ? h('button', { type: 'button', class: 'sort', onclick: () => onSort(nextSort(column, isSorted, isDown)) }, column.label,
        h('span', { class: ['sort-mark', isSorted && 'on'] }, icon(isDown ? 'down' : 'up')))
      : h('span', { class: column.hideLabel && 'sr-only' }, column.label);
    return h('th', { scope: 'col', class: [column.align === 'end' && 'end', column.class], 'aria-sort': isSorted ? (isDown ? 'descending' : 'ascending') : null }, content);
  }

  /** `descending` columns begin with the largest. */
  function nextSort(column, isSorted, isDown) {
    const isNextDown = isSorted ? !isDown : Boolean(column.descending);
    return isNextDown ? `-${column.sort}` : column.sort;
  }

  function rowElement(row) {
    const key = rowKey(row);
    const cells = columns.map((column) => h(column.primary ? 'th' : 'td', {
      scope: column.primary ? 'row' : null, class: [column.align === 'end' && 'end', column.primary && 'primary', column.class], 'data-label': column.hideLabel ? '' : column.label,
    }, column.render(row)));
    const tick = selection && h('input', {
      type: 'checkbox', checked: selection.has(key), 'aria-label': t('table.select', { name: selection.name?.(row) ?? key }), onchange: (event) => selection.set(key, event.target.checked),
    });
    return h('tr', { class: [href && 'leads', rowClass?.(row)], data: { key }, onclick: href && ((event) => {
      if (event.target.closest('a, button, input, select, label, summary') || getSelection()?.toString()) return;
      const to = href(row);
      if (!to) return;
      if (event.metaKey || event.ctrlKey) open(to, '_blank');
      else location.hash = to;
    }) }, selection && h('td', { class: 'select' }, tick), cells);
  }

  function selectAll(value) {
    for (const [key, { element: row }] of shown) {
      selection.set(key, value);
      row.querySelector('.select input').checked = value;
    }
  }

  return {
    element: whole,
    set(rows) {
      const next = rows.map((row) => [rowKey(row), rowElement(row), row]);
      const focus = body.contains(document.activeElement) ? document.activeElement.closest('tr')?.dataset.key : null;
      shown.clear();
      for (const [key, row, data] of next) shown.set(key, { element: row, data });
      body.replaceChildren(...next.map(([, row]) => row));
      if (all) all.checked = false;
      element.hidden = rows.length === 0;
      rest.hidden = rows.length > 0;
      fill(rest, rows.length === 0 && (typeof empty === 'function' ? empty() : empty || emptyState({ title: t('table.empty') })));
      if (focus) body.querySelector(`tr[data-key="${CSS.escape(focus)}"] :is(a, button, input)`)?.focus({ preventScroll: true });
    },
    /** Shows some cells of one row anew, by the keys of their columns; the others stay as they are. */
    patch(key, change, only) {
      const found = shown.get(key);
      if (!found) return false;
      found.data = typeof change === 'function' ? change(found.data) : { ...found.data, ...change };
      columns.forEach((column, at) => {
        if (!only || only.includes(column.key)) fill(found.element.children[at + (selection ? 1 : 0)], column.render(found.data));
      });
      return true;
    },
    rows: () => [...shown.values()].map(({ data }) => data),
    keys: () => [...shown.keys()],
  };
}

/** "1–50 of 5,000" with steps; for lists that count. */
export function pager({ page, per_page: size, total }, onPage) {
  const pages = Math.max(1, Math.ceil(total / size));
  const first = total === 0 ? 0 : (page - 1) * size + 1;
  const step = (to, name, label) => iconButton(name, label, { disabled: to < 1 || to > pages || to === page, onclick: () => onPage(to) });
  return h('nav', { class: 'pager', 'aria-label': t('pager.label') },
    h('span', { class: 'muted tabular' }, t('pager.range', { first, last: Math.min(total, page * size), total })),
    pages > 1 && h('span', { class: 'pager-steps' }, step(page - 1, 'left', t('pager.previous')), h('span', { class: 'tabular' }, t('pager.page', { page, pages })), step(page + 1, 'right', t('pager.next'))));
}

/** For lists by cursor. */
export function moreButton(onMore) {
  const element = button(t('pager.more'), { onclick: () => busy(element, onMore) });
  return h('div', { class: 'pager center' }, element);
}

// --- Fields

function describe(control, { hint, error }) {
  const ids = [];
  const parts = [];
  if (hint) {
    const node = h('p', { class: 'hint', id: uid('hint') }, hint);
    ids.push(node.id);
    parts.push(node);
  }
  const wrong = h('p', { class: 'wrong', id: uid('wrong'), role: 'alert', hidden: !error }, error);
  ids.push(wrong.id);
  parts.push(wrong);
  control.setAttribute('aria-describedby', ids.join(' '));
  return { parts, wrong };
}

/**
 * A labelled control. `type`: text, password, number, email, search, textarea, select (`options`:
 * [[value, text]]), checkbox, datetime-local. `field.control`, `field.value`, `field.fail(text)`.
 */
export function field({ label, name, type = 'text', value = '', options, hint, required, mono, ...rest }) {
  const id = uid('field');
  let control;
  if (type === 'select') {
    control = h('select', { id, name, ...rest }, options.map(([key, text]) => h('option', { value: key, selected: String(key) === String(value) }, text)));
  } else if (type === 'textarea') {
    control = h('textarea', { id, name, required, rows: 4, spellcheck: 'false', class: mono && 'mono', ...rest });
    control.value = value ?? '';
  } else if (type === 'checkbox') {
    control = h('input', { id, name, type, checked: Boolean(value), ...rest });
  } else {
    control = h('input', { id, name, type, required, step: type === 'number' ? 'any' : null, class: mono && 'mono', ...rest });
    control.value = value ?? '';
  }
  const { parts, wrong } = describe(control, { hint });
  const caption = h('label', { for: id }, label, !required && rest.optional !== false && type !== 'checkbox' && type !== 'select' && rest.optional ? h('span', { class: 'muted' }, ` ${t('form.optional')}`) : null);
  const element = type === 'checkbox'
    ? h('div', { class: 'field check' }, control, h('div', {}, caption, parts))
    : h('div', { class: 'field' }, caption, control, parts);
  return {
    element,
    control,
    name,
    get value() {
      if (type === 'checkbox') return control.checked;
      if (type === 'number') return control.value === '' ? null : Number(control.value);
      return control.value;
    },
    set value(next) {
      if (type === 'checkbox') control.checked = next;
      else control.value = next ?? '';
    },
    fail(text) {
      wrong.textContent = text || '';
      wrong.hidden = !text;
      if (text) control.setAttribute('aria-invalid', 'true');
      else control.removeAttribute('aria-invalid');
    },
  };
}

/** Shows what the server found wrong beside the fields that it names; the rest above the form. */
export function failFields(error, fields, general) {
  let isTold = false;
  for (const one of Object.values(fields)) one.fail('');
  if (error instanceof ApiError) {
    for (const [name, one] of Object.entries(fields)) {
      const text = error.field(one.pointer || name);
      if (!text) continue;
      one.fail(text);
      if (!isTold) one.control.focus();
      isTold = true;
    }
  }
  if (general) {
    general.textContent = isTold ? '' : problemText(error);
    general.hidden = isTold;
  }
}

// --- Dialogs

/**
 * A dialog. `body` nodes, `actions` for its foot; `onsubmit(close)` makes it a form. Resolves with what
 * `close(value)` was given; undefined where it was left.
 */
export function dialog({ title, body, actions, onsubmit, wide, submit, submitKind = 'primary', cancel = true, dismissible = true }) {
  return new Promise((done) => {
    const before = document.activeElement;
    const general = h('p', { class: 'wrong form-wrong', role: 'alert', hidden: true });
    let result;
    const close = (value) => {
      result = value;
      element.close();
    };
    const heading = h('h2', { id: uid('dialog') }, title);
    const send = submit && h('button', { type: 'submit', class: ['button', submitKind] }, h('span', {}, submit));
    const foot = [
      cancel && dismissible && button(cancel === true ? t('actions.cancel') : cancel, { onclick: () => close() }),
      ...[actions].flat().filter(Boolean).map((one) => (typeof one === 'function' ? one(close) : one)),
      send,
    ].filter(Boolean);
    const inside = [
      h('div', { class: 'dialog-head' }, heading, dismissible && iconButton('close', t('actions.close'), { kind: 'plain', onclick: () => close() })),
      h('div', { class: 'dialog-body' }, general, typeof body === 'function' ? body({ close, general }) : body),
      foot.length > 0 && h('div', { class: 'dialog-foot' }, foot),
    ];
    const form = onsubmit && h('form', { novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      general.hidden = true;
      busy(send || form, () => onsubmit(close, general)).catch((error) => {
        if (error?.name === 'AbortError') return;
        general.textContent = problemText(error);
        general.hidden = false;
        if (!(error instanceof ApiError)) console.error(error);
      });
    } }, inside);
    const element = h('dialog', { class: ['dialog', wide && 'wide'], 'aria-labelledby': heading.id }, form || inside);
    element.addEventListener('cancel', (event) => {
      if (!dismissible) event.preventDefault();
    });
    element.addEventListener('close', () => {
      element.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      done(result);
    });
    document.body.append(element);
    element.showModal();
    const first = element.querySelector('[autofocus], .dialog-body :is(input:not([type=hidden]), select, textarea)');
    (first || element.querySelector('.dialog-foot button:last-child') || element).focus();
  });
}

/** Asks before something that can't be undone. */
export async function confirm({ title, text, action, kind = 'danger' }) {
  return Boolean(await dialog({ title, body: h('p', {}, text), actions: [(close) => button(action, { kind, onclick: () => close(true) })] }));
}

/** A menu behind a button; `items`: [{text, iconName, onclick | href, danger}], null is left out. */
export function menu(label, items, { iconName = 'dots', text } = {}) {
  const id = uid('menu');
  const list = h('div', { class: 'menu-list', id, popover: 'auto' });
  const opener = text
    ? button(text, { iconName, popovertarget: id })
    : iconButton(iconName, label, { kind: 'plain', popovertarget: id });
  opener.setAttribute('aria-haspopup', 'true');
  fill(list, items.filter(Boolean).map((item) => (item.href
    ? h('a', { href: item.href, class: 'menu-item', target: item.target }, item.iconName && icon(item.iconName), item.text)
    : h('button', { type: 'button', class: ['menu-item', item.danger && 'danger'], onclick: () => {
      list.hidePopover();
      item.onclick();
    } }, item.iconName && icon(item.iconName), item.text))));
  list.addEventListener('toggle', (event) => {
    if (event.newState !== 'open') return;
    const box = opener.getBoundingClientRect();
    const size = list.getBoundingClientRect();
    list.style.left = `${Math.max(8, Math.min(box.right - size.width, innerWidth - size.width - 8))}px`;
    list.style.top = `${box.bottom + size.height + 8 > innerHeight ? Math.max(8, box.top - size.height - 4) : box.bottom + 4}px`;
    list.querySelector('.menu-item')?.focus();
  });
  list.addEventListener('keydown', (event) => {
    const all = [...list.querySelectorAll('.menu-item')];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
  });
  return h('div', { class: 'menu' }, opener, list);
}

// --- Toasts, copies

/** `tone`: ok, bad, info. Bad ones stay until they are closed. */
export function toast(text, { tone = 'ok', action } = {}) {
  const box = document.getElementById('toasts');
  const element = h('div', { class: ['toast', tone] }, icon(tone === 'bad' ? 'warning' : tone === 'ok' ? 'check' : 'info'), h('span', { class: 'grow' }, text),
    action && button(action.text, { kind: 'plain', small: true, onclick: () => { action.onclick(); element.remove(); } }),
    iconButton('close', t('actions.close'), { kind: 'plain', onclick: () => element.remove() }));
  // Shown anew, it stands above a dialog that was opened meanwhile.
  if (box.matches(':popover-open')) box.hidePopover();
  box.showPopover();
  box.append(element);
  while (box.children.length > 4) box.firstChild.remove();
  if (tone !== 'bad') setTimeout(() => element.remove(), 6_000);
}

/** Runs what a button does; says how it went. */
export async function act(element, work, done) {
  try {
    const result = await busy(element, work);
    if (done) toast(typeof done === 'function' ? done(result) : done);
    return result;
  } catch (error) {
    if (error?.name === 'AbortError') return undefined;
    toast(problemText(error), { tone: 'bad' });
    if (!(error instanceof ApiError)) console.error(error);
    return undefined;
  }
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without TLS there is only the old way.
  const area = h('textarea', { class: 'sr-only', readonly: true });
  area.value = text;
  (document.querySelector('dialog[open]') || document.body).append(area);
  area.select();
  const isDone = document.execCommand('copy');
  area.remove();
  if (!isDone) throw new Error('copy');
  return undefined;
}

export function copyButton(text, label = t('actions.copy')) {
  const element = iconButton('copy', label, { kind: 'plain', onclick: async () => {
    try {
      await copy(typeof text === 'function' ? text() : text);
      element.replaceChildren(icon('check'));
      toast(t('actions.copied'));
      setTimeout(() => element.replaceChildren(icon('copy')), 2_000);
    } catch {
      toast(t('actions.not_copied'), { tone: 'bad' });
    }
  } });
  return element;
}

/** Text to be pasted elsewhere; `wrap` breaks its lines where they are too long. */
export function code(text, { label, wrap } = {}) {
  return h('div', { class: ['code', wrap && 'wrap'] }, h('pre', { tabindex: '0', 'aria-label': label || t('actions.code') }, h('code', {}, text)), copyButton(text));
}

/** Calls at most once in so many milliseconds after the last call. */
export function debounce(work, ms) {
  let timer = 0;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), ms);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** Calls at once and then at most once in so many milliseconds. */
export function throttle(work, ms) {
  let timer = 0;
  let isDue = false;
  const run = () => {
    isDue = false;
    work();
    timer = setTimeout(() => {
      timer = 0;
      if (isDue) run();
    }, ms);
  };
  return () => {
    if (timer) isDue = true;
    else run();
  };
}

/** Calls `work` every so often while the page is there and in sight. */
export function every(ms, signal, work) {
  const timer = setInterval(() => {
    if (!document.hidden) work();
  }, ms);
  const onVisible = () => {
    if (!document.hidden) work();
  };
  document.addEventListener('visibilitychange', onVisible);
  signal.addEventListener('abort', () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', onVisible);
  }, { once: true });
}



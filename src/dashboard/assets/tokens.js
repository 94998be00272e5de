// A field for several names: each becomes a chip that can be taken away; names that are known are
// suggested. Enter, comma, or leaving the field adds what was typed; Backspace takes the last away.

import { fill, h, icon, uid } from './dom.js';
import { t } from './i18n.js';

/** As `field` of ui.js: {element, control, value, fail}; `value` is a list. `known`: a list, or a promise of one. */
export function tokens({ label, name, value = [], known, hint, placeholder, optional, pattern, patternText, pointer, onchange }) {
  let list = [...value];
  const id = uid('field');
  const suggestions = h('datalist', { id: uid('known') });
  const wrong = h('p', { class: 'wrong', id: uid('wrong'), role: 'alert', hidden: true });
  const note = hint && h('p', { class: 'hint', id: uid('hint') }, hint);
  const control = h('input', {
    id, type: 'text', list: suggestions.id, placeholder, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', 'aria-describedby': [note?.id, wrong.id].filter(Boolean).join(' '),
  });
  const chips = h('span', { class: 'contents-inline' });
  const box = h('div', { class: 'tokens' }, chips, control);
  const element = h('div', { class: 'field' }, h('label', { for: id }, label, optional && h('span', { class: 'muted' }, ` ${t('form.optional')}`)), box, suggestions, note, wrong);

  function fail(text) {
    wrong.textContent = text || '';
    wrong.hidden = !text;
    if (text) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
  }

  function show() {
    fill(chips, list.map((one, at) => h('span', { class: 'token' }, h('span', { title: one }, one),
      h('button', { type: 'button', 'aria-label': t('form.remove', { name: one }), onclick: () => {
        list.splice(at, 1);
        changed();
        control.focus();
      } }, icon('close')))));
    control.placeholder = list.length ? '' : placeholder || '';
  }

  function changed() {
    show();
    onchange?.(list);
  }

  function add() {
    const names = control.value.split(',').map((one) => one.trim()).filter(Boolean);
    if (names.length === 0) {
      fail('');
      return true;
    }
    const odd = pattern && names.find((one) => !pattern.test(one));
    if (odd) {
      fail(patternText);
      return false;
    }
    fail('');
    control.value = '';
    const before = list.length;
    for (const one of names) if (!list.includes(one)) list.push(one);
    if (list.length !== before) changed();
    return true;
  }

  control.addEventListener('keydown', (event) => {
    if (event.isComposing) return;
    if (event.key === 'Enter' && control.value.trim()) {
      event.preventDefault();
      add();
    } else if (event.key === ',' || event.key === '，') {
      event.preventDefault();
      add();
    } else if (event.key === 'Backspace' && control.value === '' && list.length) {
      list.pop();
      changed();
    }
  });
  control.addEventListener('input', (event) => {
    // Chosen from the suggestions, not typed.
    if (event.inputType === 'insertReplacementText' || event.inputType === undefined) add();
  });
  control.addEventListener('change', add);
  control.addEventListener('blur', add);
  box.addEventListener('click', (event) => {
    if (event.target === box) control.focus();
  });
  Promise.resolve(known || []).then((names) => fill(suggestions, names.slice(0, 500).map((one) => h('option', { value: one })))).catch(() => {});
  show();
  return {
    element, control, name, pointer, fail,
    get value() {
      add();
      return [...list];
    },
    set value(next) {
      list = [...(next || [])];
      show();
    },
  };
}

/** Labels as `name=value` chips, to and from an object. */
export function labelTokens(options) {
  const field = tokens({ ...options, value: Object.entries(options.value || {}).map(([name, value]) => `${name}=${value}`), pattern: /^[^=]+=.+$/, patternText: t('form.label_form'), placeholder: options.placeholder ?? 'site=…' });
  return {
    element: field.element, control: field.control, name: field.name, pointer: field.pointer, fail: field.fail,
    get value() {
      return Object.fromEntries(field.value.map((one) => [one.slice(0, one.indexOf('=')).trim(), one.slice(one.indexOf('=') + 1).trim()]));
    },
  };
}

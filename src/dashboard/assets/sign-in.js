// Signing in: as a page of its own, and in place where a session has ended.

import { ApiError } from './api.js';
import { fill, h, icon } from './dom.js';
import { LANGUAGES, currentLanguage, t } from './i18n.js';
import { session } from './session.js';
import { settings } from './settings.js';
import { busy, button, dialog, field, iconButton, problemText } from './ui.js';

function fields(name) {
  const user = field({ label: t('sign_in.name'), name: 'username', value: name || '', required: true, autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false' });
  const password = field({ label: t('sign_in.password'), name: 'password', type: 'password', required: true, autocomplete: 'current-password' });
  const box = h('div', { class: 'password' });
  password.control.before(box);
  const eye = iconButton('search', t('sign_in.show'), { kind: 'plain', 'aria-pressed': 'false', onclick: () => {
    const isShown = password.control.type === 'text';
    password.control.type = isShown ? 'password' : 'text';
    eye.setAttribute('aria-pressed', String(!isShown));
  } });
  fill(eye, icon('eye'));
  box.append(password.control, eye);
  return { user, password };
}

async function refusal(error) {
  if (!(error instanceof Response)) return t('errors.network');
  if (error.status === 401) return t('sign_in.wrong');
  if (error.status === 429) return t('sign_in.slow', { count: Number(error.headers.get('Retry-After')) || 60 });
  let told = {};
  try {
    told = await error.json();
  } catch {
    // Nothing more to be said.
  }
  return problemText(new ApiError(error.status, told));
}

async function attempt({ user, password }, wrong) {
  wrong.hidden = true;
  for (const one of [user, password]) one.fail(one.value ? '' : t('form.needed'));
  const missing = [user, password].find((one) => !one.value);
  if (missing) {
    missing.control.focus();
    return null;
  }
  try {
    return await session.signIn(user.value.trim(), password.value);
  } catch (error) {
    wrong.textContent = await refusal(error);
    wrong.hidden = false;
    password.value = '';
    password.control.focus();
    return null;
  }
}

/** The whole page; `done` is called after the sign-in. */
export function signInPage(root, done) {
  const parts = fields('');
  const wrong = h('p', { class: 'wrong form-wrong', role: 'alert', hidden: true });
  const send = h('button', { type: 'submit', class: 'button primary' }, h('span', {}, t('sign_in.action')));
  const form = h('form', { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    if (await busy(send, () => attempt(parts, wrong))) done();
  } }, h('h1', {}, t('sign_in.title')), wrong, parts.user.element, parts.password.element, send);
  const languages = Object.entries(LANGUAGES).map(([key, name]) => button(name, {
    kind: 'plain', small: true, lang: key, 'aria-pressed': String(key === currentLanguage()), onclick: () => {
      settings.set('language', key);
      location.reload();
    },
  }));
  fill(root, h('main', { class: 'sign-in' }, h('div', { class: 'sign-in-box' },
    h('div', { class: 'brand' }, h('img', { src: new URL('icon.svg', import.meta.url).href, alt: '', width: 40, height: 40 }), 'Brooklet'),
    h('section', { class: 'card' }, form),
    h('details', { class: 'help' }, h('summary', {}, t('sign_in.first')), h('p', {}, t('sign_in.first_text')), h('pre', {}, 'data/initial-admin-password')),
    h('div', { class: 'sign-in-foot' }, languages))));
  document.title = `${t('sign_in.title')} · Brooklet`;
  parts.user.control.focus();
}

/** Over the page that is shown; resolves with {isSame}, or undefined where somebody rather leaves. */
export function signInDialog() {
  const parts = fields(session.me?.kind === 'user' ? session.me.name : '');
  if (parts.user.value) parts.password.control.setAttribute('autofocus', '');
  return dialog({
    title: t('sign_in.again'),
    body: [h('p', { class: 'muted' }, t('sign_in.again_text')), parts.user.element, parts.password.element],
    submit: t('sign_in.action'),
    cancel: false,
    dismissible: false,
    actions: (close) => button(t('sign_in.leave'), { kind: 'plain', onclick: () => close() }),
    async onsubmit(close, general) {
      const outcome = await attempt(parts, general);
      if (outcome) close(outcome);
    },
  });
}

// The frame of every page: who is there, navigation, the state of the connection, and the router.

import { api, onReachable, onSignInNeeded } from './api.js';
import { fill, h, icon } from './dom.js';
import { loadLanguage, t, word } from './i18n.js';
import { NAVIGATION, resolve } from './routes.js';
import { session } from './session.js';
import { settings } from './settings.js';
import { signInDialog, signInPage } from './sign-in.js';
import { listen, onStreamStatus, restart } from './stream.js';
import { setDeviceZone } from './time.js';
import { dialog, emptyState, errorState, iconButton, pageHead, skeleton, throttle, toast } from './ui.js';

const app = document.getElementById('app');
let leaving = new AbortController();
let frame = null;
let frameLife = new AbortController();

// --- Start

async function start() {
  try {
    await loadLanguage();
  } catch (error) {
    app.textContent = `Brooklet: ${error.message}`;
    return;
  }
  onSignInNeeded(askSignIn);
  session.subscribe((what) => {
    if (what === 'ended') location.reload();
    if (what === 'changed') location.reload();
  });
  settings.subscribe(onSetting);
  addEventListener('hashchange', () => route());
  await enter();
}

/** Finds out who is there, and shows the pages or the sign-in. */
async function enter() {
  try {
    session.setMe(await api.get('api/auth/me', undefined, { retries: 2 }));
  } catch (error) {
    if (error.status === 401) {
      signInPage(app, enter);
      return;
    }
    fill(app, h('main', { class: 'sign-in' }, h('div', { class: 'card' }, errorState(error, enter))));
    return;
  }
  // Asked for only where times are to be shown in it.
  if (settings.get('zone') === 'device') await learnZone();
  build();
  await route();
}

/** The zone that the server gives devices' times without one. */
async function learnZone() {
  if (!session.can('data:read')) return;
  try {
    setDeviceZone((await api.get('api/overview', undefined, { retries: 0 })).time_zone);
  } catch {
    // Times are shown in the browser's zone then.
  }
}

/** In place: the page stays as it is behind the dialog. */
async function askSignIn() {
  if (!frame) return false;
  const outcome = await signInDialog();
  if (!outcome) {
    location.reload();
    return new Promise(() => {});
  }
  if (!outcome.isSame) {
    location.reload();
    return new Promise(() => {});
  }
  toast(t('sign_in.back'));
  restart();
  return true;
}

async function onSetting(name) {
  if (name === 'language') await loadLanguage();
  // Before somebody has signed in there is only the form, which sees to itself.
  if (!session.me) return;
  // Charts come in the theme's colours, texts in the language: what is shown is built anew.
  build();
  route({ keepScroll: true });
}

// --- Frame

function navLinks() {
  return NAVIGATION.map(([group, places]) => {
    const allowed = places.filter(([, , , scope]) => session.can(scope));
    if (!allowed.length) return null;
    return [
      group !== 'watch' && h('div', { class: 'nav-title' }, t(`nav.group_${group}`)),
      h('nav', { class: 'nav', 'aria-label': t(`nav.group_${group}`) }, allowed.map(([place, href, picture]) =>
        h('a', { href, data: { place } }, icon(picture), t(`nav.${place}`), place === 'alarms' && alarmCount()))),
    ];
  });
}

function alarmCount() {
  return h('span', { class: 'count bad', data: { count: 'alarms' }, hidden: true });
}

function brand() {
  return h('a', { class: 'brand', href: '#/' }, h('img', { src: new URL('icon.svg', import.meta.url).href, alt: '', width: 32, height: 32 }), 'Brooklet');
}

function linkState() {
  return h('div', { class: 'link-state', role: 'status' }, h('span', { class: 'dot' }), h('span', { class: 'link-text' }));
}

function who() {
  const { kind, name, user } = session.me;
  const isNobody = kind === 'nobody';
  return h('a', { class: 'who', href: '#/settings' },
    h('span', { class: 'face', 'aria-hidden': 'true' }, isNobody ? icon('user') : name.slice(0, 1)),
    h('span', { class: 'grow' }, h('span', { class: 'who-name truncate' }, isNobody ? t('who.nobody') : name), h('br'),
      h('span', { class: 'who-role' }, isNobody ? t('who.open') : word('role', user?.role ?? kind))));
}

function build() {
  frameLife.abort();
  frameLife = new AbortController();
  const { signal } = frameLife;
  const main = h('main', { class: 'main', id: 'main', tabindex: '-1' });
  const banner = h('div', { class: 'banner', role: 'alert', hidden: true }, icon('offline'), t('link.unreachable'));
  const places = NAVIGATION[0][1].filter(([, , , scope]) => session.can(scope));
  const shell = h('div', { class: 'shell' },
    h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); main.focus(); } }, t('nav.skip')),
    h('header', { class: 'side' }, brand(), navLinks(), h('div', { class: 'side-foot' },
      h('nav', { class: 'nav flat', 'aria-label': t('nav.group_more') },
        h('a', { href: '#/settings', data: { place: 'settings' } }, icon('settings'), t('nav.settings')),
        h('a', { href: '#/about', data: { place: 'about' } }, icon('info'), t('nav.about'))),
      linkState(), who())),
    h('header', { class: 'topbar' }, brand(), linkState(), h('span', {}, iconButton('user', t('nav.settings'), { kind: 'plain', onclick: () => { location.hash = '#/settings'; } }))),
    banner, main,
    h('nav', { class: 'bottombar', 'aria-label': t('nav.label') },
      places.map(([place, href, picture]) => h('a', { href, data: { place } }, icon(picture), t(`nav.${place}`), place === 'alarms' && alarmCount())),
      h('button', { type: 'button', onclick: showMore }, icon('more'), t('nav.more'))));
  frame = { main, shell };
  fill(app, shell);

  const stopStatus = onStreamStatus((status) => {
    for (const element of shell.querySelectorAll('.link-state')) {
      element.className = `link-state ${status}`;
      element.querySelector('.link-text').textContent = status === 'idle' ? '' : t(`link.${status}`);
      element.hidden = status === 'idle';
    }
  });
  const stopReachable = onReachable((isReachable) => {
    banner.hidden = isReachable;
  });
  signal.addEventListener('abort', () => {
    stopStatus();
    stopReachable();
  });
  if (session.can('alarms:read')) watchAlarms(signal);
}

/** The number of alarms that wait for somebody, beside their place in the navigation. */
function watchAlarms(signal) {
  const show = async () => {
    try {
      const summary = await api.get('api/alarms/summary', undefined, { signal });
      for (const element of document.querySelectorAll('[data-count="alarms"]')) {
        element.hidden = summary.unacknowledged === 0;
        element.textContent = summary.unacknowledged > 99 ? '99+' : String(summary.unacknowledged);
        element.setAttribute('aria-label', t('nav.alarms_open', { count: summary.unacknowledged }));
        element.setAttribute('role', 'img');
      }
    } catch {
      // The next event tries again.
    }
  };
  const soon = throttle(show, 1_000);
  listen({ events: ['alarms', ...(session.can('devices:read') ? ['presence'] : [])], signal }, (kind) => {
    if (kind !== 'presence') soon();
  });
  soon();
}

function showMore() {
  let closing;
  const body = ({ close }) => {
    closing = close;
    return h('div', { class: 'more-list' }, navLinks(), h('div', { class: 'nav-title' }, t('nav.group_more')), h('nav', { class: 'nav', 'aria-label': t('nav.group_more') },
      h('a', { href: '#/settings' }, icon('settings'), t('nav.settings')), h('a', { href: '#/about' }, icon('info'), t('nav.about')), h('a', { href: 'docs' }, icon('docs'), t('nav.docs'))));
  };
  dialog({ title: t('nav.more'), body, cancel: false });
  const leave = () => closing?.();
  addEventListener('hashchange', leave, { once: true });
}

// --- Router

/** Shows the page of the address; what the page before had under way ends. */
async function route({ keepScroll = false } = {}) {
  if (!frame) return;
  const found = resolve(location.hash || '#/');
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const root = h('div', { class: 'page' });
  for (const link of frame.shell.querySelectorAll('a[data-place]')) {
    if (link.dataset.place === found?.route.place) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (!found) {
    fill(root, pageHead(t('errors.no_page')), emptyState({ iconName: 'search', title: t('errors.no_page_text'), actions: h('a', { class: 'button primary', href: '#/' }, t('nav.overview')) }));
    show(root, t('errors.no_page'), keepScroll);
    return;
  }
  if (!session.can(found.route.scope)) {
    fill(root, pageHead(t(`nav.${found.route.place}`)), emptyState({ iconName: 'block', title: t('errors.not_yours'), text: t('errors.not_yours_text', { scope: found.route.scope }), actions: h('a', { class: 'button primary', href: '#/settings' }, t('nav.settings')) }));
    show(root, t('errors.not_yours'), keepScroll);
    return;
  }
  // A page that was left while it was loading covers nothing.
  const late = setTimeout(() => {
    if (!signal.aborted) show(h('div', { class: 'page' }, skeleton(6)), t(`nav.${found.route.place}`), keepScroll);
  }, 150);
  try {
    const module = await import(`./pages/${found.route.module}.js`);
    clearTimeout(late);
    if (signal.aborted) return;
    const context = { root, params: found.params, query: found.query, signal, setTitle, setQuery, navigate, session };
    show(root, t(`nav.${found.route.place}`), keepScroll);
    await module.default(context);
    if (!signal.aborted && !keepScroll) focusHeading();
  } catch (error) {
    clearTimeout(late);
    if (signal.aborted || error?.name === 'AbortError') return;
    console.error(error);
    fill(root, errorState(error, () => location.reload()));
    show(root, t('errors.title'), keepScroll);
  }
}

let isFirst = true;
function focusHeading() {
  // Readers of screens hear where they are; at the very first page the browser has said it.
  if (!isFirst) frame.main.querySelector('h1')?.focus({ preventScroll: true });
  isFirst = false;
}

function show(root, title, keepScroll) {
  const { scrollY } = window;
  fill(frame.main, root);
  setTitle(title);
  window.scrollTo(0, keepScroll ? scrollY : 0);
}

function setTitle(text) {
  document.title = text ? `${text} · Brooklet` : 'Brooklet';
}

/** Changes the query of the address without showing the page anew. */
function setQuery(patch, { push = false } = {}) {
  const [path, text = ''] = (location.hash || '#/').split('?');
  const query = new URLSearchParams(text);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null || value === undefined || value === '') query.delete(name);
    else query.set(name, value);
  }
  const next = query.size === 0 ? path : `${path}?${query}`;
  if (next === (location.hash || '#/')) return;
  history[push ? 'pushState' : 'replaceState'](null, '', next);
}

function navigate(hash) {
  location.hash = hash;
}

start();

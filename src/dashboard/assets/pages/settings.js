// What a viewer chooses for this browser, and their own account: password, sessions, signing out.

import { api } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { LANGUAGES, t, word } from '../i18n.js';
import { settings } from '../settings.js';
import { ago, dateTime, knownDeviceZone, setDeviceZone, viewerZone } from '../time.js';
import { act, badge, button, card, confirm, dialog, facts, failFields, field, load, pageHead, segmented, toast } from '../ui.js';

function zones() {
  const all = Intl.supportedValuesOf ? Intl.supportedValuesOf('timeZone') : [];
  const chosen = settings.get('zone');
  const device = knownDeviceZone();
  const list = [
    ['viewer', t('settings.zone_viewer', { zone: viewerZone() })],
    ['device', device ? t('settings.zone_device', { zone: device }) : t('settings.zone_device_unknown')],
    ['UTC', 'UTC'],
    ...all.filter((name) => name !== 'UTC').map((name) => [name, name.replaceAll('_', ' ')]),
  ];
  if (!list.some(([key]) => key === chosen)) list.push([chosen, chosen]);
  return list;
}

function row(title, text, control) {
  return h('div', { class: 'setting' }, h('div', { class: 'grow' }, h('h3', {}, title), text && h('p', { class: 'muted small-text' }, text)), control);
}

function appearance() {
  const example = h('span', { class: 'tabular' }, dateTime(new Date(), 'exact'));
  const zone = field({ label: t('settings.zone'), type: 'select', value: settings.get('zone'), options: zones(), onchange: (event) => settings.set('zone', event.target.value) });
  zone.element.querySelector('label').classList.add('sr-only');
  return card({ title: t('settings.appearance'), sub: t('settings.appearance_text') },
    row(t('settings.language'), null, segmented([['auto', t('settings.auto')], ...Object.entries(LANGUAGES)], settings.get('language'), (value) => settings.set('language', value), t('settings.language'))),
    row(t('settings.theme'), null, segmented([['auto', t('settings.auto')], ['light', t('settings.light')], ['dark', t('settings.dark')]], settings.get('theme'), (value) => settings.set('theme', value), t('settings.theme'))),
    row(t('settings.zone'), [t('settings.zone_now'), ' ', example], zone.element));
}

async function changePassword() {
  const fields = {
    current_password: field({ label: t('settings.password_current'), name: 'current_password', type: 'password', autocomplete: 'current-password', required: true }),
    new_password: field({ label: t('settings.password_new'), name: 'new_password', type: 'password', autocomplete: 'new-password', required: true, hint: t('settings.password_hint') }),
    again: field({ label: t('settings.password_again'), name: 'again', type: 'password', autocomplete: 'new-password', required: true }),
  };
  const isDone = await dialog({
    title: t('settings.password'), submit: t('settings.password_action'), body: Object.values(fields).map((one) => one.element),
    async onsubmit(close, general) {
      for (const one of Object.values(fields)) one.fail('');
      if (fields.new_password.value !== fields.again.value) {
        fields.again.fail(t('settings.password_differs'));
        fields.again.control.focus();
        return;
      }
      try {
        await api.post('api/auth/password', { current_password: fields.current_password.value, new_password: fields.new_password.value });
        close(true);
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
  if (isDone) toast(t('settings.password_done'));
}

/** "Chrome on Linux" out of what a browser calls itself. */
function client(agent) {
  if (!agent) return t('settings.client_unknown');
  const browser = [['Edg/', 'Edge'], ['Firefox/', 'Firefox'], ['Chrome/', 'Chrome'], ['Safari/', 'Safari'], ['curl/', 'curl']].find(([mark]) => agent.includes(mark))?.[1];
  const system = [['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'], ['Windows', 'Windows'], ['Mac OS', 'macOS'], ['Linux', 'Linux']].find(([mark]) => agent.includes(mark))?.[1];
  if (browser && system) return t('settings.client', { browser, system });
  return browser || system || agent;
}

function sessions(signal) {
  const body = h('div', {});
  const again = load(body, () => api.get('api/auth/sessions', undefined, { signal }), ({ items }) =>
    h('ul', { class: 'rows' }, items.map((one) => h('li', {},
      h('div', { class: 'grow' }, h('div', { class: 'row' }, h('strong', { title: one.user_agent }, client(one.user_agent)), one.current && badge(t('settings.this_session'), 'ok')),
        h('div', { class: 'muted small-text' }, one.address && `${one.address} · `, t('settings.session_used'), ' ', ago(one.used_at))),
      !one.current && button(t('settings.session_end'), { small: true, onclick: async (event) => {
        await act(event.currentTarget, () => api.del(`api/auth/sessions/${one.id}`), t('settings.session_ended'));
        again();
      } })))), { signal });
  return card({ title: t('settings.sessions'), sub: t('settings.sessions_text') }, body);
}

function account(session) {
  const { me } = session;
  if (me.kind === 'nobody') {
    return card({ title: t('settings.account') }, h('div', { class: 'notice' }, icon('info'), h('div', {},
      h('p', {}, t('settings.open')), session.can('users:write') && h('p', {}, h('a', { href: '#/admin/users' }, t('settings.open_action'))))));
  }
  const email = field({ label: t('settings.email'), type: 'email', value: me.user?.email ?? '', autocomplete: 'email' });
  return card({
    title: t('settings.account'),
    actions: [
      me.kind === 'user' && button(t('settings.password'), { iconName: 'key', onclick: changePassword }),
      session.isSignedIn && button(t('settings.sign_out'), { iconName: 'signout', onclick: async () => {
        if (await confirm({ title: t('settings.sign_out'), text: t('settings.sign_out_text'), action: t('settings.sign_out'), kind: 'primary' })) session.signOut();
      } }),
    ],
  }, facts([
    [t('settings.name'), me.name],
    [t('settings.role'), word('role', me.user?.role ?? me.kind)],
    [t('settings.since'), me.user && dateTime(me.user.created_at, 'day')],
  ]), me.kind === 'user' && h('form', { class: 'inline-form', onsubmit: async (event) => {
    event.preventDefault();
    email.fail('');
    await act(event.submitter, async () => {
      const user = await api.patch('api/auth/me', { email: email.value });
      session.setMe({ ...me, user });
    }, t('settings.email_done'));
  } }, email.element, h('button', { type: 'submit', class: 'button' }, h('span', {}, t('actions.save')))));
}

export default async function page({ root, signal, session }) {
  if (!knownDeviceZone()) {
    try {
      const overview = await api.get('api/overview', undefined, { signal });
      setDeviceZone(overview.time_zone);
    } catch {
      // Known or not, there is something to choose.
    }
  }
  root.classList.add('narrow');
  fill(root, pageHead(t('nav.settings')), appearance(), account(session), session.me.kind === 'user' && sessions(signal));
}

// Who may sign in: users, what each may do, their passwords and sessions.

import { api, seg } from '../api.js';
import { h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { ago, exact } from '../time.js';
import { tokens } from '../tokens.js';
import { act, badge, button, card, confirm, dialog, emptyState, failFields, field, load, menu, pageHead, table, toast } from '../ui.js';

const ROLES = ['viewer', 'operator', 'admin'];
const TONE = { admin: 'high', operator: 'info', viewer: 'mute' };

/** A password that nobody guesses, and that can be read out: four groups of five. */
function generated() {
  const letters = 'abcdefghijkmnpqrstuvwxyz23456789';
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return [...bytes].map((byte, at) => (at > 0 && at % 5 === 0 ? '-' : '') + letters[byte % letters.length]).join('');
}

function passwordField() {
  const one = field({ label: t('settings.password_new'), name: 'password', type: 'text', autocomplete: 'new-password', spellcheck: 'false', required: true, mono: true, hint: t('settings.password_hint') });
  const make = button(t('users.generate'), { small: true, iconName: 'refresh', onclick: () => {
    one.value = generated();
    one.control.select();
  } });
  return { field: one, element: h('div', { class: 'stack tight' }, one.element, h('div', { class: 'row' }, make)) };
}

function roleField(value) {
  return field({ label: t('settings.role'), name: 'role', type: 'select', value, options: ROLES.map((role) => [role, `${word('role', role)} – ${t(`users.role_${role}`)}`]) });
}

function topics(value) {
  return tokens({ label: t('users.mqtt_allow'), name: 'mqtt_allow', value, hint: t('users.mqtt_allow_hint'), placeholder: 'publish:shop/#', optional: true });
}

async function addUser() {
  const password = passwordField();
  const fields = {
    name: field({ label: t('settings.name'), name: 'name', required: true, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', hint: t('users.name_hint') }),
    email: field({ label: t('settings.email'), name: 'email', type: 'email', autocomplete: 'off', optional: true }),
    role: roleField('viewer'), password: password.field,
  };
  return dialog({
    title: t('users.new'), submit: t('users.new'), body: [h('div', { class: 'stack' }, fields.name.element, fields.email.element, fields.role.element, password.element)],
    async onsubmit(close, general) {
      try {
        const body = { name: fields.name.value.trim(), role: fields.role.value, password: fields.password.value };
        if (fields.email.value.trim()) body.email = fields.email.value.trim();
        close(await api.post('api/users', body));
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
}

async function editUser(name) {
  const { data: user, etag } = await api.tagged(`api/users/${seg(name)}`);
  const fields = {
    email: field({ label: t('settings.email'), name: 'email', type: 'email', value: user.email ?? '', autocomplete: 'off', optional: true }), role: roleField(user.role), mqtt_allow: topics(user.mqtt_allow),
  };
  return dialog({
    title: t('users.edit', { name }), submit: t('actions.save'), body: [h('div', { class: 'stack' }, fields.email.element, fields.role.element, fields.mqtt_allow.element)],
    async onsubmit(close, general) {
      try {
        close(await api.patch(`api/users/${seg(name)}`, { email: fields.email.value.trim(), role: fields.role.value, mqtt_allow: fields.mqtt_allow.value }, { headers: etag ? { 'If-Match': etag } : {} }));
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
}

async function setPassword(name) {
  const password = passwordField();
  const isDone = await dialog({
    title: t('users.password_of', { name }), submit: t('users.set_password'), body: [h('p', { class: 'muted' }, t('users.password_text')), password.element],
    async onsubmit(close, general) {
      try {
        await api.put(`api/users/${seg(name)}/password`, { password: password.field.value });
        close(true);
      } catch (error) {
        failFields(error, { password: password.field }, general);
      }
    },
  });
  if (isDone) toast(t('users.password_done', { name }));
}

function sessions(name) {
  const body = h('div', {});
  load(body, () => api.get(`api/users/${seg(name)}/sessions`), ({ items }) => (items.length === 0
    ? emptyState({ iconName: 'user', title: t('users.no_sessions') })
    : h('ul', { class: 'rows' }, items.map((one) => h('li', {}, h('div', { class: 'grow' }, h('div', { class: 'row' }, h('strong', { class: 'break' }, one.user_agent || t('settings.client_unknown')), one.current && badge(t('settings.this_session'), 'ok')),
      h('div', { class: 'muted small-text' }, one.address && `${one.address} · `, t('settings.session_used'), ' ', ago(one.used_at), ' · ', t('users.session_ends'), ' ', exact(one.expires_at, 'minute'))))))));
  return dialog({ title: t('users.sessions_of', { name }), body, cancel: t('actions.close'), actions: (close) => button(t('users.end_sessions'), { kind: 'danger', onclick: async (event) => {
    await act(event.currentTarget, async () => {
      await api.del(`api/users/${seg(name)}/sessions`);
      close();
    }, t('users.sessions_ended', { name }));
  } }) });
}

export default async function page({ root, signal, session }) {
  const box = h('div', {});
  const isMe = (user) => session.me.kind === 'user' && session.me.name === user.name;

  async function add() {
    const isFirst = session.me.kind === 'nobody';
    const user = await addUser();
    if (!user) return;
    toast(t('users.created', { name: user.name }));
    // From then on one has to sign in.
    if (isFirst) location.reload();
    else again();
  }

  async function change(user, body, done) {
    await act(null, async () => {
      const { etag } = await api.tagged(`api/users/${seg(user.name)}`, undefined, { signal });
      await api.patch(`api/users/${seg(user.name)}`, body, { headers: etag ? { 'If-Match': etag } : {} });
      again();
    }, done);
  }

  async function disable(user) {
    if (await confirm({ title: t('users.disable'), text: t('users.disable_text', { name: user.name }), action: t('users.disable') })) await change(user, { active: false }, t('users.disabled', { name: user.name }));
  }

  async function remove(user) {
    if (!(await confirm({ title: t('users.delete'), text: t('users.delete_text', { name: user.name }), action: t('actions.delete') }))) return;
    await act(null, async () => {
      await api.del(`api/users/${seg(user.name)}`);
      again();
    }, t('users.deleted', { name: user.name }));
  }

  async function replaceKey() {
    if (!(await confirm({ title: t('users.rotate'), text: t('users.rotate_text'), action: t('users.rotate'), kind: 'primary' }))) return;
    await act(null, () => api.post('api/auth/rotate-signing-key'), t('users.rotated'));
  }

  root.append(pageHead(t('nav.users'), { sub: t('users.sub'), actions: [button(t('users.new'), { kind: 'primary', iconName: 'plus', onclick: add }),
    session.can('admin') && session.me.kind !== 'nobody' && menu(t('alarms.more'), [{ text: `${t('users.rotate')}…`, iconName: 'key', onclick: replaceKey }])] }),
    card({ class: 'flush' }, box));
  const view = table({
    caption: t('nav.users'), rowKey: (user) => user.name, rowClass: (user) => !user.active && 'rule-off',
    columns: [
      { key: 'name', label: t('settings.name'), primary: true, render: (user) => h('span', { class: 'row' }, h('span', { class: 'break' }, user.name), isMe(user) && badge(t('users.you'), 'ok')) },
      { key: 'email', label: t('settings.email'), render: (user) => (user.email ? h('span', { class: 'break' }, user.email) : null) },
      { key: 'role', label: t('settings.role'), render: (user) => badge(word('role', user.role), TONE[user.role]) },
      { key: 'active', label: t('users.state'), render: (user) => badge(t(user.active ? 'users.active' : 'users.inactive'), user.active ? 'ok' : 'bad') },
      { key: 'since', label: t('settings.since'), class: 'nowrap wide-only', render: (user) => exact(user.created_at, 'day') },
      { key: 'do', label: t('alarms.actions'), hideLabel: true, align: 'end', class: 'actions-cell', render: (user) => menu(t('alarms.actions_for', { name: user.name }), [
        { text: `${t('actions.edit')}…`, iconName: 'edit', onclick: async () => {
          const done = await act(null, () => editUser(user.name));
          if (done) {
            toast(t('users.saved', { name: user.name }));
            again();
          }
        } },
        { text: `${t('users.set_password')}…`, iconName: 'key', onclick: () => setPassword(user.name) },
        { text: `${t('settings.sessions')}…`, iconName: 'signout', onclick: () => sessions(user.name) },
        user.active && !isMe(user) && { text: `${t('users.disable')}…`, iconName: 'block', onclick: () => disable(user) },
        !user.active && { text: t('users.enable'), iconName: 'play', onclick: () => change(user, { active: true }, t('users.enabled', { name: user.name })) },
        !isMe(user) && { text: `${t('actions.delete')}…`, iconName: 'trash', danger: true, onclick: () => remove(user) },
      ]) },
    ],
    empty: emptyState({ iconName: 'users', title: t('users.none'), text: t('users.none_text'), actions: button(t('users.new'), { kind: 'primary', iconName: 'plus', onclick: add }) }),
  });
  const again = load(box, () => api.all('api/users', { limit: 1_000 }, { signal }), (items) => {
    view.set(items);
    return view.element;
  }, { signal });
  if (session.me.kind === 'nobody') root.append(h('div', { class: 'notice' }, icon('info'), h('p', {}, t('settings.open'))));
}

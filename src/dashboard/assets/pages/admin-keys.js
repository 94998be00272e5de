// API keys: for programs and devices. A key is shown once, when it is made.

import { fromLocal, localInput, zoneHint } from '../alarming.js';
import { api } from '../api.js';
import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { ago, exact } from '../time.js';
import { act, badge, button, card, code, confirm, copyButton, dialog, emptyState, failFields, field, load, menu, pageHead, table, toast } from '../ui.js';

export const SCOPES = ['telemetry:write', 'data:read', 'data:write', 'devices:read', 'devices:write', 'alarms:read', 'alarms:write', 'mqtt:read', 'mqtt:write', 'service:read', 'users:write', 'keys:write', 'audit:read', 'admin'];
const scopeText = (scope) => t(`keys.scope_${scope.replace(':', '_')}`);

function scopesField(chosen, session) {
  const boxes = SCOPES.map((scope) => [scope, field({ label: scopeText(scope), type: 'checkbox', value: chosen.includes(scope), disabled: !session.can(scope), hint: h('code', {}, scope) })]);
  const wrong = h('p', { class: 'wrong', role: 'alert', hidden: true });
  const element = h('fieldset', { class: 'field' }, h('legend', {}, t('keys.scopes')), h('div', { class: 'scopes' }, boxes.map(([, one]) => one.element)), wrong);
  return {
    element, control: boxes[0][1].control,
    get value() { return boxes.filter(([, one]) => one.value).map(([scope]) => scope); },
    only(scope) {
      for (const [name, one] of boxes) {
        one.value = scope ? name === scope : one.value;
        one.control.disabled = Boolean(scope) || !session.can(name);
      }
    },
    fail(text) {
      wrong.textContent = text || '';
      wrong.hidden = !text;
    },
  };
}

function expiryField(value) {
  return field({ label: t('keys.expires'), type: 'datetime-local', value: value ? localInput(value) : '', optional: true, hint: [t('keys.expires_hint'), zoneHint()].filter(Boolean).join(' ') });
}

function devices(signal) {
  const id = 'key-devices';
  const list = h('datalist', { id });
  api.all('api/devices', { limit: 1_000 }, { max: 1_000, signal }).then((items) => list.append(...items.map((one) => h('option', { value: one.device })))).catch(() => {});
  return list;
}

async function addKey(session, signal) {
  const scopes = scopesField(['data:read', 'devices:read'], session);
  const known = devices(signal);
  const fields = {
    name: field({ label: t('keys.name'), name: 'name', required: true, maxlength: 100, hint: t('keys.name_hint') }), scopes,
    device: field({ label: t('keys.device'), name: 'device', list: known.id, mono: true, optional: true, hint: t('keys.device_hint'), oninput: () => scopes.only(fields.device.value.trim() ? 'telemetry:write' : null) }),
    expires_at: expiryField(),
  };
  return dialog({
    title: t('keys.new'), submit: t('keys.new'), wide: true, body: [h('div', { class: 'stack' }, fields.name.element, scopes.element, h('div', { class: 'fields' }, h('div', {}, fields.device.element, known), fields.expires_at.element))],
    async onsubmit(close, general) {
      const body = { name: fields.name.value.trim(), scopes: scopes.value };
      if (fields.device.value.trim()) body.device = fields.device.value.trim();
      if (fields.expires_at.value) body.expires_at = fromLocal(fields.expires_at.value);
      if (body.scopes.length === 0) {
        scopes.fail(t('keys.no_scope'));
        scopes.control.focus();
        return;
      }
      try {
        close(await api.post('api/keys', body));
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
}

/** The only time that the key is seen. */
function showKey(made) {
  const example = `curl -H 'X-API-Key: ${made.key}' ${new URL('api/auth/me', document.baseURI)}`;
  return dialog({
    title: t('keys.made', { name: made.name }), dismissible: false, body: [
      h('p', {}, t('keys.once')), h('div', { class: 'secret' }, h('code', { id: 'made-key' }, made.key), copyButton(made.key, t('keys.copy'))),
      h('p', { class: 'muted small-text' }, t('keys.try')), code(example)],
    actions: (close) => button(t('keys.kept'), { kind: 'primary', onclick: () => close(true) }),
  });
}

async function editKey(id, session) {
  const { data: key, etag } = await api.tagged(`api/keys/${id}`);
  const scopes = scopesField(key.scopes, session);
  if (key.device) scopes.only('telemetry:write');
  const fields = { name: field({ label: t('keys.name'), name: 'name', value: key.name, required: true }), scopes, expires_at: expiryField(key.expires_at) };
  return dialog({
    title: t('keys.edit'), submit: t('actions.save'), wide: true, body: [h('div', { class: 'stack' }, fields.name.element, scopes.element, fields.expires_at.element)],
    async onsubmit(close, general) {
      try {
        close(await api.patch(`api/keys/${id}`, { name: fields.name.value.trim(), scopes: scopes.value, expires_at: fromLocal(fields.expires_at.value) ?? '' }, { headers: etag ? { 'If-Match': etag } : {} }));
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
}

const isOver = (key) => key.expires_at && new Date(key.expires_at) < new Date();

function scopeChips(key) {
  return h('span', { class: 'chips' }, key.scopes.map((scope) => h('span', { class: 'chip', title: SCOPES.includes(scope) ? scopeText(scope) : scope }, h('span', { class: 'chip-value mono' }, scope))));
}

export default async function page({ root, signal, session }) {
  const box = h('div', {});
  async function add() {
    const isFirst = session.me.kind === 'nobody';
    // From the first key on one signs in: without a user there is nobody to sign in as.
    if (isFirst && !(await confirm({ title: t('keys.first'), text: t('keys.first_text'), action: t('keys.first_go') }))) return;
    const made = await addKey(session, signal);
    if (!made) return;
    await showKey(made);
    if (isFirst) location.reload();
    else again();
  }

  async function revoke(key) {
    if (!(await confirm({ title: t('keys.revoke'), text: t('keys.revoke_text', { name: key.name }), action: t('keys.revoke') }))) return;
    await act(null, async () => {
      await api.del(`api/keys/${key.id}`);
      again();
    }, t('keys.revoked', { name: key.name }));
  }

  root.append(pageHead(t('nav.keys'), { sub: t('keys.sub'), actions: button(t('keys.new'), { kind: 'primary', iconName: 'plus', onclick: add }) }), card({ class: 'flush' }, box));
  const view = table({
    caption: t('nav.keys'), rowClass: (key) => isOver(key) && 'rule-off',
    columns: [
      { key: 'name', label: t('keys.name'), primary: true, render: (key) => h('div', { class: 'alarm-name' }, h('span', { class: 'break' }, key.name), h('span', { class: 'sub mono' }, `${key.prefix}…`)) },
      { key: 'scopes', label: t('keys.scopes'), render: scopeChips },
      { key: 'device', label: t('keys.device'), render: (key) => (key.device ? h('a', { href: `#/devices/${encodeURIComponent(key.device)}`, class: 'break' }, key.device) : null) },
      { key: 'used', label: t('keys.used'), class: 'nowrap', render: (key) => (key.used_at ? ago(key.used_at) : h('span', { class: 'muted' }, t('keys.never'))) },
      { key: 'expires', label: t('keys.expires'), class: 'nowrap', render: (key) => (isOver(key) ? badge(t('keys.expired'), 'bad', { iconName: 'clock' }) : key.expires_at ? exact(key.expires_at, 'day') : h('span', { class: 'muted' }, t('keys.no_expiry'))) },
      { key: 'made', label: t('keys.by'), class: 'wide-only', render: (key) => h('span', {}, key.created_by, h('span', { class: 'sub' }, exact(key.created_at, 'day'))) },
      { key: 'do', label: t('alarms.actions'), hideLabel: true, align: 'end', class: 'actions-cell', render: (key) => menu(t('alarms.actions_for', { name: key.name }), [
        { text: `${t('actions.edit')}…`, iconName: 'edit', onclick: async () => {
          if (await act(null, () => editKey(key.id, session))) {
            toast(t('keys.saved'));
            again();
          }
        } },
        { text: `${t('keys.revoke')}…`, iconName: 'trash', danger: true, onclick: () => revoke(key) },
      ]) },
    ],
    empty: emptyState({ iconName: 'key', title: t('keys.none'), text: t('keys.none_text'), actions: button(t('keys.new'), { kind: 'primary', iconName: 'plus', onclick: add }) }),
  });
  const again = load(box, () => api.all('api/keys', { limit: 1_000 }, { signal }), (items) => {
    view.set(items);
    return view.element;
  }, { signal });
  root.append(h('div', { class: 'notice' }, icon('info'), h('p', {}, t('keys.note'))));
  if (session.me.kind === 'nobody') root.append(h('div', { class: 'notice warn' }, icon('warning'), h('p', {}, t('keys.first_text'), ' ', h('a', { href: '#/admin/users', class: 'underlined' }, t('settings.open_action')))));
}

// Who is told of alarms, by mail, webhook, MQTT or the log; and the outbox: what was told and what failed.

import { CHANNEL_ICON, matchText, progressBadge, retryNotification, SEVERITIES, whyNot } from '../alarming.js';
import { api } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { listen } from '../stream.js';
import { labelTokens, tokens } from '../tokens.js';
import { ago, duration, exact } from '../time.js';
import { act, badge, button, card, confirm, dialog, emptyState, every, failFields, field, load, menu, moreButton, pageHead, segmented, severityBadge, table, tabs, throttle, toast } from '../ui.js';

const CHANNELS = ['email', 'webhook', 'mqtt', 'log'];
/// What the server shows in place of a secret; sent back, it keeps what is stored.
const KEPT = '***';

/** Where it goes, in a line. */
function address(channel) {
  if (channel.type === 'email') return `${channel.to.join(', ')} (${channel.host})`;
  if (channel.type === 'webhook') return channel.url;
  return t(`targets.${channel.type}_goes`);
}

// --- The form

function secret(label, name, stored, hint) {
  const isKept = stored === KEPT;
  const one = field({ label, name, type: 'password', value: '', autocomplete: 'new-password', placeholder: isKept ? t('targets.kept') : '', hint: isKept ? t('targets.kept_hint') : hint, optional: true });
  return { element: one.element, control: one.control, fail: one.fail, get value() { return one.control.value || (isKept ? KEPT : undefined); } };
}

function channelFields(type, channel) {
  const at = (name, options) => field({ name, value: channel[name] ?? '', ...options });
  if (type === 'email') {
    return {
      to: tokens({ label: t('targets.to'), value: channel.to, hint: t('targets.to_hint'), pointer: '/channel/to', placeholder: 'ops@example.org' }),
      from: at('from', { label: t('targets.from'), placeholder: 'Brooklet <alarms@example.org>', required: true }),
      host: at('host', { label: t('targets.host'), placeholder: 'smtp.example.org', required: true }),
      security: at('security', { label: t('targets.security'), type: 'select', value: channel.security || 'starttls', options: [['starttls', t('targets.starttls')], ['tls', t('targets.tls')], ['none', t('targets.no_tls')]] }),
      port: at('port', { label: t('targets.port'), type: 'number', min: 1, max: 65_535, optional: true, placeholder: '587' }),
      user: at('user', { label: t('targets.user'), autocomplete: 'off', optional: true }),
      password: secret(t('targets.password'), 'password', channel.password),
    };
  }
  if (type === 'webhook') {
    return {
      url: at('url', { label: t('targets.url'), type: 'url', placeholder: 'https://…', required: true, hint: t('targets.url_hint') }),
      secret: secret(t('targets.secret'), 'secret', channel.secret, t('targets.secret_hint')),
      bearer: secret(t('targets.bearer'), 'bearer', channel.bearer),
      headers: labelTokens({ label: t('targets.headers'), value: channel.headers, hint: t('targets.headers_hint'), pointer: '/channel/headers', placeholder: 'X-Team=…' }),
    };
  }
  return {};
}

/** Keeps what the form has no field for. */
function channelOf(type, fields, stored) {
  const channel = { ...(stored?.type === type ? stored : {}), type };
  for (const [name, one] of Object.entries(fields)) {
    const value = one.value;
    const isEmpty = value === '' || value === null || value === undefined || (typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0);
    if (isEmpty) delete channel[name];
    else channel[name] = typeof value === 'string' ? value.trim() : value;
  }
  return channel;
}

function editTarget(stored, etag) {
  const target = stored?.target || { channel: { type: 'email' }, match: { min_severity: 'warning' } };
  const match = target.match || {};
  const fields = {
    name: field({ label: t('targets.name'), value: target.name, required: true, maxlength: 100 }),
    description: field({ label: t('rules.description'), value: target.description, optional: true }),
    type: field({ label: t('targets.channel'), type: 'select', value: target.channel.type, options: CHANNELS.map((one) => [one, t(`targets.channel_${one}`)]), onchange: () => show() }),
    min_severity: field({ label: t('silences.min_severity'), type: 'select', value: match.min_severity || '', options: [['', t('silences.severity_any')], ...SEVERITIES.map((one) => [one, t('silences.from_severity', { severity: word('severity', one) })])] }),
    labels: labelTokens({ label: t('silences.labels'), value: match.labels, hint: t('silences.labels_hint'), pointer: '/match/labels' }),
    devices: tokens({ label: t('silences.devices'), value: match.devices, hint: t('silences.devices_hint'), pointer: '/match/devices' }),
    group_wait: field({ label: t('targets.group_wait'), value: target.group_wait, hint: t('targets.group_wait_hint'), optional: true, placeholder: '5s' }),
    rate_per_minute: field({ label: t('targets.rate'), type: 'number', value: target.rate_per_minute, min: 1, optional: true, placeholder: '60' }),
    send_cleared: field({ label: t('targets.send_cleared'), type: 'checkbox', value: target.send_cleared !== false }),
    enabled: field({ label: t('rules.enabled'), type: 'checkbox', value: target.enabled !== false }),
  };
  const box = h('div', { class: 'fields' });
  const about = h('p', { class: 'muted small-text' });
  let inner = {};
  const show = () => {
    inner = channelFields(fields.type.value, target.channel.type === fields.type.value ? target.channel : {});
    fill(box, Object.values(inner).map((one) => one.element));
    box.hidden = Object.keys(inner).length === 0;
    about.textContent = t(`targets.${fields.type.value}_about`);
  };
  show();
  const read = () => {
    const next = { ...target, name: fields.name.value.trim(), description: fields.description.value.trim() || undefined, enabled: fields.enabled.value, send_cleared: fields.send_cleared.value, channel: channelOf(fields.type.value, inner, target.channel) };
    const chosen = { ...match, min_severity: fields.min_severity.value, labels: fields.labels.value, devices: fields.devices.value };
    const parts = Object.entries(chosen).filter(([, value]) => value && (typeof value !== 'object' || Object.keys(value).length));
    next.match = parts.length ? Object.fromEntries(parts) : undefined;
    next.group_wait = fields.group_wait.value.trim() || undefined;
    next.rate_per_minute = fields.rate_per_minute.value ?? undefined;
    return next;
  };
  return dialog({
    title: t(stored ? 'targets.edit' : 'targets.new'), submit: stored ? t('actions.save') : t('targets.new'), wide: true,
    body: [h('div', { class: 'stack' }, h('div', { class: 'fields' }, fields.name.element, fields.type.element), about, box,
      h('h3', {}, t('targets.what')), h('p', { class: 'muted small-text' }, t('targets.what_text')), h('div', { class: 'fields' }, fields.min_severity.element, fields.devices.element), fields.labels.element, fields.send_cleared.element,
      h('details', { class: 'more' }, h('summary', {}, t('targets.more')), h('div', { class: 'fields' }, fields.group_wait.element, fields.rate_per_minute.element), fields.description.element), fields.enabled.element)],
    async onsubmit(close, general) {
      try {
        const body = read();
        close(stored ? await api.put(`api/notification-targets/${stored.id}`, body, { headers: etag ? { 'If-Match': etag } : {} }) : await api.post('api/notification-targets', body));
      } catch (error) {
        const channel = Object.fromEntries(Object.entries(inner).map(([name, one]) => [`/channel/${name}`, one]));
        failFields(error, { ...fields, '/match/min_severity': fields.min_severity, ...channel }, general);
      }
    },
  });
}

// --- Targets

function targetsCard({ signal }) {
  const box = h('div', {});

  async function edit(one) {
    const { data, etag } = await api.tagged(`api/notification-targets/${one.id}`, undefined, { signal });
    if (await editTarget(data, etag)) {
      toast(t('targets.saved'));
      again();
    }
  }

  async function add() {
    if (await editTarget(null)) {
      toast(t('targets.created'));
      again();
    }
  }

  async function test(one, element) {
    const answer = await act(element, () => api.post(`api/notification-targets/${one.id}/test`));
    if (!answer) return;
    const took = duration(Math.max(0.1, Math.round(answer.seconds * 10) / 10));
    if (answer.delivered) toast(t('targets.test_done', { name: one.target.name, time: took }));
    else toast(t('targets.test_failed', { name: one.target.name, detail: answer.error || '' }), { tone: 'bad' });
  }

  async function enable(one, isOn, element) {
    await act(element, async () => {
      const { data, etag } = await api.tagged(`api/notification-targets/${one.id}`, undefined, { signal });
      await api.put(`api/notification-targets/${one.id}`, { ...data.target, enabled: isOn }, { headers: { 'If-Match': etag } });
      again();
    }, t('targets.saved'));
  }

  async function remove(one) {
    if (!(await confirm({ title: t('targets.delete'), text: t('targets.delete_text', { name: one.target.name }), action: t('actions.delete') }))) return;
    await act(null, async () => {
      await api.del(`api/notification-targets/${one.id}`);
      again();
    }, t('targets.deleted'));
  }

  const columns = [
    { key: 'name', label: t('targets.target'), primary: true, render: ({ target, provisioned }) => h('div', { class: 'alarm-name' }, h('span', { class: 'break' }, target.name), target.description && h('span', { class: 'sub break' }, target.description), provisioned && badge(t('rules.provisioned'), 'mute', { title: t('targets.provisioned_hint') })) },
    { key: 'channel', label: t('targets.channel'), render: ({ target }) => h('span', { class: 'target-channel' }, icon(CHANNEL_ICON[target.channel.type]), h('span', { class: 'break' }, t(`targets.channel_${target.channel.type}`), h('span', { class: 'sub break' }, address(target.channel)))) },
    { key: 'match', label: t('targets.gets'), render: ({ target }) => h('span', { class: 'break' }, matchText(target.match)) },
    { key: 'on', label: t('rules.on'), render: ({ target }) => badge(t(target.enabled === false ? 'rules.is_off' : 'rules.is_on'), target.enabled === false ? 'mute' : 'ok') },
    { key: 'do', label: t('alarms.actions'), hideLabel: true, align: 'end', class: 'actions-cell', render: (one) => h('span', { class: 'row-actions' },
      button(t('targets.test'), { small: true, onclick: (event) => test(one, event.currentTarget), 'aria-label': t('targets.test_name', { name: one.target.name }) }),
      !one.provisioned && menu(t('alarms.actions_for', { name: one.target.name }), [
        { text: `${t('actions.edit')}…`, iconName: 'edit', onclick: () => edit(one) },
        one.target.enabled === false ? { text: t('targets.enable'), iconName: 'play', onclick: () => enable(one, true) } : { text: t('targets.disable'), iconName: 'pause', onclick: () => enable(one, false) },
        { text: `${t('actions.delete')}…`, iconName: 'trash', danger: true, onclick: () => remove(one) },
      ])) },
  ];
  const again = load(box, () => api.all('api/notification-targets', { limit: 1_000 }, { signal }), (items) => {
    const view = table({ caption: t('targets.targets'), columns, rowClass: ({ target }) => target.enabled === false && 'rule-off', empty: emptyState({ iconName: 'target', title: t('targets.none'), text: t('targets.none_text'), actions: button(t('targets.new'), { kind: 'primary', iconName: 'plus', onclick: add }) }) });
    view.set(items);
    return view.element;
  }, { signal });
  return { element: card({ class: 'flush' }, box), add };
}

// --- The outbox

function outbox({ signal, query, setQuery, session }) {
  const box = h('div', {});
  let state = query.get('state') || '';
  const columns = [
    { key: 'what', label: t('notifications.what'), primary: true, class: 'col-what', render: (one) => h('div', { class: 'alarm-name' },
      one.alarm ? h('a', { class: 'strong-link', href: `#/alarms/${one.alarm}` }, one.notice?.message || `#${one.alarm}`) : h('span', {}, one.notice?.message || word('notifications', `kind_${one.kind}`)),
      h('span', { class: 'sub' }, word('notifications', `kind_${one.kind}`))) },
    { key: 'severity', label: t('alarms.severity'), class: 'wide-only', render: (one) => one.notice?.severity && severityBadge(one.notice.severity) },
    { key: 'target', label: t('notifications.target'), render: (one) => h('span', { class: 'target-name' }, icon(CHANNEL_ICON[one.channel] || 'target'), h('span', { class: 'break' }, one.target)) },
    { key: 'state', label: t('notifications.state'), render: (one) => h('span', {}, progressBadge(one.state), one.state !== 'sent' && one.error && h('span', { class: 'sub break' }, whyNot(one)),
      one.state !== 'sent' && one.attempts > 0 && h('span', { class: 'sub' }, t('notifications.attempts', { count: one.attempts }), one.state === 'waiting' && [' · ', t('notifications.next'), ' ', ago(one.not_before)])) },
    { key: 'made', label: t('notifications.made'), class: 'nowrap', render: (one) => exact(one.sent_at || one.created_at, 'minute') },
    { key: 'do', label: t('alarms.actions'), hideLabel: true, align: 'end', render: (one) => (one.state === 'dead' && session.can('alarms:write') ? retryNotification(one, () => again()) : null) },
  ];
  let shown = 0;
  const read = (cursor) => api.get('api/notifications', { state: state || undefined, limit: 50, cursor }, { signal });
  const again = load(box, () => read(), (first) => {
    const rows = [];
    const view = table({ caption: t('targets.outbox'), columns, empty: state ? emptyState({ iconName: 'filter', title: t('notifications.none_state') }) : emptyState({ iconName: 'target', title: t('notifications.none'), text: t('notifications.none_text') }) });
    const foot = h('div', {});
    const add = (page) => {
      rows.push(...page.items);
      shown = rows.length;
      view.set(rows);
      fill(foot, page.next_cursor && moreButton(async () => add(await read(page.next_cursor))));
    };
    add(first);
    return [view.element, foot];
  }, { signal });
  // Who has read on is not thrown back to the first page, and who is at a button keeps it.
  const fresh = () => {
    if (shown <= 50 && !box.contains(document.activeElement)) again();
  };
  every(10_000, signal, fresh);
  if (session.can('alarms:read')) listen({ events: ['alarms'], signal }, throttle(() => setTimeout(fresh, 1_500), 3_000));
  return card({ class: 'flush' }, h('div', { class: 'toolbar pad' }, segmented(['', 'waiting', 'sent', 'dead', 'cancelled', 'suppressed'].map((one) => [one, t(`notifications.state_${one || 'all'}`)]), state, (value) => {
    state = value;
    setQuery({ state: value || null });
    again();
  }, t('notifications.state'))), box);
}

export default async function page({ root, query, signal, setQuery, session }) {
  const tab = query.get('tab') === 'outbox' ? 'outbox' : 'targets';
  const found = tab === 'targets' ? targetsCard({ signal }) : null;
  root.append(pageHead(t('nav.targets'), { sub: t(tab === 'targets' ? 'targets.sub' : 'targets.outbox_sub'), actions: found && button(t('targets.new'), { kind: 'primary', iconName: 'plus', onclick: found.add }) }),
    tabs([{ key: 'targets', text: t('targets.targets'), href: '#/admin/targets' }, { key: 'outbox', text: t('targets.outbox'), href: '#/admin/targets?tab=outbox' }], tab, t('nav.targets')),
    found ? found.element : outbox({ signal, query, setQuery, session }));
}


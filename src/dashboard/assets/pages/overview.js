// What matters at this moment: what needs attention, devices, alarms, messages, the store. Reads the
// overview anew when something happened, and every few seconds while it is looked at.

import { api, seg } from '../api.js';
import { fill, h, icon, s } from '../dom.js';
import { hasText, t, word } from '../i18n.js';
import { bars } from '../spark.js';
import { listen } from '../stream.js';
import { ago, bytes, duration, number, percent, reading, setDeviceZone } from '../time.js';
import { badge, card, emptyState, errorState, every, linkButton, pageHead, severityTone, skeleton, throttle } from '../ui.js';
import { firstRun } from './first-run.js';

const SEVERITIES = ['critical', 'major', 'minor', 'warning', 'info'];
const REFRESH_MS = 5_000;
const SHOWN_ALARMS = 6;

function tile({ href, title, picture, tone }, value, ...below) {
  return h(href ? 'a' : 'div', { class: ['tile', tone && `tile-${tone}`], href },
    h('div', { class: 'tile-head' }, icon(picture), title), h('div', { class: 'tile-value tabular' }, value), h('div', { class: 'tile-below' }, below));
}

function attentionLink({ kind, reference = {} }) {
  if (reference.device) return `#/devices/${seg(reference.device)}${kind === 'quarantine' ? '?tab=quarantine' : ''}`;
  switch (kind) {
    case 'alarm': return `#/alarms?severity_min=${seg(reference.severity || '')}`;
    case 'pending_devices': return '#/devices?status=pending';
    case 'offline_devices': return '#/devices?status=offline';
    case 'quarantine': return '#/admin/quarantine';
    case 'notification_failed': return '#/admin/targets?tab=outbox&state=dead';
    default: return null;
  }
}

const ATTENTION_ICON = { alarm: 'bell', pending_devices: 'device', offline_devices: 'offline', quarantine: 'quarantine', notification_failed: 'target', disk_low: 'disk', store_full: 'disk' };
const ATTENTION_TONE = { critical: 'bad', warning: 'warn', info: 'info' };

function attention(list, can) {
  if (list.length === 0) {
    return card({ title: t('overview.attention') }, h('div', { class: 'notice ok' }, icon('check'), h('div', {}, h('strong', {}, t('overview.all_well')), h('p', { class: 'muted' }, t('overview.all_well_text')))));
  }
  return card({ title: t('overview.attention'), class: 'flush' }, h('ul', { class: 'attention' }, list.map((one) => {
    const key = `overview.attention_${one.kind}`;
    const severity = one.reference?.severity;
    const text = hasText(key) ? t(key, { count: one.count, severity: word('severity', severity || one.severity) }) : one.kind;
    const isShut = (one.kind === 'quarantine' && !one.reference?.device && !can('data:write')) || (one.kind === 'notification_failed' && !can('alarms:write'));
    const href = isShut ? null : attentionLink(one);
    return h('li', {}, h(href ? 'a' : 'div', { class: 'attention-item', href },
      h('span', { class: ['attention-icon', ATTENTION_TONE[one.severity]] }, icon(ATTENTION_ICON[one.kind] || 'info')),
      h('span', { class: 'grow' }, h('span', { class: 'attention-text' }, text), one.since && h('span', { class: 'sub' }, t('overview.since'), ' ', ago(one.since))),
      href && icon('right')));
  })));
}

function share(devices) {
  const active = Math.max(1, devices.total);
  const parts = [['ok', devices.online], ['mute', devices.offline], ['warn', devices.pending], ['bad', devices.blocked]];
  let x = 0;
  return s('svg', { class: 'share', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, parts.map(([tone, count]) => {
    const width = (count / active) * 100;
    const part = s('rect', { class: tone, x, y: 0, width, height: 6 });
    x += width;
    return part;
  }));
}

function tiles(data) {
  const { devices, alarms, messages, store } = data;
  const worst = SEVERITIES.find((severity) => alarms.by_severity?.[severity] > 0);
  const isDiskLow = (data.attention || []).some((one) => one.kind === 'disk_low');
  const heard = messages.series ? [...messages.series.accepted, ...messages.series.refused].some((count) => count > 0) : true;
  return h('div', { class: 'tiles' },
    tile({ href: '#/devices', title: t('overview.devices'), picture: 'device' }, [number(devices.online), h('small', {}, ` / ${number(devices.total)} `, t('overview.online'))],
      share(devices), h('span', {}, [['offline', devices.offline], ['pending', devices.pending], ['blocked', devices.blocked]].filter(([, count]) => count > 0)
        .map(([state, count]) => h('span', { class: 'part' }, `${number(count)} ${word('device_state', state).toLocaleLowerCase()}`)), devices.online === devices.total && devices.total > 0 && t('overview.all_online'))),
    tile({ href: '#/alarms', title: t('overview.alarms'), picture: 'bell', tone: worst && severityTone(worst) }, [number(alarms.active), h('small', {}, ' ', t('overview.active', { count: alarms.active }))],
      h('span', {}, alarms.active === 0 && alarms.unacknowledged === 0 ? t('overview.no_alarms') : SEVERITIES.filter((severity) => alarms.by_severity?.[severity] > 0)
        .map((severity) => h('span', { class: ['part', `tone-${severityTone(severity)}`] }, `${number(alarms.by_severity[severity])} ${word('severity', severity).toLocaleLowerCase()}`))),
      alarms.unacknowledged > 0 && h('span', {}, t('overview.unacknowledged', { count: alarms.unacknowledged }))),
    tile({ title: t('overview.messages'), picture: 'message' }, [number(messages.per_second, messages.per_second < 10 ? 1 : 0), h('small', {}, t('overview.per_second'))],
      h('span', { class: messages.success_rate !== null && messages.success_rate < 0.99 ? 'tone-warn' : null }, !heard || messages.success_rate === null || messages.success_rate === undefined ? t('overview.no_messages') : t('overview.accepted', { share: percent(messages.success_rate, 2) }))),
    tile({ title: t('overview.store'), picture: 'disk', tone: isDiskLow ? 'warn' : null }, bytes(store.bytes),
      store.readings !== null && store.readings !== undefined && h('span', {}, t('overview.readings', { count: store.readings })),
      store.disk_free_bytes !== null && store.disk_free_bytes !== undefined && h('span', {}, t('overview.disk_free', { free: bytes(store.disk_free_bytes) }))));
}

/** The last hour by minutes: 360 steps of ten seconds would be thinner than a pixel on a phone. */
function perMinute({ step_seconds: step, accepted, refused }) {
  const size = Math.max(1, Math.round(60 / step));
  const list = [];
  for (let at = 0; at < accepted.length; at += size) {
    const sum = (series) => series.slice(at, at + size).reduce((total, one) => total + (one || 0), 0);
    list.push([sum(accepted), sum(refused)]);
  }
  return list;
}

function throughput({ series }) {
  if (!series?.accepted?.length) return null;
  const list = perMinute(series);
  const accepted = list.reduce((sum, [count]) => sum + count, 0);
  const refused = list.reduce((sum, [, count]) => sum + count, 0);
  if (accepted + refused === 0) return null;
  const most = Math.max(...list.map(([a, b]) => a + b));
  return card({ title: t('overview.last_hour'), sub: t('overview.last_hour_text', { accepted, refused }) },
    h('div', { class: 'bars-box' }, bars(list, { label: t('overview.last_hour_label', { accepted, refused, most }) }), h('span', { class: 'bars-top' }, t('overview.per_minute', { count: most }))),
    h('div', { class: 'legend' }, h('span', { class: 'legend-item a' }, t('overview.legend_accepted')), h('span', { class: 'legend-item b' }, t('overview.legend_refused')), h('span', { class: 'grow end' }, t('overview.legend_range'))));
}

function alarmList(items) {
  const title = t('overview.open_alarms');
  const actions = linkButton(t('overview.all_alarms'), '#/alarms', { kind: 'plain', small: true });
  if (items.length === 0) return card({ title, actions }, emptyState({ iconName: 'check', title: t('overview.no_alarms'), text: t('overview.no_alarms_text') }));
  const weight = (alarm) => SEVERITIES.indexOf(alarm.severity) + (alarm.acknowledged ? 10 : 0);
  const first = [...items].sort((one, other) => weight(one) - weight(other)).slice(0, SHOWN_ALARMS);
  return card({ title, actions, class: 'flush' }, h('ul', { class: 'attention' }, first.map((alarm) => h('li', {}, h('a', { class: 'attention-item', href: `#/alarms/${alarm.id}` },
    h('span', { class: ['attention-icon', severityTone(alarm.severity)], title: word('severity', alarm.severity) }, icon(alarm.severity === 'critical' ? 'critical' : alarm.severity === 'info' ? 'info' : 'warning', word('severity', alarm.severity))),
    h('span', { class: 'grow' }, h('span', { class: 'attention-text' }, alarm.rule.name), h('span', { class: 'sub break' }, [alarm.device, alarm.sensor, alarm.value !== undefined && alarm.value !== null && reading(alarm.value)].filter(Boolean).join(' · '), ' · ', ago(alarm.raised_at))),
    badge(alarm.acknowledged ? t('overview.acked') : t('overview.waiting'), alarm.acknowledged ? 'mute' : 'warn'), icon('right'))))));
}

export default async function overview(context) {
  const { root, signal, session } = context;
  root.append(pageHead(t('nav.overview'), { sub: h('span', { class: 'server-line' }) }));
  const line = root.querySelector('.server-line');
  const body = h('div', { class: 'overview' }, skeleton(8));
  root.append(body);
  let ending = null;
  const parts = { attention: h('div', {}), tiles: h('div', {}), alarms: h('div', {}), hour: h('div', {}) };
  const shown = {};

  /** Leaves what says the same as before as it is, so that nothing flickers and focus stays. */
  function put(name, data, make) {
    const text = JSON.stringify(data);
    if (shown[name] === text) return;
    shown[name] = text;
    const focused = parts[name].contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    fill(parts[name], make());
    if (focused) parts[name].querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  function show(data, alarms) {
    setDeviceZone(data.time_zone);
    fill(line, t('overview.server', { version: data.version, uptime: duration(Math.floor(data.uptime_seconds / 60) * 60 || data.uptime_seconds) }));
    const isEmpty = data.devices.total === 0;
    if (isEmpty && !ending) {
      ending = new AbortController();
      signal.addEventListener('abort', () => ending?.abort(), { once: true });
      firstRun({ ...context, root: body, signal: ending.signal }, () => update());
      return;
    }
    if (isEmpty) return;
    if (ending) {
      // The first message has been seen; its page says so until one goes on.
      if (body.querySelector('.first-done')) return;
      ending.abort();
      ending = null;
    }
    if (!parts.tiles.isConnected) fill(body, parts.tiles, h('div', { class: 'overview-columns' }, parts.attention, parts.alarms), parts.hour);
    put('tiles', [data.devices, data.alarms, data.messages.per_second, data.messages.success_rate, data.store, data.attention], () => tiles(data));
    put('attention', data.attention, () => attention(data.attention || [], (scope) => session.can(scope)));
    if (alarms) put('alarms', alarms, () => alarmList(alarms));
    put('hour', data.messages.series, () => throughput(data.messages));
  }

  async function update() {
    try {
      const [data, alarms] = await Promise.all([
        api.get('api/overview', undefined, { signal }),
        session.can('alarms:read') ? api.get('api/alarms', { active: true, limit: 50 }, { signal }).then((page) => page.items) : null,
      ]);
      show(data, alarms);
    } catch (error) {
      if (signal.aborted) return;
      if (!parts.tiles.isConnected && !ending) fill(body, errorState(error, update));
    }
  }

  const soon = throttle(update, 1_000);
  const events = [...(session.can('alarms:read') ? ['alarms'] : []), ...(session.can('devices:read') ? ['presence'] : [])];
  if (events.length) listen({ events, signal }, (kind, told) => (kind === 'open' && !told.resumed ? null : soon()));
  every(REFRESH_MS, signal, update);
  context.continueToOverview = () => {
    ending?.abort();
    ending = null;
    update();
  };
  await update();
}

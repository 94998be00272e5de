// One alarm: how it stands, what can be done, its chart, and everything that has happened to it.

import { acknowledge, CHANNEL_ICON, commandsFor, eventText, progressBadge, retryNotification, stateBadges, whyNot } from '../alarming.js';
import { api, seg } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { listen } from '../stream.js';
import { ago, dateTime, exact, reading } from '../time.js';
import { button, card, facts, labelChips, load, menu, moreButton, pageHead, severityBadge, severityTone, throttle, toast } from '../ui.js';
import { editSilence } from './silences.js';

const EVENTS = 100;
const HOUR = 3_600_000;
const EVENT_ICON = {
  raised: 'bell', escalated: 'up', deescalated: 'down', cleared: 'check', level_raised: 'up', level_cleared: 'down', returned: 'refresh', latched: 'pause', acknowledged: 'check',
  unacknowledged: 'refresh', forced_clear: 'close', shelved: 'clock', unshelved: 'clock', shelve_expired: 'clock', reset: 'refresh', out_of_service: 'block', in_service: 'play',
  suppressed: 'bell-off', unsuppressed: 'bell', rule_disabled: 'bell-off',
};
const GOOD = new Set(['cleared', 'acknowledged', 'in_service']);
const LOUD = new Set(['raised', 'escalated', 'level_raised']);

function valueText(value, unit) {
  return value === undefined || value === null ? null : `${reading(value)}${unit ? ` ${unit}` : ''}`;
}

// --- Timeline: events and notifications, the latest first

function eventItem(event, unit) {
  const tone = LOUD.has(event.kind) ? severityTone(event.severity) : GOOD.has(event.kind) ? 'ok' : 'mute';
  const late = Math.abs(new Date(event.arrived_at) - new Date(event.at)) > 5_000;
  return { at: event.at, order: event.id, element: h('li', { class: ['event', tone] }, h('span', { class: 'event-icon' }, icon(EVENT_ICON[event.kind] || 'info')),
    h('div', { class: 'grow' },
      h('div', { class: 'row' }, h('strong', {}, eventText(event.kind)), LOUD.has(event.kind) && severityBadge(event.severity), h('span', { class: 'tabular' }, valueText(event.value, unit))),
      event.note && h('p', { class: 'event-note' }, event.note),
      h('p', { class: 'muted small-text' }, exact(event.at), event.actor && ` · ${t('alarms.by', { name: event.actor })}`, late && ` · ${t('alarms.arrived', { time: dateTime(event.arrived_at, 'full') })}`))) };
}

/** Who was told of one event: those that were reached in one line, the others each with why not. */
function told(group, mayWrite, again) {
  const [first] = group;
  const sent = group.filter((one) => one.state === 'sent');
  const rest = group.filter((one) => one.state !== 'sent');
  return { at: first.created_at, order: 1e15 + first.id, element: h('li', { class: ['event', 'told', rest.some((one) => one.state === 'dead') && 'bad'] }, h('span', { class: 'event-icon' }, icon('target')),
    h('div', { class: 'grow' },
      h('p', {}, t('alarms.told', { kind: word('notifications', `kind_${first.kind}`) })),
      h('ul', { class: 'told-list' },
        sent.map((one) => h('li', { class: 'row tight', title: dateTime(one.sent_at, 'exact') }, icon(CHANNEL_ICON[one.channel] || 'target'), one.target, progressBadge(one.state))),
        rest.map((one) => h('li', { class: 'row tight' }, icon(CHANNEL_ICON[one.channel] || 'target'), one.target, progressBadge(one.state),
          h('span', { class: 'muted small-text break' }, [whyNot(one), one.attempts > 1 && t('notifications.attempts', { count: one.attempts })].filter(Boolean).join(' · '),
            one.state === 'waiting' && new Date(one.not_before) > new Date() && [` · ${t('notifications.next')} `, ago(one.not_before)]),
          one.state === 'dead' && mayWrite && retryNotification(one, again)))),
      h('p', { class: 'muted small-text' }, exact(first.created_at)))) };
}

/** Notifications of one event were made at the same moment. */
function groups(items) {
  const found = new Map();
  for (const one of items) {
    const key = `${one.created_at}|${one.kind}`;
    found.set(key, [...(found.get(key) || []), one]);
  }
  return [...found.values()];
}

// --- Chart

/** From a while before it was raised to a while after it was over; what still goes on moves with the time. */
function rangeOf(alarm) {
  const raised = Date.parse(alarm.raised_at);
  const end = alarm.active ? Date.now() : Date.parse(alarm.cleared_at || alarm.changed_at);
  const span = Math.max(end - raised, HOUR / 4);
  if (alarm.active) {
    const preset = [['1h', HOUR], ['6h', 6 * HOUR], ['24h', 24 * HOUR], ['7d', 168 * HOUR], ['30d', 720 * HOUR]].find(([, length]) => length > span * 1.3);
    if (preset) return { preset: preset[0] };
  }
  return { from: raised - Math.max(span * 0.4, HOUR / 4), to: Math.min(Date.now(), end + Math.max(span * 0.4, HOUR / 4)) };
}

async function chartCard(alarm, signal) {
  if (!alarm.sensor_id) return null;
  const { chart } = await import('../chart.js');
  const drawn = chart({ sensors: [alarm.sensor_id], ...rangeOf(alarm), height: 280, bands: true, markers: true, signal, label: t('alarms.chart_of', { sensor: alarm.sensor, device: alarm.device }) });
  listen({ events: ['readings'], devices: [alarm.device], signal }, (kind, news) => {
    if (kind === 'readings') drawn.push(news.data);
    if (kind === 'gap') drawn.reload();
  });
  const whole = card({ title: t('alarms.chart'), sub: `${alarm.device} · ${alarm.sensor}` }, drawn.element);
  // Without charts in the server there is nothing to frame.
  new MutationObserver(() => { whole.hidden = drawn.element.hidden; }).observe(drawn.element, { attributes: true, attributeFilter: ['hidden'] });
  return { element: whole, reload: drawn.reload };
}

// --- The page

export default async function page({ root, params, signal, setTitle, session }) {
  const mayWrite = session.can('alarms:write');
  const path = `api/alarms/${seg(params.id)}`;
  let alarm = await api.get(path, { limit: EVENTS }, { signal });
  const unit = alarm.sensor_id && session.can('devices:read') ? (await api.get(`api/sensors/${alarm.sensor_id}`, undefined, { signal }).catch(() => null))?.unit : null;
  if (signal.aborted) return;
  const head = h('div', {});
  const body = h('div', { class: 'facts-body' });
  const timeline = h('div', {});
  /** Nothing is told of this rule and device for a while. */
  async function silence() {
    if (await editSilence(null, session, { devices: [alarm.device], rules: [alarm.rule.name] })) toast(t('silences.created'));
  }

  const reload = async () => {
    alarm = await api.get(path, { limit: EVENTS }, { signal });
    showAlarm();
    readTimeline();
  };

  function showAlarm() {
    setTitle(alarm.message || alarm.rule.name);
    const focused = head.contains(document.activeElement) ? document.activeElement.textContent : null;
    const commands = commandsFor(alarm, reload);
    const rest = [...commands.slice(alarm.acknowledged || alarm.closed ? 0 : 1), { text: `${t('alarms.silence')}…`, iconName: 'bell-off', onclick: silence }];
    fill(head, pageHead(alarm.message || alarm.rule.name, {
      back: { href: '#/alarms', text: t('nav.alarms') }, sub: [severityBadge(alarm.severity), stateBadges(alarm)],
      actions: mayWrite && [
        !alarm.acknowledged && !alarm.closed && button(`${t('alarms.ack')}…`, { kind: 'primary', iconName: 'check', onclick: async () => { if (await acknowledge([alarm])) reload(); } }),
        rest.length > 0 && menu(t('alarms.more'), rest, { text: t('alarms.more'), iconName: 'dots' }),
      ],
    }));
    if (focused) [...head.querySelectorAll('a, button')].find((one) => one.textContent === focused)?.focus({ preventScroll: true });
    const isShelved = alarm.shelved_until && new Date(alarm.shelved_until) > new Date();
    fill(body,
      isShelved && note('clock', t('alarms.shelved_note', { time: dateTime(alarm.shelved_until, 'exact') })),
      alarm.suppressed && note('bell-off', t('alarms.suppressed_hint')),
      alarm.out_of_service && note('block', t('alarms.out_of_service_hint')),
      alarm.latched && note('pause', t('alarms.latched_hint')),
      facts([
        [t('alarms.rule'), h('a', { href: `#/rules/${alarm.rule.id}` }, t('alarms.rule_version', { name: alarm.rule.name, version: alarm.rule.version }))],
        [t('alarms.device'), h('a', { href: `#/devices/${seg(alarm.device)}` }, alarm.device)],
        [t('alarms.sensor'), alarm.sensor],
        [t('alarms.raised'), [exact(alarm.raised_at), h('span', { class: 'muted small-text' }, ' (', ago(alarm.raised_at), ')')]],
        [t('alarms.cleared_at'), alarm.cleared_at && exact(alarm.cleared_at)],
        [t('alarms.value'), valueText(alarm.value, unit)],
        [t('alarms.peak'), valueText(alarm.peak, unit)],
        [t('alarms.highest'), alarm.highest_severity !== alarm.severity && severityBadge(alarm.highest_severity)],
        [t('alarms.occurrences'), alarm.occurrences > 1 && String(alarm.occurrences)],
        [t('alarms.acknowledged'), alarm.acknowledged && alarm.acknowledged_at && [alarm.acknowledged_by && `${alarm.acknowledged_by} · `, exact(alarm.acknowledged_at)]],
        [t('alarms.note'), alarm.note],
        [t('alarms.last_told'), alarm.last_notified_at && exact(alarm.last_notified_at)],
        [t('alarms.labels'), Object.keys(alarm.labels).length > 0 && labelChips(alarm.labels)],
      ].filter((one) => one[1])));
  }

  const note = (iconName, text) => h('div', { class: 'notice' }, icon(iconName), h('p', {}, text));

  const readTimeline = load(timeline, async () => {
    const [detail, sent] = await Promise.all([api.get(path, { limit: EVENTS }, { signal }), api.get('api/notifications', { alarm: alarm.id, limit: EVENTS }, { signal }).catch(() => ({ items: [] }))]);
    return { detail, sent };
  }, ({ detail, sent }) => {
    const list = h('ol', { class: 'timeline' });
    const foot = h('div', {});
    const items = groups(sent.items).map((group) => told(group, mayWrite, () => readTimeline()));
    const add = (part) => {
      items.push(...part.events.map((event) => eventItem(event, unit)));
      items.sort((one, other) => (one.at < other.at ? 1 : one.at > other.at ? -1 : other.order - one.order));
      fill(list, items.map((one) => one.element));
      fill(foot, part.next_cursor && moreButton(async () => add(await api.get(path, { limit: EVENTS, cursor: part.next_cursor }, { signal }))));
    };
    add(detail);
    return [list, foot];
  }, { signal, lines: 5 });

  showAlarm();
  root.append(head, card({ title: t('alarms.facts') }, body));
  const place = h('div', { class: 'contents' });
  root.append(place, card({ title: t('alarms.timeline'), sub: t('alarms.timeline_text') }, timeline));
  let drawn = null;
  chartCard(alarm, signal).then((found) => {
    drawn = found;
    if (found && !signal.aborted) fill(place, found.element);
  }).catch(() => {});

  const soon = throttle(() => readTimeline(), 500);
  listen({ events: ['alarms'], signal }, (kind, news) => {
    if (kind === 'gap') reload();
    if (kind !== 'alarms' || news.alarm.id !== alarm.id) return;
    alarm = { ...alarm, ...news.alarm };
    // A value that is no longer true is left out, not sent as null.
    for (const key of ['shelved_until', 'acknowledged_by', 'acknowledged_at', 'note', 'cleared_at']) if (!(key in news.alarm)) delete alarm[key];
    if (!head.querySelector('.menu-list:popover-open')) showAlarm();
    soon();
    drawn?.reload();
  });
}


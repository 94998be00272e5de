// What the pages about alarms share: states in words, conditions and scopes in words, and what can be
// done to alarms, with the dialogs that ask for it.

import { api } from './api.js';
import { h } from './dom.js';
import { hasText, t, word } from './i18n.js';
import { dateTime, duration, reading, viewerZone, zone } from './time.js';
import { act, badge, button, dialog, failFields, field, severityBadge, toast } from './ui.js';

export const SEVERITIES = ['info', 'warning', 'minor', 'major', 'critical'];
export const rank = (severity) => SEVERITIES.indexOf(severity);

// --- Durations: the server writes `1h30m`, people read "1 h 30 min"

const UNITS = { ms: 0.001, s: 1, m: 60, min: 60, h: 3_600, d: 86_400, w: 604_800 };

/** Seconds of a text such as `1h 30m`, or null. */
export function seconds(text) {
  const clean = String(text ?? '').trim().replaceAll(' ', '');
  if (!/^(\d+(\.\d+)?(ms|s|min|m|h|d|w))+$/.test(clean)) return null;
  return [...clean.matchAll(/(\d+(?:\.\d+)?)(ms|min|[smhdw])/g)].reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit], 0);
}

/** The duration in the viewer's words, or as it is written. */
export function durationText(text) {
  const value = seconds(text);
  return value === null ? String(text) : duration(value);
}

// --- States

/** The badges that say how an alarm stands; the most telling first. */
export function stateBadges(alarm) {
  const list = [];
  if (alarm.active) list.push(badge(t(alarm.latched ? 'alarms.latched' : 'alarms.active'), alarm.latched ? 'warn' : 'bad'));
  else list.push(badge(t(alarm.closed ? 'alarms.closed' : 'alarms.cleared'), alarm.closed ? 'mute' : 'ok'));
  if (alarm.acknowledged) list.push(badge(t('alarms.acknowledged'), 'mute', { iconName: 'check', title: alarm.acknowledged_by && t('alarms.by', { name: alarm.acknowledged_by }) }));
  else list.push(badge(t('alarms.unacknowledged'), 'warn'));
  if (alarm.shelved_until && new Date(alarm.shelved_until) > new Date()) {
    list.push(badge(t('alarms.shelved'), 'info', { iconName: 'clock', title: t('alarms.shelved_until', { time: dateTime(alarm.shelved_until, 'exact') }) }));
  }
  if (alarm.suppressed) list.push(badge(t('alarms.suppressed'), 'mute', { iconName: 'bell-off', title: t('alarms.suppressed_hint') }));
  if (alarm.out_of_service) list.push(badge(t('alarms.out_of_service'), 'mute', { iconName: 'block', title: t('alarms.out_of_service_hint') }));
  return h('span', { class: 'row tight' }, list);
}

/** Whether it waits for somebody: neither put aside nor acknowledged. */
export function isWaiting(alarm) {
  return !alarm.acknowledged && !alarm.closed && !isAside(alarm);
}

export function isAside(alarm) {
  return alarm.suppressed || alarm.out_of_service || (alarm.shelved_until && new Date(alarm.shelved_until) > new Date());
}

/** Those that wait for somebody first, then active ones, by severity, then the last raised. */
export function byUrgency(one, other) {
  return (isWaiting(other) - isWaiting(one)) || (other.active - one.active) || (rank(other.severity) - rank(one.severity)) || (one.raised_at < other.raised_at ? 1 : -1);
}

// --- Rules in words

function limits(condition) {
  if (condition.type === 'above') return t('rules.say_above', { limit: reading(condition.limit) });
  if (condition.type === 'below') return t('rules.say_below', { limit: reading(condition.limit) });
  const pair = { low: reading(condition.low), high: reading(condition.high) };
  return t(condition.type === 'outside' ? 'rules.say_outside' : 'rules.say_inside', pair);
}

const limitOf = (value) => reading(typeof value === 'object' ? value.limit : value);

function aggregate(condition) {
  const inner = ['above', 'below'].filter((key) => condition[key] !== undefined && condition[key] !== null).map((key) => t(`rules.say_${key}`, { limit: limitOf(condition[key]) }));
  for (const key of ['outside', 'inside']) if (condition[key]) inner.push(t(`rules.say_${key}`, { low: reading(condition[key].low), high: reading(condition[key].high) }));
  return t('rules.say_aggregate', { figure: word('conditions', condition.function), window: durationText(condition.window), limit: inner.join(', ') });
}

function rate(condition) {
  const parts = [];
  if (condition.above !== undefined && condition.above !== null) parts.push(t('rules.say_rising', { limit: limitOf(condition.above) }));
  if (condition.below !== undefined && condition.below !== null) parts.push(t('rules.say_falling', { limit: limitOf(condition.below) }));
  return t('rules.say_rate', { limit: parts.join(` ${t('rules.say_or')} `), per: durationText(condition.per) });
}

/** A condition as a sentence's part: "above 70", "no reading for 15 min". */
export function conditionText(condition) {
  switch (condition?.type) {
    case 'above': case 'below': case 'outside': case 'inside': return limits(condition);
    case 'equals': case 'differs': return t(`rules.say_${condition.type}`, { value: typeof condition.value === 'number' ? reading(condition.value) : `“${condition.value}”` });
    case 'rate': return rate(condition);
    case 'aggregate': return aggregate(condition);
    case 'count_of': return t('rules.say_count_of', { n: condition.n, m: condition.m, condition: conditionText(condition.condition) });
    case 'stuck': case 'missing': case 'silent': return t(`rules.say_${condition.type}`, { time: durationText(condition.for) });
    case 'offline': case 'bad_quality': return t(`rules.say_${condition.type}`);
    case 'all': case 'any': return condition.conditions.map((one) => `${one.sensor ? `${one.sensor} ` : ''}${conditionText(one)}`).join(` ${t(condition.type === 'all' ? 'rules.say_and' : 'rules.say_or')} `);
    default: return String(condition?.type ?? '');
  }
}

/** What a rule is for, in words. */
export function scopeText(scope = {}) {
  const parts = [];
  const list = (key, values) => values?.length && parts.push(t(`rules.scope_${key}`, { names: values.join(', ') }));
  list('devices', scope.devices);
  if (scope.device_glob) parts.push(t('rules.scope_devices', { names: scope.device_glob }));
  list('gateways', scope.gateways);
  if (scope.kinds?.length) parts.push(scope.kinds.map((kind) => word('rules', `kind_${kind}`)).join(', '));
  list('labels', Object.entries(scope.labels || {}).map(([name, value]) => `${name}=${value}`));
  list('sensors', scope.sensors);
  if (scope.sensor_glob) parts.push(t('rules.scope_sensors', { names: scope.sensor_glob }));
  list('types', scope.sensor_types);
  return parts.length ? parts.join(' · ') : t('rules.scope_all');
}

/** Each level of a rule: how bad, and from when on. */
export function levelList(levels, { max = 5 } = {}) {
  return h('ul', { class: 'levels' }, levels.slice(0, max).map((level) =>
    h('li', {}, severityBadge(level.severity), h('span', { class: 'break' }, conditionText(level.condition)))));
}

/** Which notices a matcher means, in words. */
export function matchText(match = {}) {
  const parts = [];
  if (match.min_severity) parts.push(t('silences.from_severity', { severity: word('severity', match.min_severity) }));
  if (match.severities?.length) parts.push(match.severities.map((one) => word('severity', one)).join(', '));
  if (match.devices?.length) parts.push(t('rules.scope_devices', { names: match.devices.join(', ') }));
  if (match.rules?.length) parts.push(t('silences.of_rules', { names: match.rules.join(', ') }));
  const labels = Object.entries(match.labels || {});
  if (labels.length) parts.push(t('rules.scope_labels', { names: labels.map(([name, value]) => `${name}=${value}`).join(', ') }));
  return parts.length ? parts.join(' · ') : t('silences.everything');
}

// --- What can be done

const NOTE_MAX = 1_000;

function noteField(label = t('alarms.note')) {
  return field({ label, name: 'note', type: 'textarea', rows: 3, maxlength: NOTE_MAX, optional: true, hint: t('alarms.note_hint') });
}

/** Asks for a note, then does it to each alarm; resolves true where it was done. */
async function withNote({ title, text, action, kind, extra = [], send }) {
  const fields = { ...Object.fromEntries(extra.map((one) => [one.name, one])), note: noteField() };
  return Boolean(await dialog({
    title, submit: action, submitKind: kind, body: h('div', { class: 'stack' }, text && h('p', {}, text), Object.values(fields).map((one) => one.element)),
    async onsubmit(close, general) {
      try {
        await send(Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.value])));
        close(true);
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  }));
}

const body = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== '' && value !== null && value !== undefined));

/** One command to several alarms; says how many did not take it and why. */
async function each(alarms, path, values) {
  let done = 0;
  let failure = null;
  for (const alarm of alarms) {
    try {
      await api.post(`api/alarms/${alarm.id}/${path}`, body(values));
      done += 1;
    } catch (error) {
      failure ||= error;
    }
  }
  if (failure && done === 0) throw failure;
  if (failure) toast(t('alarms.some_failed', { done, count: alarms.length, detail: failure.detail || failure.message }), { tone: 'bad' });
  return done;
}

const names = (alarms) => (alarms.length === 1 ? alarms[0].message : t('alarms.count', { count: alarms.length }));

export async function acknowledge(alarms) {
  const isDone = await withNote({
    title: t('alarms.ack'), text: names(alarms), action: t('alarms.ack'),
    async send({ note }) {
      if (alarms.length === 1) {
        await api.post(`api/alarms/${alarms[0].id}/ack`, body({ note }));
        return;
      }
      const answer = await api.post('api/alarms/acknowledge', { ids: alarms.map((one) => one.id), ...body({ note }) });
      const refused = answer.results.filter((one) => !one.ok);
      if (refused.length) toast(t('alarms.some_failed', { done: answer.acknowledged, count: alarms.length, detail: refused[0].detail || '' }), { tone: 'bad' });
    },
  });
  if (isDone) toast(t('alarms.ack_done', { count: alarms.length }));
  return isDone;
}

/** Everything open that meets a filter, however many there are. */
export async function acknowledgeAll(filter) {
  let count = 0;
  const isDone = await withNote({
    title: t('alarms.ack_all'), text: t('alarms.ack_all_text'), action: t('alarms.ack_all'),
    async send({ note }) {
      for (let hasMore = true; hasMore;) {
        const answer = await api.post('api/alarms/acknowledge', { filter: body(filter), ...body({ note }) });
        count += answer.acknowledged;
        hasMore = answer.has_more && answer.acknowledged > 0;
      }
    },
  });
  if (isDone) toast(t('alarms.ack_done', { count }));
  return isDone;
}

const SHELF = ['15m', '1h', '4h', '8h', '1d', '7d'];

export async function shelve(alarms) {
  const choice = field({ label: t('alarms.shelve_for'), name: 'duration', type: 'select', value: '1h', options: [...SHELF.map((one) => [one, durationText(one)]), ['', t('alarms.shelve_own')]], onchange: () => show() });
  const own = field({ label: t('alarms.shelve_until'), name: 'until', type: 'datetime-local', value: localInput(new Date(Date.now() + 7_200_000)), hint: zoneHint() });
  const note = noteField();
  const show = () => { own.element.hidden = choice.value !== ''; };
  show();
  const isDone = await dialog({
    title: t('alarms.shelve'), submit: t('alarms.shelve'),
    body: h('div', { class: 'stack' }, h('p', {}, names(alarms)), h('p', { class: 'muted small-text' }, t('alarms.shelve_text')), choice.element, own.element, note.element),
    async onsubmit(close, general) {
      try {
        const until = choice.value === '' ? { until: fromLocal(own.value) } : { duration: hours(choice.value) };
        await each(alarms, 'shelve', { ...until, note: note.value });
        close(true);
      } catch (error) {
        failFields(error, { duration: choice, until: own, note }, general);
      }
    },
  });
  if (isDone) toast(t('alarms.shelve_done', { count: alarms.length }));
  return Boolean(isDone);
}

/** Days in hours: what every server reads. */
const hours = (text) => (text.endsWith('d') ? `${Number.parseInt(text, 10) * 24}h` : text);

/** For `<input type=datetime-local>`, in the browser's zone. */
export function localInput(when) {
  const date = new Date(when);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** Fields for times are the browser's: it is said where the page shows another zone. */
export function zoneHint() {
  return zone() === viewerZone() ? undefined : t('form.browser_zone', { zone: viewerZone() });
}

export function fromLocal(text) {
  const date = new Date(text);
  return text && !Number.isNaN(date.getTime()) ? date.toISOString() : undefined;
}

const PLAIN = {
  unack: ['alarms.unack', 'alarms.unack_text'],
  clear: ['alarms.clear', 'alarms.clear_text'],
  reset: ['alarms.reset', 'alarms.reset_text'],
  'out-of-service': ['alarms.take_out', 'alarms.take_out_text'],
  'in-service': ['alarms.put_in', 'alarms.put_in_text'],
  unshelve: ['alarms.unshelve', 'alarms.unshelve_text'],
};

/** A command that only asks for a note. */
export async function command(path, alarms) {
  const [title, text] = PLAIN[path];
  const isDone = await withNote({
    title: t(title), text: [names(alarms), h('br'), h('span', { class: 'muted small-text' }, t(text))], action: t(title), kind: path === 'clear' ? 'danger' : 'primary',
    send: (values) => each(alarms, path, values),
  });
  if (isDone) toast(t('alarms.done'));
  return isDone;
}

/** What can be done to one alarm as it stands, for a menu; `done` is called after it. */
export function commandsFor(alarm, done) {
  const run = (work) => async () => {
    if (await work()) done?.();
  };
  const isShelved = alarm.shelved_until && new Date(alarm.shelved_until) > new Date();
  if (alarm.closed) {
    return alarm.out_of_service ? [{ text: t('alarms.put_in'), iconName: 'play', onclick: run(() => command('in-service', [alarm])) }] : [];
  }
  return [
    !alarm.acknowledged && { text: `${t('alarms.ack')}…`, iconName: 'check', onclick: run(() => acknowledge([alarm])) },
    alarm.acknowledged && { text: `${t('alarms.unack')}…`, iconName: 'refresh', onclick: run(() => command('unack', [alarm])) },
    alarm.latched && { text: `${t('alarms.reset')}…`, iconName: 'refresh', onclick: run(() => command('reset', [alarm])) },
    !isShelved && { text: `${t('alarms.shelve')}…`, iconName: 'clock', onclick: run(() => shelve([alarm])) },
    isShelved && { text: `${t('alarms.unshelve')}…`, iconName: 'clock', onclick: run(() => command('unshelve', [alarm])) },
    !alarm.out_of_service && { text: `${t('alarms.take_out')}…`, iconName: 'block', onclick: run(() => command('out-of-service', [alarm])) },
    alarm.out_of_service && { text: `${t('alarms.put_in')}…`, iconName: 'play', onclick: run(() => command('in-service', [alarm])) },
    alarm.active && { text: `${t('alarms.clear')}…`, iconName: 'close', danger: true, onclick: run(() => command('clear', [alarm])) },
  ].filter(Boolean);
}

// --- Notifications

const PROGRESS_TONE = { waiting: 'warn', sent: 'ok', dead: 'bad', cancelled: 'mute', suppressed: 'mute' };

export function progressBadge(state) {
  return badge(word('notifications', `state_${state}`).replace(/^state_/, ''), PROGRESS_TONE[state] || 'mute');
}

export const CHANNEL_ICON = { email: 'message', webhook: 'external', mqtt: 'online', log: 'audit' };

/** Why it did not arrive, or was not sent, in words where the reason is one of ours. */
export function whyNot(one) {
  const silence = /^silence (\d+)$/.exec(one.error || '')?.[1];
  if (silence) return t('notifications.by_silence', { id: silence });
  if (one.state === 'suppressed') return t('notifications.by_cooldown');
  return one.error === 'no such target is enabled' ? t('notifications.no_target') : one.error || '';
}

/** A try that was given up goes again. */
export function retryNotification(one, done) {
  return button(t('notifications.retry'), { small: true, iconName: 'refresh', onclick: async (event) => {
    const answer = await act(event.currentTarget, () => api.post(`api/notifications/${one.id}/retry`), t('notifications.retried'));
    if (answer) done?.();
  } });
}

/** "raised", or the server's word where there is none of ours. */
export function eventText(kind) {
  return hasText(`alarms.event_${kind}`) ? t(`alarms.event_${kind}`) : String(kind);
}

// Times, durations, numbers and sizes, written for the viewer's language and zone.

import { h } from './dom.js';
import { locale, t } from './i18n.js';
import { settings } from './settings.js';

let deviceZone = null;

/** Told by the app as soon as the server has said which zone its devices write in. */
export function setDeviceZone(zone) {
  if (zone && isZone(zone)) deviceZone = zone;
}

export function knownDeviceZone() {
  return deviceZone;
}

export function viewerZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** The zone that times are shown in. */
export function zone() {
  const chosen = settings.get('zone');
  if (chosen === 'device') return deviceZone || viewerZone();
  if (chosen && chosen !== 'viewer' && isZone(chosen)) return chosen;
  return viewerZone();
}

export function isZone(name) {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }));
  } catch {
    return false;
  }
}

const formats = new Map();

function format(kind, options) {
  const key = `${locale()}|${zone()}|${kind}`;
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(locale(), { timeZone: zone(), hourCycle: 'h23', ...options });
    formats.set(key, found);
  }
  return found;
}

const PARTS = {
  exact: { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short' },
  full: { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' },
  minute: { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' },
  day: { year: 'numeric', month: 'short', day: 'numeric' },
  clock: { hour: '2-digit', minute: '2-digit', second: '2-digit' },
  hour: { hour: '2-digit', minute: '2-digit' },
};

function asDate(when) {
  return when instanceof Date ? when : new Date(when);
}

/** `kind`: exact (with zone), full, minute, day, clock, hour. */
export function dateTime(when, kind = 'full') {
  const date = asDate(when);
  return Number.isNaN(date.getTime()) ? String(when ?? '') : format(kind, PARTS[kind]).format(date);
}

const STEPS = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];

/** "3 min ago", "in 2 hr". */
export function relative(when) {
  const seconds = (asDate(when).getTime() - Date.now()) / 1000;
  const size = Math.abs(seconds);
  if (Number.isNaN(size)) return '';
  if (size < 5) return t('time.just_now');
  const words = new Intl.RelativeTimeFormat(locale(), { numeric: 'always', style: 'short' });
  for (const [unit, length] of STEPS) {
    if (size >= length) return words.format(Math.trunc(seconds / length), unit);
  }
  return words.format(Math.trunc(seconds), 'second');
}

/** A `<time>` that says how long ago and stays right; the exact time is its title. */
export function ago(when, { empty = '–' } = {}) {
  if (!when) return h('span', { class: 'muted' }, empty);
  return h('time', { datetime: asDate(when).toISOString(), title: dateTime(when, 'exact'), data: { ago: '' } }, relative(when));
}

/** A `<time>` with the exact time; how long ago is its title. */
export function exact(when, kind = 'full') {
  if (!when) return h('span', { class: 'muted' }, '–');
  return h('time', { datetime: asDate(when).toISOString(), title: `${dateTime(when, 'exact')} · ${relative(when)}` }, dateTime(when, kind));
}

/** The new text of a `<time>` made by `ago`. */
export function setAgo(element, when) {
  element.dateTime = asDate(when).toISOString();
  element.title = dateTime(when, 'exact');
  element.textContent = relative(when);
}

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll('time[data-ago]')) {
    const text = relative(element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}, 5_000);

/** "2 d 3 h", "4 min 5 s", "0.4 s": the two largest parts. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return '–';
  if (seconds < 10 && seconds !== Math.trunc(seconds)) return unit(Math.round(seconds * 10) / 10, 'second');
  const parts = [];
  let rest = Math.round(seconds);
  for (const [name, length] of [['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]]) {
    const count = Math.trunc(rest / length);
    rest -= count * length;
    if (count > 0) parts.push(unit(count, name));
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break;
  }
  return parts.length ? parts.join(' ') : unit(0, 'second');
}

function unit(value, name) {
  return new Intl.NumberFormat(locale(), { style: 'unit', unit: name, unitDisplay: 'short' }).format(value);
}

/** A number, with at most so many digits after the point. */
export function number(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);
}

/** A reading's value: as exact as it says something. */
export function reading(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toExponential(3).replace('e', ' e');
  return new Intl.NumberFormat(locale(), { maximumSignificantDigits: 6, maximumFractionDigits: 6 }).format(value);
}

export function percent(share, digits = 1) {
  if (share === null || share === undefined) return '–';
  return new Intl.NumberFormat(locale(), { style: 'percent', maximumFractionDigits: digits }).format(share);
}

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];

export function bytes(count) {
  if (count === null || count === undefined) return '–';
  let value = count;
  let at = 0;
  while (value >= 1000 && at < UNITS.length - 1) {
    value /= 1000;
    at += 1;
  }
  // Browsers write "41 byte".
  if (at === 0) return `${number(value)} B`;
  const digits = value >= 100 ? 0 : 1;
  return new Intl.NumberFormat(locale(), { style: 'unit', unit: UNITS[at], unitDisplay: 'short', maximumFractionDigits: digits }).format(value);
}

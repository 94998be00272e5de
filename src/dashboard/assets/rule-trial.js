// Trying a rule on what is stored: what it would have raised in the last days, beside the rule in force,
// as figures, as bars over time, over the chart, and as a list. Nothing is written and nobody is told.

import { ApiError, request, seg } from './api.js';
import { fill, h, icon, s } from './dom.js';
import { t } from './i18n.js';
import { dateTime, duration, exact, number, reading } from './time.js';
import { button, emptyState, errorState, moreButton, segmented, severityBadge, severityTone, table } from './ui.js';

const DAY = 86_400_000;
const LANES_MAX = 12;
const ROWS = 20;

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    rest += value || '';
    const parts = rest.split('\n');
    rest = parts.pop();
    for (const part of parts) if (part.trim()) yield JSON.parse(part);
    if (done) {
      if (rest.trim()) yield JSON.parse(rest);
      return;
    }
  }
}

/** The answer of a backtest; `onshare` is told how far it is, from 0 to 1. */
async function backtest(body, onshare, signal) {
  const answer = await request('POST', 'api/alarm-rules/backtest', { query: { stream: true }, body, signal, headers: { Accept: 'application/x-ndjson' } });
  let result = null;
  for await (const line of lines(answer)) {
    if (line.problem) throw new ApiError(line.problem.status, line.problem);
    if (line.progress) onshare(line.progress.share);
    else result = line;
  }
  if (!result) throw new ApiError(0, { title: 'network' });
  return result;
}

const who = (one) => [one.device, one.sensor].filter(Boolean).join(' · ');

function figure(title, value, before) {
  return h('div', {}, h('h3', {}, title), h('p', { class: 'figure' }, value), before !== undefined && h('p', { class: 'muted small-text' }, t('rules.trial_before', { value: before })));
}

// --- Bars over time

function lanes(result, onpick) {
  const [from, to] = [Date.parse(result.from), Date.parse(result.to)];
  const found = new Map();
  for (const alarm of result.rule.alarms) found.set(who(alarm), [...(found.get(who(alarm)) || []), alarm]);
  const list = [...found.entries()].sort(([, one], [, other]) => other.length - one.length);
  const x = (when) => ((Math.min(to, Math.max(from, when)) - from) / (to - from)) * 1_000;
  const rows = list.slice(0, LANES_MAX).map(([name, alarms], at) => {
    const pick = h('button', { type: 'button', class: 'truncate', title: name, 'aria-pressed': String(at === 0), onclick: () => {
      for (const one of whole.querySelectorAll('.lane > button')) one.setAttribute('aria-pressed', String(one === pick));
      onpick(alarms);
    } }, name);
    const bars = alarms.map((alarm) => {
      const left = x(Date.parse(alarm.raised_at));
      const right = x(alarm.cleared_at ? Date.parse(alarm.cleared_at) : to);
      return s('rect', { class: `bar-${severityTone(alarm.highest_severity)}`, x: left, y: 0, width: Math.max(2, right - left), height: 20 }, s('title', {}, `${dateTime(alarm.raised_at, 'minute')} · ${duration(alarm.duration_seconds)}`));
    });
    return h('div', { class: 'lane' }, alarms[0].sensor_id ? pick : h('span', { class: 'truncate', title: name }, name),
      s('svg', { viewBox: '0 0 1000 20', preserveAspectRatio: 'none', role: 'img', 'aria-label': t('alarms.count', { count: alarms.length }) }, bars), h('span', { class: 'tabular' }, number(alarms.length)));
  });
  const whole = h('div', { class: 'lanes' }, rows,
    h('div', { class: 'lane lane-axis' }, h('span', {}), h('div', {}, [0, 0.5, 1].map((share) => h('span', { class: 'tabular' }, dateTime(from + (to - from) * share, 'minute')))), h('span', {})),
    list.length > LANES_MAX && h('p', { class: 'muted small-text' }, t('rules.trial_more_lanes', { count: list.length - LANES_MAX })));
  return { element: whole, first: list[0]?.[1] || [] };
}

// --- Over the chart

/** Alarms as bands over what the chart has drawn, at the times that it says it shows. */
function paint(picture, alarms) {
  const svg = picture.querySelector('.chart-picture > svg');
  if (!svg) return;
  svg.querySelector('.backtest')?.remove();
  const [left, top, width, height] = (svg.dataset.plot || '').split(',').map(Number);
  const [from, to] = [Number(svg.dataset.from), Number(svg.dataset.to)];
  if (!width || !(to > from)) return;
  const scale = (svg.viewBox.baseVal.width || width) / (Number.parseFloat(svg.getAttribute('width')) || svg.viewBox.baseVal.width || 1);
  const x = (when) => left + ((Math.min(to, Math.max(from, when)) - from) / (to - from)) * width;
  const bars = alarms.map((alarm) => {
    const [start, end] = [x(Date.parse(alarm.raised_at)), x(alarm.cleared_at ? Date.parse(alarm.cleared_at) : to)];
    return s('rect', { class: ['backtest-bar', `bar-${severityTone(alarm.highest_severity)}`].join(' '), x: start * scale, y: top * scale, width: Math.max(1.5, end - start) * scale, height: height * scale });
  });
  svg.append(s('g', { class: 'backtest' }, bars));
}

async function picture(result, first, signal) {
  const box = h('div', { class: 'contents' });
  const { chart } = await import('./chart.js');
  let alarms = first;
  const show = (next) => {
    alarms = next;
    const id = alarms[0]?.sensor_id;
    if (!id) {
      fill(box);
      return;
    }
    const drawn = chart({ sensors: [id], from: Date.parse(result.from), to: Date.parse(result.to), height: 220, bands: false, markers: false, controls: false, signal, label: t('rules.trial_chart'), onDrawn: () => queueMicrotask(() => paint(drawn.element, alarms)) });
    fill(box, drawn.element);
  };
  show(first);
  return { element: box, show };
}

// --- The result

function list(alarms, total) {
  const view = table({
    caption: t('rules.trial_list'), rowKey: (one) => `${who(one)}|${one.raised_at}`,
    columns: [
      { key: 'severity', label: t('alarms.severity'), hideLabel: true, render: (one) => severityBadge(one.highest_severity) },
      { key: 'who', label: t('rules.trial_who'), primary: true, render: (one) => h('div', { class: 'alarm-name' }, h('a', { class: 'strong-link', href: `#/devices/${seg(one.device)}` }, who(one)), h('span', { class: 'sub' }, exact(one.raised_at, 'minute'))) },
      { key: 'lasted', label: t('alarms.lasted'), class: 'nowrap', render: (one) => (one.cleared_at ? duration(Math.round(one.duration_seconds)) : t('rules.trial_still')) },
      { key: 'peak', label: t('alarms.peak'), align: 'end', render: (one) => (one.peak === undefined || one.peak === null ? null : reading(one.peak)) },
    ],
  });
  let shown = ROWS;
  const foot = h('div', {});
  const show = () => {
    view.set(alarms.slice(0, shown));
    fill(foot, alarms.length > shown && moreButton(async () => {
      shown += 100;
      show();
    }), alarms.length <= shown && total > alarms.length && h('p', { class: 'muted small-text pad-inline' }, t('rules.trial_first', { count: alarms.length })));
  };
  show();
  return h('div', {}, view.element, foot);
}

async function outcome(result, signal) {
  const { rule, compared } = result;
  const head = h('div', { class: 'figures' },
    figure(t('rules.trial_alarms'), number(rule.alarms_total), compared && number(compared.alarms_total)),
    figure(t('rules.trial_active'), duration(Math.round(rule.active_seconds)), compared && duration(Math.round(compared.active_seconds))),
    figure(t('rules.trial_told'), number(rule.notifications.total), compared && number(compared.notifications.total)),
    figure(t('rules.trial_originators'), `${number(rule.alarming)} / ${number(rule.originators)}`));
  const notes = [
    result.limitations.length > 0 && h('div', { class: 'notice warn' }, icon('warning'), h('ul', {}, result.limitations.map((one) => h('li', {}, one)))),
    rule.originators === 0 && h('div', { class: 'notice warn' }, icon('warning'), h('p', {}, t('rules.trial_nobody'))),
    result.difference && h('p', { class: 'muted small-text' }, t('rules.trial_difference', { common: result.difference.common, added: result.difference.added, removed: result.difference.removed })),
    h('p', { class: 'muted small-text' }, t('rules.trial_readings', { count: result.readings })),
  ];
  if (rule.alarms_total === 0) {
    return [head, notes, rule.originators > 0 && emptyState({ iconName: 'check', title: t('rules.trial_none'), text: t('rules.trial_none_text') })];
  }
  const drawing = h('div', { class: 'contents' });
  let drawn = null;
  const bars = lanes(result, (alarms) => drawn?.show(alarms));
  picture(result, bars.first, signal).then((found) => {
    drawn = found;
    fill(drawing, found.element);
  }).catch(() => {});
  return [head, notes, drawing, bars.element, list(rule.alarms, rule.alarms_total)];
}

/** The card's inside: `read()` gives the rule as it stands in the form, `inForce` the stored one's id. */
export function trial({ read, inForce, signal, onproblem }) {
  const body = h('div', { class: 'stack', 'aria-live': 'polite' }, h('p', { class: 'muted' }, t('rules.trial_text')));
  let days = 7;
  let running = null;
  const start = button(t('rules.trial_start'), { iconName: 'play', onclick: run });
  signal.addEventListener('abort', () => running?.abort());

  async function run() {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const bar = h('progress', { max: 1, value: 0, 'aria-label': t('rules.trial_running') });
    fill(body, h('p', { class: 'muted' }, t('rules.trial_running')), bar, h('div', { class: 'row' }, button(t('actions.cancel'), { small: true, onclick: () => {
      mine.abort();
      fill(body, h('p', { class: 'muted' }, t('rules.trial_text')));
    } })));
    const to = new Date();
    try {
      const rule = read();
      if (!rule) {
        fill(body, h('p', { class: 'wrong', role: 'alert' }, t('rules.trial_mistake')));
        return;
      }
      const result = await backtest({
        rule, from: new Date(to - days * DAY).toISOString(), to: to.toISOString(), ...(inForce ? { compare_with: { rule_id: inForce } } : {}),
      }, (share) => { bar.value = share; }, mine.signal);
      if (!mine.signal.aborted) fill(body, await outcome(result, signal));
    } catch (error) {
      if (mine.signal.aborted || error?.name === 'AbortError') return;
      if (error instanceof ApiError && error.errors.length && onproblem) {
        onproblem(error);
        fill(body, h('p', { class: 'wrong', role: 'alert' }, t('rules.trial_mistake')));
      } else {
        fill(body, errorState(error, run));
      }
    }
  }

  return {
    element: h('div', { class: 'stack' }, h('div', { class: 'toolbar' }, segmented([[1, t('alarms.range_24h')], [7, t('alarms.range_7d')], [30, t('alarms.range_30d')]], 7, (value) => { days = value; }, t('alarms.range')), start), body),
    run,
  };
}


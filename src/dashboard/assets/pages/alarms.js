// Alarms: what is open, the most urgent first and live; what has been; and what happened lately.

import { acknowledge, acknowledgeAll, byUrgency, command, commandsFor, isAside, isWaiting, rank, SEVERITIES, shelve, stateBadges } from '../alarming.js';
import { api, seg } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { listen } from '../stream.js';
import { ago, duration, exact, number, reading } from '../time.js';
import { button, card, debounce, emptyState, errorState, load, menu, moreButton, pageHead, pager, segmented, severityBadge, skeleton, table, tabs, throttle } from '../ui.js';

/// More than so many open alarms are a flood: the list then says that there are more.
const OPEN_MAX = 2_000;
const PER_PAGE = 50;
const HISTORY_PAGE = 50;
const RANGES = { '24h': 86_400_000, '7d': 604_800_000, '30d': 2_592_000_000 };

function nameCell(alarm) {
  return h('div', { class: 'alarm-name' },
    h('a', { class: 'strong-link', href: `#/alarms/${alarm.id}` }, alarm.message || alarm.rule.name),
    h('span', { class: 'sub' }, [alarm.rule.name, alarm.device, alarm.sensor].filter(Boolean).join(' · '), alarm.occurrences > 1 && ` · ${t('alarms.times', { count: alarm.occurrences })}`));
}

function columns(mayWrite, done, isHistory) {
  return [
    { key: 'severity', label: t('alarms.severity'), hideLabel: true, class: 'col-severity', render: (alarm) => severityBadge(isHistory ? alarm.highest_severity : alarm.severity) },
    { key: 'name', label: t('alarms.alarm'), primary: true, render: nameCell },
    { key: 'state', label: t('alarms.state'), render: (alarm) => stateBadges(alarm) },
    { key: 'value', label: t('alarms.peak'), align: 'end', class: 'wide-only', render: (alarm) => (alarm.peak === undefined || alarm.peak === null ? null : reading(alarm.peak)) },
    { key: 'raised', label: t('alarms.raised'), class: 'nowrap', render: (alarm) => (isHistory ? exact(alarm.raised_at, 'minute') : ago(alarm.raised_at)) },
    isHistory && { key: 'lasted', label: t('alarms.lasted'), class: 'nowrap wide-only', render: (alarm) => (alarm.cleared_at ? duration(Math.max(0, (new Date(alarm.cleared_at) - new Date(alarm.raised_at)) / 1000)) : null) },
    mayWrite && { key: 'do', label: t('alarms.actions'), hideLabel: true, align: 'end', class: 'actions-cell', render: (alarm) => {
      const items = commandsFor(alarm, done);
      return items.length ? menu(t('alarms.actions_for', { name: alarm.message || alarm.rule.name }), items) : null;
    } },
  ].filter(Boolean);
}

// --- Filters, kept in the address

function filterBar({ query, setQuery, rules, onchange, isHistory, signal }) {
  const state = isHistory
    ? segmented(['24h', '7d', '30d', 'all'].map((key) => [key, t(`alarms.range_${key}`)]), query.get('range') || '7d', (value) => set('range', value === '7d' ? null : value), t('alarms.range'))
    : segmented(['all', 'waiting', 'active', 'aside'].map((key) => [key, t(`alarms.show_${key}`)]), query.get('show') || 'all', (value) => set('show', value === 'all' ? null : value), t('alarms.show'));
  const severity = h('select', { 'aria-label': t('alarms.severity_min'), onchange: (event) => set('severity_min', event.target.value) },
    h('option', { value: '' }, t('alarms.severity_any')),
    SEVERITIES.slice(1).map((one) => h('option', { value: one, selected: one === query.get('severity_min') }, t('silences.from_severity', { severity: word('severity', one) }))));
  const rule = h('select', { 'aria-label': t('alarms.rule'), onchange: (event) => set('rule', event.target.value) }, h('option', { value: '' }, t('alarms.rule_any')));
  rules.then((items) => {
    if (!signal.aborted && items) rule.append(...items.map((one) => h('option', { value: one.id, selected: String(one.id) === query.get('rule') }, one.rule.name)));
  });
  const device = h('input', { type: 'search', placeholder: t('alarms.device'), 'aria-label': t('alarms.device'), oninput: debounce((event) => set('device', event.target.value.trim()), 300), autocomplete: 'off', spellcheck: 'false' });
  device.value = query.get('device') || '';
  function set(name, value) {
    if (value === null || value === '') query.delete(name);
    else query.set(name, value);
    setQuery({ [name]: value });
    onchange();
  }
  return h('div', { class: 'toolbar pad alarm-filters' }, state, h('div', { class: 'search' }, icon('search'), device), severity, rule);
}

// --- Open alarms

function openAlarms({ root, query, setQuery, signal, session, rules, onCounts }) {
  const mayWrite = session.can('alarms:write');
  const all = new Map();
  const chosen = new Set();
  let page = 1;
  let isMore = false;
  // Of a flood, the figures come from the server.
  let whole = null;
  const list = h('div', {});
  const bulk = h('div', { class: 'bulk', hidden: true, role: 'region', 'aria-label': t('alarms.bulk') });
  const view = table({
    columns: columns(mayWrite, () => read()), caption: t('alarms.open'), rowClass: (alarm) => [isWaiting(alarm) && 'waiting', fresh.has(alarm.id) && 'fresh'].filter(Boolean).join(' '),
    href: (alarm) => `#/alarms/${alarm.id}`,
    selection: mayWrite ? { has: (id) => chosen.has(id), set: choose, name: (alarm) => alarm.message } : null,
    empty: () => (all.size === 0 && hasNoRules ? emptyState({ iconName: 'rule', title: t('rules.none'), text: t('alarms.no_rules_text'), actions: mayWrite && h('a', { class: 'button primary', href: '#/rules' }, t('alarms.first_rule')) }) : all.size ? emptyState({ iconName: 'filter', title: t('alarms.none_match'), text: t('alarms.none_match_text') })
      : emptyState({ iconName: 'check', title: t('alarms.none'), text: t('alarms.none_text'), actions: session.can('alarms:write') && h('a', { class: 'button', href: '#/rules' }, t('alarms.to_rules')) })),
  });
  let hasNoRules = false;
  rules.then((items) => {
    hasNoRules = items !== null && items.length === 0;
    if (hasNoRules && !list.hasAttribute('aria-busy') && !signal.aborted) show();
  });
  const foot = h('div', {});
  const flood = h('div', { class: 'notice warn flood', hidden: true }, icon('warning'), h('p', {}, t('alarms.flood', { count: OPEN_MAX })));
  const fresh = new Set();

  function choose(id, value) {
    if (value) chosen.add(id);
    else chosen.delete(id);
    showBulk();
  }

  const selected = () => [...chosen].map((id) => all.get(id)).filter(Boolean);

  function bulkButton(text, iconName, work, kind) {
    return button(text, { small: true, iconName, kind, onclick: async () => {
      if (await work(selected())) {
        chosen.clear();
        await read();
      }
    } });
  }

  function showBulk() {
    const ready = selected();
    bulk.hidden = ready.length === 0;
    if (ready.length === 0) return;
    fill(bulk, h('strong', { class: 'grow' }, t('alarms.selected', { count: ready.length })),
      ready.some((one) => !one.acknowledged) && bulkButton(`${t('alarms.ack')}…`, 'check', (items) => acknowledge(items.filter((one) => !one.acknowledged)), 'primary'),
      bulkButton(`${t('alarms.shelve')}…`, 'clock', shelve),
      ready.some((one) => one.active) && bulkButton(`${t('alarms.clear')}…`, 'close', (items) => command('clear', items.filter((one) => one.active))),
      button(t('alarms.select_none'), { small: true, kind: 'plain', onclick: () => { chosen.clear(); show(); } }));
  }

  function isShown(alarm) {
    const text = (query.get('device') || '').toLowerCase();
    const kind = query.get('show') || 'all';
    if (text && !alarm.device.toLowerCase().includes(text)) return false;
    if (query.get('severity_min') && rank(alarm.severity) < rank(query.get('severity_min'))) return false;
    if (query.get('rule') && String(alarm.rule.id) !== query.get('rule')) return false;
    if (kind === 'waiting') return isWaiting(alarm);
    if (kind === 'active') return alarm.active && !isAside(alarm);
    if (kind === 'aside') return Boolean(isAside(alarm));
    return true;
  }

  function show() {
    for (const id of chosen) if (!all.has(id)) chosen.delete(id);
    const found = [...all.values()].filter(isShown).sort(byUrgency);
    const last = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(page, last);
    view.set(found.slice((page - 1) * PER_PAGE, page * PER_PAGE));
    fill(foot, found.length > PER_PAGE && pager({ page, per_page: PER_PAGE, total: found.length }, (next) => { page = next; show(); }));
    flood.hidden = !isMore;
    showBulk();
    onCounts([...all.values()], whole);
  }

  async function read() {
    try {
      const items = await api.all('api/alarms', { closed: false, limit: 1_000 }, { max: OPEN_MAX, signal });
      all.clear();
      for (const one of items) all.set(one.id, one);
      isMore = items.length >= OPEN_MAX;
      whole = isMore ? await api.get('api/alarms/summary', undefined, { signal }) : null;
      list.removeAttribute('aria-busy');
      if (list.firstChild !== view.element) fill(list, view.element);
      show();
    } catch (error) {
      if (signal.aborted) return;
      if (list.firstChild !== view.element) fill(list, errorState(error, read));
    }
  }

  const soon = throttle(() => {
    // An open menu stays where it is: its row is not taken away under the pointer.
    if (list.querySelector('.menu-list:popover-open')) setTimeout(soon, 500);
    else show();
  }, 250);
  listen({ events: ['alarms'], signal }, (kind, told) => {
    if (kind === 'gap') read();
    if (kind !== 'alarms') return;
    const { alarm } = told;
    if (alarm.closed) all.delete(alarm.id);
    else {
      if (told.event?.kind === 'raised' || told.event?.kind === 'escalated') {
        fresh.add(alarm.id);
        setTimeout(() => fresh.delete(alarm.id), 4_000);
      }
      all.set(alarm.id, { ...all.get(alarm.id), ...alarm });
    }
    soon();
  });

  fill(list, skeleton(6));
  list.setAttribute('aria-busy', 'true');
  const bar = filterBar({ query, setQuery, rules, signal, onchange: () => { page = 1; show(); } });
  root.append(card({ class: 'flush' }, bar, bulk, flood, list, foot));
  read();
  return { read };
}

// --- History

function history({ root, query, setQuery, signal, session, rules }) {
  const body = h('div', {});
  const filter = () => {
    const range = query.get('range') || '7d';
    return {
      severity_min: query.get('severity_min'), device: query.get('device'), rule: query.get('rule'), limit: HISTORY_PAGE,
      from: range in RANGES ? new Date(Date.now() - RANGES[range]).toISOString() : undefined,
    };
  };
  let again = () => {};
  function reload() {
    again = load(body, () => api.get('api/alarms', filter(), { signal }), (first) => {
      const rows = [];
      const view = table({
        columns: columns(session.can('alarms:write'), () => again(), true), caption: t('alarms.history'), href: (alarm) => `#/alarms/${alarm.id}`,
        empty: emptyState({ iconName: 'clock', title: t('alarms.no_history'), text: t('alarms.no_history_text') }),
      });
      const foot = h('div', {});
      const add = (page) => {
        rows.push(...page.items);
        view.set(rows);
        fill(foot, page.next_cursor && moreButton(async () => add(await api.get('api/alarms', { ...filter(), cursor: page.next_cursor }, { signal }))));
      };
      add(first);
      return [view.element, foot];
    }, { signal });
  }
  const hint = h('p', { class: 'muted small-text pad-inline' }, t('alarms.device_exact'));
  root.append(card({ class: 'flush' }, filterBar({ query, setQuery, rules, signal, isHistory: true, onchange: reload }), hint, body));
  reload();
}

// --- How it has gone: who raises most, what chatters, how soon people answer

function ranking(title, items) {
  const most = Math.max(...items.map(([, , count]) => count), 1);
  return h('div', {}, h('h3', {}, title), items.length === 0 ? h('p', { class: 'muted small-text' }, t('alarms.nobody'))
    : h('ol', { class: 'ranking' }, items.map(([text, href, count]) => h('li', {},
      h('a', { class: 'truncate', href, title: text }, text), h('span', { class: 'ranking-bar', 'aria-hidden': 'true' }, h('span', { style: { 'inline-size': `${(count / most) * 100}%` } })), h('span', { class: 'tabular' }, number(count))))));
}

function lately(signal) {
  const body = h('div', {});
  const whole = card({ title: t('alarms.lately'), sub: t('alarms.lately_text') }, body);
  const again = load(body, () => api.get('api/alarms/summary', undefined, { signal }), (summary) => {
    whole.hidden = summary.top_rules.length === 0 && summary.acknowledged === 0;
    return figures(summary);
  }, { signal, lines: 3 });
  listen({ events: ['alarms'], signal }, throttle(() => again(), 15_000));
  return whole;
}

function figures(summary) {
  return h('div', { class: 'figures' },
    ranking(t('alarms.top_rules'), summary.top_rules.slice(0, 5).map((one) => [one.rule, `#/rules/${one.rule_id}`, one.raised])),
    ranking(t('alarms.top_devices'), summary.top_devices.slice(0, 5).map((one) => [one.device, `#/devices/${seg(one.device)}`, one.raised])),
    ranking(t('alarms.chattering'), summary.chattering.slice(0, 5).map((one) => [`${one.rule}: ${one.device}${one.sensor ? ` ${one.sensor}` : ''}`, `#/alarms/${one.alarm}`, one.raised])),
    h('div', {}, h('h3', {}, t('alarms.answered')), h('p', { class: 'figure' }, summary.mean_seconds_to_acknowledge === undefined || summary.mean_seconds_to_acknowledge === null ? '–' : duration(Math.max(1, Math.round(summary.mean_seconds_to_acknowledge)))),
      h('p', { class: 'muted small-text' }, t('alarms.answered_text', { count: summary.acknowledged }))));
}

// --- The page

export default async function page({ root, query, signal, setQuery, session }) {
  const isHistory = query.get('tab') === 'history';
  const sub = h('span', {}, t(isHistory ? 'alarms.history_text' : 'alarms.open_text'));
  const rules = api.all('api/alarm-rules', { limit: 1_000 }, { max: 1_000, signal }).catch(() => null);
  let reread = () => {};
  const all = !isHistory && session.can('alarms:write') && button(`${t('alarms.ack_all')}…`, { iconName: 'check', onclick: async () => {
    const filter = { severity_min: query.get('severity_min'), rule: query.get('rule') ? Number(query.get('rule')) : undefined };
    if (await acknowledgeAll(filter)) reread();
  } });
  root.append(pageHead(t('nav.alarms'), { sub, actions: all }));
  const places = h('div', {});
  const showTabs = (count) => fill(places, tabs([
    { key: 'open', text: t('alarms.open'), href: '#/alarms', count },
    { key: 'history', text: t('alarms.history'), href: '#/alarms?tab=history' },
  ], isHistory ? 'history' : 'open', t('nav.alarms')));
  showTabs(0);
  root.append(places);
  if (isHistory) {
    history({ root, query, setQuery, signal, session, rules });
    return;
  }
  const onCounts = (items, whole) => {
    const open = whole ? whole.open.reduce((sum, one) => sum + one.count, 0) : items.length;
    const active = whole ? whole.active : items.filter((one) => one.active).length;
    fill(sub, open === 0 ? t('alarms.none') : t('alarms.counts', { open, active, waiting: whole ? whole.unacknowledged : items.filter(isWaiting).length }));
    showTabs(open);
    if (all) all.hidden = open === 0;
  };
  reread = openAlarms({ root, query, setQuery, signal, session, rules, onCounts }).read;
  root.append(lately(signal));
}


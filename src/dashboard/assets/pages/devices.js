// All devices: found by search, state, kind and label, sorted, paged by the server; approving and
// blocking of those that wait; registering one; importing readings.

import { api, seg } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { listen } from '../stream.js';
import { ago, reading } from '../time.js';
import {
  act, badge, button, card, confirm, debounce, deviceBadge, deviceState, emptyState, errorState, every, iconButton, labelChips, menu, pageHead, pager, segmented, severityTone,
  skeleton, table, throttle,
} from '../ui.js';
import { importReadings, registerDevice } from './device-forms.js';

const PER_PAGE = 50;
const STATES = ['', 'online', 'offline', 'pending', 'blocked'];
const SHOWN_VALUES = 3;

function values(device) {
  const latest = device.latest || [];
  if (latest.length === 0) return h('span', { class: 'muted' }, '–');
  const all = latest.map((one) => `${one.sensor} ${reading(one.value)} ${one.unit || ''}`.trim()).join('\n');
  return h('span', { class: 'values', title: all }, latest.slice(0, SHOWN_VALUES).map((one) =>
    h('span', { class: ['value', one.quality !== 'good' && 'poor'] }, h('span', { class: 'value-name' }, one.sensor), ' ', h('b', {}, reading(one.value)), one.unit && ` ${one.unit}`)),
  latest.length > SHOWN_VALUES && h('span', { class: 'muted' }, `+${latest.length - SHOWN_VALUES}`));
}

function nameCell(device) {
  const picture = icon(device.kind === 'gateway' ? 'gateway' : 'device', device.kind === 'gateway' ? word('device_kind', 'gateway') : undefined);
  return h('span', { class: 'device-name' }, picture, h('span', { class: 'grow' },
    h('a', { href: `#/devices/${seg(device.device)}`, class: 'strong-link' }, device.name || device.device), device.name && h('span', { class: 'sub' }, device.device)));
}

function alarmCell(device) {
  const { alarm } = device;
  if (!alarm?.count) return null;
  return h('a', { class: ['badge', severityTone(alarm.severity_max)], href: `#/alarms?device=${seg(device.device)}`, title: word('severity', alarm.severity_max) }, icon('bell'), t('devices.alarms', { count: alarm.count }));
}

export default async function devices({ root, query, signal, setQuery, navigate, session }) {
  const mayWrite = session.can('devices:write');
  const state = {
    search: query.get('search') || '', status: query.get('status') || '', kind: query.get('kind') || '', label: query.get('label') || '',
    sort: query.get('sort') || 'key', page: Number(query.get('page')) || 1,
  };
  let list = null;
  let request = null;
  let known = null;

  root.append(pageHead(t('nav.devices'), { actions: [
    session.can('data:write') && button(t('devices.import'), { iconName: 'upload', onclick: () => importReadings(signal) }),
    mayWrite && button(t('devices.register'), { kind: 'primary', iconName: 'plus', onclick: async () => {
      const made = await registerDevice();
      if (made) navigate(`#/devices/${seg(made)}`);
    } }),
  ] }));

  const search = h('input', { type: 'search', placeholder: t('devices.search'), 'aria-label': t('devices.search'), value: state.search, autocomplete: 'off', spellcheck: 'false' });
  const label = h('input', { type: 'search', class: 'label-filter', placeholder: t('devices.label_filter'), 'aria-label': t('devices.label_filter'), title: t('devices.label_hint'), value: state.label, autocomplete: 'off', spellcheck: 'false' });
  const kind = h('select', { 'aria-label': t('devices.kind') }, [['', t('devices.kind_all')], ['device', t('devices.kind_devices')], ['gateway', t('devices.kind_gateways')]].map(([value, text]) => h('option', { value, selected: value === state.kind }, text)));
  const change = (patch) => {
    Object.assign(state, { page: 1 }, patch);
    setQuery({ search: state.search, status: state.status, kind: state.kind, label: state.label, sort: state.sort === 'key' ? '' : state.sort, page: state.page > 1 ? state.page : '' });
    read();
  };
  const typed = debounce(() => change({ search: search.value.trim(), label: label.value.trim() }), 250);
  search.addEventListener('input', typed);
  label.addEventListener('input', typed);
  kind.addEventListener('change', () => change({ kind: kind.value }));
  const states = h('div', {}, segmented(STATES.map((key) => [key, key ? word('device_state', key) : t('devices.all')]), state.status, (status) => change({ status }), t('devices.state')));
  root.append(h('div', { class: 'toolbar' }, h('div', { class: 'search' }, icon('search'), search), states, kind, label));

  const body = h('div', { class: 'devices' }, h('div', { class: 'pad' }, skeleton(10)));
  const foot = h('div', {});
  root.append(card({ class: 'flush' }, body, foot));

  const approve = async (event, device) => {
    const done = await act(event.currentTarget, () => api.post(`api/devices/${seg(device.device)}/approve`), (answer) => t('devices.approved', { name: device.device, count: answer?.replayed ?? 0 }));
    if (done !== undefined) read(true);
  };
  const block = async (device) => {
    if (!(await confirm({ title: t('devices.block_title', { name: device.device }), text: t('devices.block_text'), action: t('devices.block') }))) return;
    await act(null, () => api.patch(`api/devices/${seg(device.device)}`, { approval: 'blocked' }), t('devices.blocked', { name: device.device }));
    read(true);
  };

  function actionsCell(device) {
    if (!mayWrite) return null;
    const stands = deviceState(device);
    if (stands === 'pending') {
      return h('span', { class: 'row-actions' }, button(t('devices.approve'), { small: true, kind: 'primary', onclick: (event) => approve(event, device) }), iconButton('block', t('devices.block_name', { name: device.device }), { kind: 'plain', onclick: () => block(device) }));
    }
    return menu(t('devices.actions', { name: device.device }), [
      { text: t('devices.open'), iconName: 'device', href: `#/devices/${seg(device.device)}` },
      stands === 'blocked' ? { text: t('devices.unblock'), iconName: 'check', onclick: () => approve({ currentTarget: null }, device) } : { text: t('devices.block'), iconName: 'block', danger: true, onclick: () => block(device) },
    ]);
  }

  function makeTable() {
    return table({
      caption: t('nav.devices'),
      rowKey: (device) => device.device,
      href: (device) => `#/devices/${seg(device.device)}`,
      sort: state.sort,
      onSort: (sort) => change({ sort }),
      columns: [
        { key: 'device', label: t('devices.device'), primary: true, class: 'col-device', sort: 'key', render: nameCell },
        { key: 'state', label: t('devices.state'), sort: 'alarm', render: (device) => h('span', { class: 'row' }, deviceBadge(deviceState(device)), alarmCell(device)) },
        { key: 'latest', label: t('devices.latest'), class: 'wide-only', render: values },
        { key: 'labels', label: t('devices.labels'), class: 'wide-only', render: (device) => labelChips(device.labels) || h('span', { class: 'muted' }, '–') },
        { key: 'seen', label: t('devices.last_seen'), sort: 'last_seen', descending: true, class: 'nowrap', render: (device) => ago(device.last_seen, { empty: t('devices.never') }) },
        mayWrite && { key: 'actions', label: t('devices.actions_column'), hideLabel: true, align: 'end', class: 'actions-cell', render: actionsCell },
      ].filter(Boolean),
      empty: () => (state.search || state.status || state.kind || state.label
        ? emptyState({ iconName: 'search', title: t('devices.none_found'), text: t('devices.none_found_text'), actions: button(t('devices.clear'), { onclick: () => {
          search.value = '';
          label.value = '';
          kind.value = '';
          navigate('#/devices');
        } }) })
        : emptyState({ iconName: 'device', title: t('devices.none'), text: t('devices.none_text'), actions: h('a', { class: 'button primary', href: '#/' }, t('devices.how')) })),
    });
  }

  async function read(isQuiet = false) {
    request?.abort();
    request = new AbortController();
    const mine = request;
    signal.addEventListener('abort', () => mine.abort(), { once: true });
    if (!isQuiet) body.setAttribute('aria-busy', 'true');
    try {
      const answer = await api.get('api/devices', {
        search: state.search, status: state.status, kind: state.kind, label: state.label, sort: state.sort, page: state.page, per_page: PER_PAGE, include: 'latest',
      }, { signal: mine.signal });
      if (mine.signal.aborted || (isQuiet && body.querySelector(':popover-open'))) return;
      if (!isQuiet || !list) {
        list = makeTable();
        fill(body, list.element);
      }
      known = answer.items;
      list.set(answer.items);
      fill(foot, answer.total > 0 && pager({ page: answer.page, per_page: answer.per_page, total: answer.total }, (page) => {
        change({ page });
        window.scrollTo({ top: 0 });
      }));
      follow(answer.items.map((device) => device.device));
    } catch (error) {
      if (mine.signal.aborted) return;
      if (!isQuiet) fill(body, errorState(error, () => read()));
    } finally {
      body.removeAttribute('aria-busy');
    }
  }

  let following = '';
  let stop = null;
  const fresh = new Map();
  const flush = throttle(() => {
    for (const [name, news] of fresh) {
      list?.patch(name, (device) => {
        const latest = (device.latest || []).map((one) => news.values.get(one.sensor) ?? one);
        for (const one of news.values.values()) if (latest.length < 8 && !latest.some((known) => known.sensor === one.sensor)) latest.push(one);
        return { ...device, latest, last_seen: news.seen ?? device.last_seen };
      }, ['latest', 'seen']);
    }
    fresh.clear();
  }, 1_000);

  /** Values of those that are shown arrive by themselves. */
  function follow(names) {
    const key = names.join(',');
    if (key === following) return;
    following = key;
    stop?.();
    stop = null;
    if (names.length === 0 || !session.can('data:read')) return;
    stop = listen({ events: ['readings'], devices: names, signal }, (kind, told) => {
      if (kind === 'gap') readSoon();
      if (kind !== 'readings') return;
      const { data } = told;
      const news = fresh.get(data.device) || { values: new Map() };
      news.values.set(data.sensor, data);
      news.seen = data.received_at;
      fresh.set(data.device, news);
      flush();
    });
  }

  const readSoon = throttle(() => read(true), 3_000);
  listen({ events: ['presence', ...(session.can('alarms:read') ? ['alarms'] : [])], signal }, (kind, told) => {
    if (kind === 'open' && !told.resumed) return;
    // Of the devices of other pages only the number may have changed.
    const name = told.device ?? told.alarm?.device;
    if (kind === 'presence' && known?.some((device) => device.device === name)) list?.patch(name, { online: told.online }, ['state']);
    else readSoon();
  });
  every(30_000, signal, () => read(true));
  await read();
}

// One device: how it stands, its values as they come, the chart, its messages, alarms, refused messages
// and credentials.

import { api, download, seg } from '../api.js';
import { chart } from '../chart.js';
import { fill, h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { sparkline } from '../spark.js';
import { listen } from '../stream.js';
import { ago, dateTime, duration, exact, number, reading, setAgo } from '../time.js';
import {
  act, badge, button, card, confirm, deviceBadge, deviceState, emptyState, errorState, every, facts, iconButton, labelChips, linkButton, load, menu, pageHead, qualityBadge,
  severityBadge, skeleton, throttle, toast,
} from '../ui.js';
import { addCredential, deleteDevice, editDevice, editSensor } from './device-forms.js';
import { messageTail } from './device-messages.js';
import { quarantineList } from './device-quarantine.js';

const SPARK_MS = 24 * 3_600_000;
const CHOSEN_MAX = 8;

function reported(device) {
  const report = device.last_report || {};
  const status = typeof report.status === 'object' && report.status ? report.status : report;
  const of = (...names) => names.map((name) => status[name] ?? report[name]).find((value) => value !== undefined && value !== null && typeof value !== 'object');
  return { rssi: of('rssi', 'wifi_rssi', 'signal'), battery: of('battery', 'battery_level', 'batteryLevel') };
}

function signalText(rssi) {
  const strength = rssi >= -55 ? 'strong' : rssi >= -70 ? 'fair' : 'weak';
  return `${number(rssi)} dBm · ${t(`device.signal_${strength}`)}`;
}

function place({ latitude, longitude }) {
  return h('a', { href: `geo:${latitude},${longitude}`, title: t('device.open_map') }, `${number(latitude, 4)}, ${number(longitude, 4)}`);
}

function factsOf(device) {
  const { rssi, battery } = reported(device);
  return facts([
    [t('devices.last_seen'), h('span', { data: { seen: '' } }, ago(device.last_seen, { empty: t('devices.never') }))],
    [t('device.last_heartbeat'), device.last_heartbeat && ago(device.last_heartbeat)],
    [t('device.reports'), device.status && device.status !== (device.online ? 'online' : 'offline') ? device.status : null],
    [t('device.firmware'), device.firmware],
    [t('device.ip'), device.ip],
    [t('device.rssi'), typeof rssi === 'number' ? signalText(rssi) : rssi],
    [t('device.battery'), typeof battery === 'number' ? h('span', { class: battery <= 20 ? 'tone-warn' : null }, `${number(battery)} %`) : battery],
    [t('device.uptime'), device.uptime_seconds !== undefined && device.uptime_seconds !== null ? duration(device.uptime_seconds) : null],
    [t('device.location'), device.location && place(device.location)],
    [t('device.gateway'), device.gateway && h('a', { href: `#/devices/${seg(device.gateway)}` }, device.gateway)],
    [t('device.first_seen'), exact(device.first_seen, 'minute')],
  ]);
}

/** At most two units fit a chart; the first sensors of the first two are shown to begin with. */
function firstChoice(sensors) {
  const units = [];
  const chosen = [];
  for (const sensor of sensors) {
    if (!sensor.latest || sensor.latest.value === null || sensor.latest.value === undefined) continue;
    const unit = sensor.unit || sensor.latest.unit || '';
    if (!units.includes(unit)) {
      if (units.length === 2) continue;
      units.push(unit);
      chosen.push(sensor.id);
    }
  }
  return chosen;
}

function unitsOf(sensors, chosen) {
  return new Set(sensors.filter((sensor) => chosen.includes(sensor.id)).map((sensor) => sensor.unit || sensor.latest?.unit || ''));
}

export default async function page(context) {
  const { root, params, query, signal, setTitle, setQuery, navigate, session } = context;
  const key = params.device;
  const mayWrite = session.can('devices:write');
  const mayRead = session.can('data:read');
  let device;
  let sensors = [];

  root.append(skeleton(8));
  try {
    [device, { items: sensors }] = await Promise.all([api.get(`api/devices/${seg(key)}`, undefined, { signal }), api.get(`api/devices/${seg(key)}/sensors`, undefined, { signal })]);
  } catch (error) {
    if (signal.aborted) return;
    fill(root, pageHead(key, { back: { href: '#/devices', text: t('nav.devices') } }), error.status === 404
      ? card({}, emptyState({ iconName: 'device', title: t('device.missing'), text: t('device.missing_text', { name: key }) })) : card({}, errorState(error, () => navigate(location.hash))));
    return;
  }
  sensors = sensors.filter((sensor) => !sensor.retired_at);

  // --- Head

  const head = h('div', {});
  const facts_ = h('div', {});
  const waiting = h('div', {});

  const approve = async (event) => {
    const done = await act(event?.currentTarget, () => api.post(`api/devices/${seg(key)}/approve`), (answer) => t('devices.approved', { name: key, count: answer?.replayed ?? 0 }));
    if (done !== undefined) refresh();
  };
  const block = async () => {
    if (!(await confirm({ title: t('devices.block_title', { name: key }), text: t('devices.block_text'), action: t('devices.block') }))) return;
    await act(null, () => api.patch(`api/devices/${seg(key)}`, { approval: 'blocked' }), t('devices.blocked', { name: key }));
    refresh();
  };

  function showHead() {
    const state = deviceState(device);
    setTitle(device.name || key);
    const stateKey = `${state}|${device.name}|${JSON.stringify(device.labels)}|${device.kind}`;
    if (head.dataset.shown !== stateKey) {
      head.dataset.shown = stateKey;
      fill(head, pageHead(device.name || key, {
        back: { href: '#/devices', text: t('nav.devices') },
        sub: [deviceBadge(state), device.name && h('code', { class: 'break' }, key), device.kind === 'gateway' && badge(word('device_kind', 'gateway'), 'info', { iconName: 'gateway' }), labelChips(device.labels)],
        actions: mayWrite && [
          button(t('actions.edit'), { iconName: 'edit', onclick: async () => {
            try {
              const changed = await editDevice(key);
              if (changed) refresh();
            } catch (error) {
              toast(error.message, { tone: 'bad' });
            }
          } }),
          menu(t('device.more'), [
            state === 'blocked' || state === 'retired' ? { text: t('devices.unblock'), iconName: 'check', onclick: () => approve() } : { text: t('devices.block'), iconName: 'block', onclick: block },
            { text: t('device.remove_action'), iconName: 'trash', danger: true, onclick: async () => {
              if (await deleteDevice(key)) navigate('#/devices');
            } },
          ]),
        ],
      }));
      fill(waiting, state === 'pending' && h('div', { class: 'notice warn' }, icon('warning'), h('div', { class: 'grow' }, h('strong', {}, t('device.pending')), h('p', {}, t('device.pending_text'))), mayWrite && h('div', { class: 'actions' },
        button(t('devices.approve'), { kind: 'primary', small: true, onclick: approve }), button(t('devices.block'), { small: true, onclick: block }))));
    }
    const shownFacts = JSON.stringify({ ...device, last_report: reported(device), last_seen: null });
    const seenAt = facts_.querySelector('[data-seen] time');
    if (seenAt && device.last_seen) setAgo(seenAt, device.last_seen);
    if (facts_.dataset.shown === shownFacts && (seenAt || !device.last_seen)) return;
    facts_.dataset.shown = shownFacts;
    fill(facts_, factsOf(device));
  }

  async function refresh() {
    try {
      device = await api.get(`api/devices/${seg(key)}`, undefined, { signal });
      showHead();
    } catch {
      // What is shown stays; the link state says that something is amiss.
    }
  }

  // --- Parts, one at a time

  const counts = {};
  const PARTS = [
    ['values', mayRead, () => valuesPart()],
    ['messages', mayRead && session.can('mqtt:read'), (own) => messageTail({ device: key, signal: own })],
    ['alarms', session.can('alarms:read'), (own) => alarmsPart(own)],
    ['quarantine', mayRead, (own) => quarantineList({ device: key, signal: own, session, onCount: (count) => count_('quarantine', count) })],
    ['credentials', session.can('devices:write'), (own) => credentialsPart(own)],
  ].filter(([, isAllowed]) => isAllowed);
  let part = PARTS.some(([name]) => name === query.get('tab')) ? query.get('tab') : PARTS[0]?.[0];
  let partLife = new AbortController();
  const tabBar = h('div', { class: 'tabs', role: 'tablist', 'aria-label': t('device.parts') });
  const panel = h('div', { role: 'tabpanel', id: 'device-panel', class: 'page' });

  function showTabs() {
    const hadFocus = tabBar.contains(document.activeElement);
    fill(tabBar, PARTS.map(([name]) => h('a', {
      role: 'tab', id: `tab-${name}`, href: `#/devices/${seg(key)}?tab=${name}`, 'aria-selected': String(name === part), 'aria-controls': 'device-panel', tabindex: name === part ? '0' : '-1', 'aria-current': name === part ? 'page' : null,
      onclick: (event) => {
        if (event.metaKey || event.ctrlKey) return;
        event.preventDefault();
        choose(name);
      },
    }, t(`device.tab_${name}`), counts[name] ? h('span', { class: 'count' }, number(counts[name])) : null)));
    if (hadFocus) tabBar.querySelector('[aria-selected="true"]').focus();
    panel.setAttribute('aria-labelledby', `tab-${part}`);
  }

  tabBar.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const names = PARTS.map(([name]) => name);
    choose(names[(names.indexOf(part) + step + names.length) % names.length]);
  });

  function count_(name, count) {
    if (counts[name] === count) return;
    counts[name] = count;
    showTabs();
  }

  function choose(name) {
    part = name;
    setQuery({ tab: name === PARTS[0][0] ? null : name });
    showTabs();
    showPart();
  }

  function showPart() {
    partLife.abort();
    partLife = new AbortController();
    fill(panel, PARTS.find(([name]) => name === part)?.[2](partLife.signal));
  }
  signal.addEventListener('abort', () => partLife.abort(), { once: true });

  // --- Values

  const asked = (query.get('sensors') || '').split(',').map(Number).filter((id) => sensors.some((sensor) => sensor.id === id));
  let chosen = asked.length ? asked : firstChoice(sensors);
  let view = null;
  const cells = new Map();
  const history = new Map();

  function toggle(sensor, input) {
    const next = input.checked ? [...chosen, sensor.id] : chosen.filter((id) => id !== sensor.id);
    if (input.checked && (next.length > CHOSEN_MAX || unitsOf(sensors, next).size > 2)) {
      // A third unit has no axis: it takes the place of what stands in others.
      const unit = sensor.unit || sensor.latest?.unit || '';
      const kept = chosen.filter((id) => unitsOf(sensors, [id]).has(unit));
      chosen = [...kept.slice(0, CHOSEN_MAX - 1), sensor.id];
      toast(t('device.two_units'), { tone: 'info' });
    } else {
      chosen = next;
    }
    for (const [id, cell] of cells) cell.tick.checked = chosen.includes(id);
    setQuery({ sensors: chosen.join(',') });
    view?.setSensors(chosen);
  }

  function sensorCard(sensor) {
    const latest = sensor.latest || {};
    const title = sensor.display_name || sensor.name;
    const tick = h('input', { type: 'checkbox', checked: chosen.includes(sensor.id), 'aria-label': t('device.in_chart', { name: title }), onchange: () => toggle(sensor, tick) });
    const value = h('b', { class: 'tabular' }, reading(latest.value));
    const unit = h('span', { class: 'sensor-unit' }, sensor.unit || latest.unit || '');
    const time = latest.event_time ? ago(latest.event_time) : h('span', { class: 'muted' }, t('devices.never'));
    const quality = h('span', {}, latest.quality && latest.quality !== 'good' && qualityBadge(latest.quality));
    const spark = h('div', { class: 'sensor-spark' });
    cells.set(sensor.id, { tick, value, unit, time, quality, spark, sensor });
    return h('li', { class: ['sensor', !sensor.active && 'inactive'], data: { sensor: sensor.name } },
      h('div', { class: 'sensor-head' }, h('label', { class: 'sensor-name' }, tick, h('span', { class: 'truncate', title: sensor.display_name ? `${title} (${sensor.name})` : title }, title)),
        !sensor.active && badge(t('device.inactive')), mayWrite && iconButton('edit', t('device.sensor_edit', { name: title }), { kind: 'plain', onclick: async () => {
          try {
            if (await editSensor(sensor.id)) {
              sensors = (await api.get(`api/devices/${seg(key)}/sensors`, undefined, { signal })).items.filter((one) => !one.retired_at);
              if (part === 'values') showPart();
            }
          } catch (error) {
            toast(error.message, { tone: 'bad' });
          }
        } })),
      h('div', { class: 'sensor-value' }, value, unit, quality), spark, h('div', { class: 'sensor-foot muted' }, time));
  }

  async function readSparks() {
    if (sensors.length === 0) return;
    try {
      const to = Date.now();
      const { items } = await api.get('api/data/statistics', { device_id: key, bucket: '5m', from: new Date(to - SPARK_MS).toISOString(), to: new Date(to).toISOString() }, { signal });
      for (const one of items) history.set(one.sensor_id, (one.series || []).filter((bucket) => bucket.mean !== undefined && bucket.mean !== null).map((bucket) => [Date.parse(bucket.start), bucket.mean]));
    } catch {
      return;
    }
    for (const [id, cell] of cells) {
      const points = history.get(id) || [];
      fill(cell.spark, points.length > 0 && sparkline(points, { width: 200, height: 40, gap: 30 * 60_000, from: Date.now() - SPARK_MS, to: Date.now(), label: t('device.spark', { name: cell.sensor.display_name || cell.sensor.name }) }));
    }
  }

  async function exportCsv(event) {
    const { from, to } = view.bounds();
    const stamp = (ms) => new Date(ms).toISOString().slice(0, 16).replace(/[:T]/g, '-');
    await act(event.currentTarget, () => download('api/data/export', {
      format: 'csv', device_id: key, sensor_id: chosen, from: new Date(from).toISOString(), to: new Date(Math.min(to, Date.now())).toISOString(),
    }, `${key.replace(/[^\w.-]/g, '_')}_${stamp(from)}_${stamp(Math.min(to, Date.now()))}.csv`));
  }

  function valuesPart() {
    cells.clear();
    if (sensors.length === 0) return card({}, emptyState({ iconName: 'sensor', title: t('device.no_sensors'), text: t('device.no_sensors_text', { topic: `devices/${key}/data` }) }));
    const from = Number(query.get('from'));
    const to = Number(query.get('to'));
    view = chart({
      sensors: chosen, preset: query.get('range') || '24h', from, to, height: innerWidth < 640 ? 280 : 360, signal: partLife.signal, label: t('device.chart_of', { name: device.name || key }),
      onDrawn: (series) => {
        for (const [id, cell] of cells) cell.tick.style.accentColor = series.find((one) => one.sensor_id === id)?.color ?? '';
      },
      onRange: (range) => {
        for (const [name, value] of [['range', range.preset && range.preset !== '24h' ? range.preset : null], ['from', range.from], ['to', range.to]]) {
          if (value) query.set(name, value);
          else query.delete(name);
        }
        setQuery({ range: query.get('range'), from: query.get('from'), to: query.get('to') });
      },
    });
    const list = h('ul', { class: 'sensors' }, sensors.map(sensorCard));
    readSparks();
    return [
      card({ title: t('device.chart'), actions: button(t('device.csv'), { iconName: 'download', small: true, onclick: exportCsv }) }, view.element),
      card({ title: t('device.sensors', { count: sensors.length }), sub: t('device.sensors_text') }, list),
    ];
  }

  function take(data) {
    view?.push(data);
    const sensor = sensors.find((one) => one.id === data.sensor_id);
    if (!sensor) {
      readSensorsSoon();
      return;
    }
    if (sensor.latest && Date.parse(data.event_time) < Date.parse(sensor.latest.event_time)) return;
    sensor.latest = data;
    showLatest(sensor);
  }

  function showLatest(sensor) {
    const { latest: data } = sensor;
    const cell = cells.get(sensor.id);
    if (!data || !cell || part !== 'values') return;
    cell.value.textContent = reading(data.value);
    cell.unit.textContent = sensor.unit || data.unit || '';
    fill(cell.quality, data.quality !== 'good' && qualityBadge(data.quality));
    if (cell.time.localName === 'time') setAgo(cell.time, data.event_time);
    else {
      const time = ago(data.event_time);
      cell.time.replaceWith(time);
      cell.time = time;
    }
  }

  const readSensorsSoon = throttle(async () => {
    try {
      const before = sensors.length;
      const known = new Map(sensors.map(({ id, latest }) => [id, latest?.event_time]));
      sensors = (await api.get(`api/devices/${seg(key)}/sensors`, undefined, { signal })).items.filter((one) => !one.retired_at);
      if (before === 0) chosen = firstChoice(sensors);
      if (part === 'values' && sensors.length !== before) showPart();
      for (const sensor of sensors.filter(({ id, latest }) => latest && latest.event_time !== known.get(id))) {
        view?.push(sensor.latest);
        showLatest(sensor);
      }
    } catch {
      // The next reading asks again.
    }
  }, 5_000);

  // --- Alarms, credentials

  function alarmsPart(own) {
    const body = h('div', {});
    const again = load(body, () => api.get('api/alarms', { device: key, limit: 50 }, { signal: own }), ({ items }) => (items.length === 0
      ? emptyState({ iconName: 'bell', title: t('device.no_alarms'), text: t('device.no_alarms_text'), actions: session.can('alarms:write') && linkButton(t('device.new_rule'), `#/rules/new?device=${seg(key)}`, { iconName: 'plus' }) })
      : h('ul', { class: 'attention' }, items.map((alarm) => h('li', {}, h('a', { class: ['attention-item', !alarm.active && 'past'], href: `#/alarms/${alarm.id}` },
        severityBadge(alarm.severity), h('span', { class: 'grow' }, h('span', { class: 'attention-text' }, alarm.rule.name), h('span', { class: 'sub' }, [alarm.sensor, alarm.value !== undefined && alarm.value !== null && reading(alarm.value)].filter(Boolean).map((text) => `${text} · `), ago(alarm.raised_at))),
        badge(word('alarm_state', alarm.state), alarm.active ? (alarm.acknowledged ? 'info' : 'bad') : alarm.acknowledged ? 'mute' : 'warn'), icon('right')))))), { signal: own });
    const soon = throttle(again, 500);
    listen({ events: ['alarms'], signal: own }, (kind, told) => {
      if (kind === 'gap' || told.alarm?.device === key) soon();
    });
    return card({ title: t('nav.alarms'), class: 'flush', actions: linkButton(t('device.all_alarms'), `#/alarms?device=${seg(key)}`, { kind: 'plain', small: true }) }, body);
  }

  function credentialsPart(own) {
    const body = h('div', {});
    let hasSecret = false;
    const again = load(body, () => api.get(`api/devices/${seg(key)}/credentials`, undefined, { signal: own }), ({ items }) => {
      hasSecret = items.some((one) => one.kind === 'secret');
      if (items.length === 0) return emptyState({ iconName: 'key', title: t('device.no_credentials'), text: t('device.no_credentials_text') });
      return h('ul', { class: 'rows' }, items.map((one) => h('li', {}, icon('key'), h('div', { class: 'grow' }, h('strong', {}, t(`device.kind_${one.kind}`), one.subject && ` · ${one.subject}`),
        h('div', { class: 'muted small-text' }, t('device.made_by', { name: one.created_by === 'anybody' ? t('who.anybody') : one.created_by, time: dateTime(one.created_at, 'minute') }), ' · ', one.used_at ? [t('device.used'), ' ', ago(one.used_at)] : t('device.never_used'), one.expires_at && [' · ', t('device.expires_on', { time: dateTime(one.expires_at, 'minute') })])),
      button(t('device.revoke'), { small: true, onclick: async (event) => {
        const pressed = event.currentTarget;
        if (!(await confirm({ title: t('device.revoke_title'), text: t('device.revoke_text', { name: key }), action: t('device.revoke') }))) return;
        await act(pressed, () => api.del(`api/devices/${seg(key)}/credentials/${one.id}`), t('device.revoked'));
        again();
      } }))));
    }, { signal: own });
    return card({ title: t('device.tab_credentials'), sub: t('device.credentials_text'), actions: button(t('device.credential_new'), { kind: 'primary', small: true, iconName: 'plus', onclick: async () => {
      if (await addCredential(key, hasSecret)) again();
    } }) }, body);
  }

  // --- Together

  showHead();
  showTabs();
  fill(root, head, waiting, card({ class: 'device-facts' }, facts_), tabBar, panel);
  showPart();
  if (mayRead) {
    api.get('api/quarantine', { device_id: key, limit: 100 }, { signal }).then(({ items, next_cursor: more }) => count_('quarantine', more ? items.length : items.length)).catch(() => {});
  }
  if (session.can('alarms:read')) {
    const countAlarms = throttle(() => api.get('api/alarms', { device: key, active: true, limit: 100 }, { signal }).then(({ items }) => count_('alarms', items.length)).catch(() => {}), 1_000);
    countAlarms();
    listen({ events: ['alarms'], signal }, (kind, told) => {
      if (kind === 'gap' || told.alarm?.device === key) countAlarms();
    });
  }
  const refreshSoon = throttle(refresh, 5_000);
  const seen = throttle(() => showHead(), 1_000);
  listen({ events: [...(mayRead ? ['readings'] : []), 'presence'], devices: [key], signal }, (kind, told) => {
    if (kind === 'readings') {
      take(told.data);
      device.last_seen = told.data.received_at;
      seen();
    } else if (kind === 'presence') {
      device.online = told.online;
      showHead();
      refreshSoon();
    } else if (kind === 'gap' || told.resumed) {
      refreshSoon();
      view?.reload();
      readSensorsSoon();
    } else if (kind === 'open') {
      // What came between the page's own reading and the stream's beginning.
      readSensorsSoon();
    }
  });
  every(60_000, signal, () => {
    refresh();
    if (part === 'values') readSparks();
  });
}


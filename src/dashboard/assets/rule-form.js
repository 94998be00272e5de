// The form of an alarm rule: conditions by level, scope, timing, who is told. What a rule has beyond the
// form's places is kept; a condition that the form can't show is left to the JSON.

import { conditionText, scopeText, SEVERITIES } from './alarming.js';
import { fill, h, icon, uid } from './dom.js';
import { t, word } from './i18n.js';
import { FIGURES, formToLevels, KINDS, LEVEL_FIELDS, levelsToForm, matching, SHARED_FIELDS } from './rule-model.js';
import { labelTokens, tokens } from './tokens.js';
import { button, field, iconButton, severityTone } from './ui.js';

const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const LEVELS_MAX = 5;

const section = (title, ...content) => h('section', { class: 'form-section' }, h('h2', {}, title), content);
const pair = (...fields) => h('div', { class: 'fields' }, fields.map((one) => one.element));

// --- Levels

/** One row a severity; `change` is told of every key pressed. */
function levelsEditor(start, change) {
  let { kind, shared, rows } = start;
  let shown = [];
  const list = h('div', { class: 'level-rows' });
  const sharedBox = h('div', { class: 'fields' });
  let sharedFields = {};
  const wrong = h('p', { class: 'wrong', role: 'alert', hidden: true });
  const hint = h('p', { class: 'muted small-text' });
  const more = button(t('rules.level_add'), { small: true, iconName: 'plus', onclick: () => {
    keep();
    const free = SEVERITIES.filter((one) => !rows.some((row) => row.severity === one));
    const worse = free.find((one) => SEVERITIES.indexOf(one) > Math.max(...rows.map((row) => SEVERITIES.indexOf(row.severity)))) || free[0];
    rows.push({ severity: worse });
    show();
    shown[shown.length - 1].severity.control.focus();
    change();
  } });
  const kinds = field({ label: t('rules.kind'), type: 'select', value: kind, options: KINDS.map((one) => [one, t(`conditions.${one}`)]), hint: ' ', onchange: () => {
    keep();
    kind = kinds.value;
    if (kind === 'offline' || kind === 'bad_quality') rows = rows.slice(0, 1);
    showShared();
    show();
    change();
  } });

  function input(name, row) {
    const common = { label: t(`rules.field_${name}`), name, value: row[name] ?? '', oninput: change };
    if (name === 'low') common.label = t(kind === 'rate' ? 'rules.field_falling' : 'rules.field_low');
    if (name === 'high') common.label = t(kind === 'rate' ? 'rules.field_rising' : 'rules.field_high');
    if (name === 'for') return field({ ...common, placeholder: '15m' });
    if (name === 'value') return field(common);
    return field({ ...common, type: 'number', inputmode: 'decimal' });
  }

  function show() {
    shown = rows.map((row) => ({
      row,
      severity: field({ label: t('alarms.severity'), type: 'select', value: row.severity, options: SEVERITIES.map((one) => [one, word('severity', one)]), onchange: () => {
        keep();
        show();
        change();
      } }),
      inputs: Object.fromEntries(LEVEL_FIELDS[kind].map((name) => [name, input(name, row)])),
      // The fields are narrow: what is wrong with one stands beneath all of them.
      wrong: h('p', { class: 'wrong', id: uid('wrong'), role: 'alert', hidden: true }),
    }));
    fill(list, shown.map((one, at) => h('div', { class: ['level-row', severityTone(one.row.severity)], role: 'group', 'aria-label': word('severity', one.row.severity) }, one.severity.element, Object.values(one.inputs).map((part) => part.element),
      rows.length > 1 && iconButton('trash', t('rules.level_remove', { severity: word('severity', one.row.severity) }), { kind: 'plain', onclick: () => {
        keep();
        rows.splice(at, 1);
        show();
        change();
        more.focus();
      } }), one.wrong)));
    more.hidden = rows.length >= LEVELS_MAX || LEVEL_FIELDS[kind].length === 0;
    hint.textContent = t(`conditions.${kind}_hint`);
  }

  function showShared() {
    sharedFields = Object.fromEntries((SHARED_FIELDS[kind] || []).map((name) => [name, name === 'function'
      ? field({ label: t('rules.field_function'), name, type: 'select', value: shared.function || 'mean', options: FIGURES.map((one) => [one, t(`conditions.${one}`)]), onchange: change })
      : field({ label: t(`rules.field_${name}`), name, value: shared[name] || { per: '1m', window: '5m' }[name], oninput: change })]));
    fill(sharedBox, Object.values(sharedFields).map((one) => one.element));
    sharedBox.hidden = Object.keys(sharedFields).length === 0;
  }

  /** What stands in the fields becomes the rows. */
  function keep() {
    rows = shown.map(({ row, severity, inputs }) => ({ ...row, severity: severity.value, ...Object.fromEntries(Object.entries(inputs).map(([name, one]) => [name, one.value])) }));
    shared = { ...shared, ...Object.fromEntries(Object.entries(sharedFields).map(([name, one]) => [name, one.value])) };
  }

  const levelFields = ({ inputs }) => ({ limit: inputs.high?.value === null && inputs.low?.value !== null ? inputs.low : inputs.high || inputs.low, low: inputs.low, high: inputs.high, above: inputs.high, below: inputs.low, deadband: inputs.deadband, for: inputs.for, value: inputs.value });

  /** A field of a level that tells its mistakes beneath the level. */
  const placed = (one, part) => ({
    control: part.control,
    fail(text) {
      part.control.setAttribute('aria-invalid', 'true');
      part.control.setAttribute('aria-describedby', one.wrong.id);
      one.wrong.textContent = text;
      one.wrong.hidden = false;
    },
  });

  /** Marks levels that lack what they need; true where there is none. */
  function isFilled() {
    let isFine = true;
    for (const one of shown) {
      const { low, high, for: time, value } = one.inputs;
      const lacking = low && high && low.value === null && high.value === null ? [high, t('rules.need_limit')]
        : time && !time.value.trim() ? [time, t('rules.need_time')] : value && !value.value.trim() ? [value, t('form.needed')] : null;
      if (!lacking) continue;
      placed(one, lacking[0]).fail(lacking[1]);
      if (isFine) lacking[0].control.focus();
      isFine = false;
    }
    return isFine;
  }

  /** The field for a pointer under /levels, if there is one. */
  function fieldFor(pointer) {
    const [, , at, ...rest] = pointer.split('/');
    if (at === undefined) return null;
    const { order } = formToLevels(kind, rows, shared);
    const one = shown[order[Number(at)]];
    if (!one) return null;
    const names = levelFields(one);
    const found = [...rest].reverse().find((name) => names[name] || sharedFields[name]);
    if (found && !names[found]) return sharedFields[found];
    if (found) return placed(one, names[found]);
    return placed(one, rest[0] === 'severity' ? one.severity : Object.values(one.inputs)[0] || one.severity);
  }

  showShared();
  show();
  return {
    element: h('div', { class: 'stack' }, kinds.element, sharedBox, list, wrong, h('div', { class: 'row' }, more), hint),
    read() {
      keep();
      return formToLevels(kind, rows, shared).levels;
    },
    fieldFor,
    isFilled,
    fail(text) {
      wrong.textContent = text || '';
      wrong.hidden = !text;
    },
    clear() {
      wrong.hidden = true;
      for (const one of shown) {
        one.wrong.hidden = true;
        for (const part of [one.severity, ...Object.values(one.inputs)]) part.fail('');
      }
      for (const one of Object.values(sharedFields)) one.fail('');
    },
  };
}

// --- Schedule

function scheduleEditor(start, zones, change) {
  const list = h('div', { class: 'level-rows' });
  let rows = (Array.isArray(start) ? start : [start]).filter(Boolean).map((one) => build(one));
  const add = button(t('rules.hours_add'), { small: true, iconName: 'plus', onclick: () => {
    rows.push(build({ weekdays: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '08:00', to: '18:00', zone: zones[0] }));
    show();
    change();
  } });

  function build(hours) {
    const chosen = new Set(hours.weekdays || []);
    const days = h('div', { class: 'weekdays', role: 'group', 'aria-label': t('rules.weekdays') }, WEEKDAYS.map((day) => h('label', {}, h('input', { type: 'checkbox', checked: chosen.has(day), onchange: (event) => {
      if (event.target.checked) chosen.add(day);
      else chosen.delete(day);
      change();
    } }), h('span', {}, t(`rules.day_${day}`)))));
    const from = field({ label: t('rules.from'), type: 'time', value: hours.from || '00:00', oninput: change });
    const to = field({ label: t('rules.to'), type: 'time', value: hours.to === '24:00' ? '00:00' : hours.to || '00:00', oninput: change });
    const zone = field({ label: t('rules.zone'), type: 'text', value: hours.zone || 'UTC', list: 'rule-zones', oninput: change, placeholder: 'Asia/Shanghai' });
    return {
      fields: { from, to, zone }, days,
      read: () => ({ weekdays: WEEKDAYS.filter((day) => chosen.has(day)), from: from.value || '00:00', to: to.value === '00:00' || !to.value ? '24:00' : to.value, zone: zone.value.trim() || 'UTC' }),
    };
  }

  function show() {
    fill(list, rows.map((one, at) => h('div', { class: 'hours-row' }, one.days, Object.values(one.fields).map((part) => part.element), iconButton('trash', t('rules.hours_remove'), { kind: 'plain', onclick: () => {
      rows.splice(at, 1);
      show();
      change();
      add.focus();
    } }))));
  }

  show();
  const all = Intl.supportedValuesOf ? Intl.supportedValuesOf('timeZone') : [];
  return {
    element: h('div', { class: 'stack' }, h('datalist', { id: 'rule-zones' }, ['UTC', ...all].map((one) => h('option', { value: one }))), list, h('div', { class: 'row' }, add)),
    read: () => rows.map((one) => one.read()),
    fieldFor(pointer) {
      const [, , at, name] = pointer.split('/');
      const row = rows[Number(at) || 0];
      return row && (row.fields[name || at] || row.fields.from);
    },
  };
}

// --- The whole form

/**
 * `known`: promises of lists {devices, sensors, targets, rules, gateways, types}. Returns {element, read(),
 * fail(errors) → those without a place}, or null where the rule's conditions are beyond it.
 */
export function ruleForm({ rule, known, zones, onchange }) {
  const levelStart = levelsToForm(rule.levels?.length ? rule.levels : [{ severity: 'warning', condition: { type: 'above' } }]);
  if (!levelStart) return null;
  const scope = rule.scope || {};
  const says = h('p', { class: 'rule-says' });
  const reach = h('p', { class: 'muted small-text', role: 'status' });
  let there = null;
  known.all?.then((found) => {
    there = found;
    say();
  });
  const change = () => {
    say();
    onchange?.();
  };
  const text = (name, extra = {}) => field({ label: t(`rules.${name}`), name, value: rule[name] ?? '', oninput: change, ...extra });
  const names = (name, extra = {}) => tokens({ label: t(`rules.in_${name}`), name, value: scope[name] || [], onchange: change, pointer: `/scope/${name}`, ...extra });
  const fields = {
    name: text('name', { required: true, maxlength: 100, placeholder: t('rules.name_example') }),
    description: text('description', { optional: true }),
    on_delay: text('on_delay', { hint: t('rules.on_delay_hint'), placeholder: '0s' }),
    off_delay: text('off_delay', { hint: t('rules.off_delay_hint'), placeholder: '0s' }),
    cooldown: text('cooldown', { hint: t('rules.cooldown_hint'), placeholder: '1m' }),
    repeat: text('repeat', { hint: t('rules.repeat_hint'), optional: true, placeholder: '1h' }),
    message: text('message', { hint: t('rules.message_hint', { device: '{device}', device_name: '{device_name}', sensor: '{sensor}', value: '{value}', unit: '{unit}', limit: '{limit}', severity: '{severity}', time: '{time}', rule: '{rule}' }), optional: true, placeholder: '{device} {sensor}: {value} {unit}' }),
  };
  const enabled = field({ label: t('rules.enabled'), type: 'checkbox', value: rule.enabled !== false, hint: t('rules.enabled_hint'), onchange: change });
  const latching = field({ label: t('rules.latching'), type: 'checkbox', value: rule.latching, hint: t('rules.latching_hint'), onchange: change });
  const late = field({ label: t('rules.judges_late'), type: 'checkbox', value: rule.judges_late, hint: t('rules.judges_late_hint'), onchange: change });
  const lists = {
    sensors: names('sensors', { known: known.sensors, placeholder: t('rules.any_sensor') }),
    devices: names('devices', { known: known.devices, placeholder: t('rules.any_device') }),
    gateways: names('gateways', { known: known.gateways }),
    sensor_types: names('sensor_types', { known: known.types }),
  };
  const labels = labelTokens({ label: t('rules.in_labels'), name: 'labels', value: scope.labels, pointer: '/scope/labels', hint: t('rules.in_labels_hint'), onchange: change });
  const globs = {
    device_glob: field({ label: t('rules.device_glob'), value: scope.device_glob ?? '', placeholder: 'boiler-*', mono: true, oninput: change }),
    sensor_glob: field({ label: t('rules.sensor_glob'), value: scope.sensor_glob ?? '', placeholder: 'temp*', mono: true, oninput: change }),
  };
  const kinds = field({ label: t('rules.kinds'), type: 'select', value: (scope.kinds || []).join(','), options: [['', t('rules.kind_any')], ['device', t('rules.kind_device')], ['gateway', t('rules.kind_gateway')], ...((scope.kinds || []).length > 1 ? [[scope.kinds.join(','), scope.kinds.join(', ')]] : [])], onchange: change });
  const targets = tokens({ label: t('rules.targets'), value: rule.targets || [], known: known.targets, hint: t('rules.targets_hint'), placeholder: t('rules.targets_any'), onchange: change });
  const suppressed = tokens({ label: t('rules.suppressed_by'), value: rule.suppressed_by || [], known: known.rules, hint: t('rules.suppressed_by_hint'), onchange: change });
  const ruleLabels = labelTokens({ label: t('rules.labels'), value: rule.labels, hint: t('rules.labels_hint'), placeholder: 'team=…', onchange: change });
  const levels = levelsEditor(levelStart, change);
  const schedule = scheduleEditor(rule.schedule || [], zones, change);
  const isWide = ['gateways', 'sensor_types', 'kinds', 'device_glob', 'sensor_glob'].some((key) => scope[key]?.length);

  function readScope() {
    const parts = { ...Object.fromEntries(Object.entries(lists).map(([name, one]) => [name, one.value])), kinds: kinds.value ? kinds.value.split(',') : [], labels: labels.value, device_glob: globs.device_glob.value.trim(), sensor_glob: globs.sensor_glob.value.trim() };
    return Object.fromEntries(Object.entries(parts).filter(([, value]) => (typeof value === 'object' ? Object.keys(value).length : value)));
  }

  function read() {
    const next = { ...rule, name: fields.name.value.trim(), description: fields.description.value.trim(), enabled: enabled.value, scope: readScope(), levels: levels.read() };
    for (const name of ['on_delay', 'off_delay', 'cooldown', 'repeat', 'message']) {
      const value = fields[name].value.trim();
      if (value) next[name] = name === 'message' ? value : value.replaceAll(' ', '');
      else delete next[name];
    }
    return { ...next, latching: latching.value, judges_late: late.value, schedule: schedule.read(), targets: targets.value, suppressed_by: suppressed.value, labels: ruleLabels.value };
  }

  function say() {
    const next = read();
    fill(says, icon('rule'), h('span', {}, h('strong', {}, scopeText(next.scope)), ': ', next.levels.map((level, at) => [at > 0 && '; ', h('b', { class: `tone-${severityTone(level.severity)}` }, word('severity', level.severity)), ' ', isWhole(level.condition) ? conditionText(level.condition) : '…'])));
    if (!there) return;
    const found = matching(next.scope, there.devices, there.sensors);
    const isOfDevices = next.levels.some(({ condition }) => ['offline', 'silent'].includes(condition.type));
    const count = isOfDevices ? found.all : found.sensors;
    reach.textContent = count === 0 ? t('rules.reach_none') : isOfDevices ? t('rules.reach_devices', { count }) : t('rules.reach_sensors', { count, devices: found.devices });
    reach.className = count === 0 ? 'small-text tone-warn' : 'muted small-text';
  }

  const isWhole = (condition) => !['above', 'below'].includes(condition.type) || typeof condition.limit === 'number';
  const placeOf = { targets, suppressed_by: suppressed, labels: ruleLabels, ...fields, enabled, latching, judges_late: late };
  const scopePlaces = { ...lists, ...globs, labels, kinds };

  /** Puts each error beside its field; returns those that have none. */
  function fail(errors) {
    for (const one of [...Object.values(placeOf), ...Object.values(scopePlaces)]) one.fail('');
    levels.clear();
    let first = null;
    const rest = [];
    for (const error of errors) {
      const [, top, second] = error.pointer.split('/');
      let place = null;
      if (top === 'levels') place = levels.fieldFor(error.pointer);
      else if (top === 'schedule') place = schedule.fieldFor(error.pointer);
      else place = top === 'scope' ? scopePlaces[second] : placeOf[top];
      if (top === 'levels' && !place) levels.fail(error.detail);
      else if (place) place.fail(error.detail);
      else rest.push(error);
      first ||= place?.control;
      if (place) place.control.closest('details')?.setAttribute('open', '');
    }
    first?.focus();
    return rest;
  }

  const element = h('div', {},
    section(t('rules.section_what'), pair(fields.name, fields.description), enabled.element),
    section(t('rules.section_when'), levels.element, pair(fields.on_delay, fields.off_delay)),
    section(t('rules.section_where'), h('p', { class: 'muted small-text' }, t('rules.section_where_text')), pair(lists.sensors, lists.devices), labels.element,
      h('details', { class: 'more', open: isWide }, h('summary', {}, t('rules.more_scope')), pair(globs.device_glob, globs.sensor_glob), pair(lists.gateways, lists.sensor_types), kinds.element), reach),
    section(t('rules.section_who'), targets.element, pair(fields.cooldown, fields.repeat), fields.message.element),
    section(t('rules.section_hours'), h('p', { class: 'muted small-text' }, t('rules.section_hours_text')), schedule.element),
    section(t('rules.section_more'), latching.element, late.element, suppressed.element, ruleLabels.element),
    h('div', { class: 'form-section' }, says));
  /** Whether nothing that is needed is missing; marks what is. */
  function isFilled({ withName = true } = {}) {
    fail([]);
    const isFine = levels.isFilled();
    if (!withName || fields.name.value.trim()) return isFine;
    fields.name.fail(t('form.needed'));
    fields.name.control.focus();
    return false;
  }

  say();
  return { element, read, fail, isFilled };
}

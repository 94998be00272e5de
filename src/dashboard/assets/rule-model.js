// Between an alarm rule as the server has it and the form: which rules the form can show whole, and what
// its rows say. What the form has no place for is kept as it was.

import { rank } from './alarming.js';

/// Kinds of condition that the form offers; each level of a rule is of the same kind.
export const KINDS = ['limits', 'rate', 'missing', 'silent', 'offline', 'equals', 'differs', 'stuck', 'aggregate', 'bad_quality'];
/// What is asked for at each level.
export const LEVEL_FIELDS = {
  limits: ['low', 'high', 'deadband'], aggregate: ['low', 'high', 'deadband'], rate: ['low', 'high'], missing: ['for'], silent: ['for'], stuck: ['for'],
  equals: ['value'], differs: ['value'], offline: [], bad_quality: [],
};
/// What is the same for all levels.
export const SHARED_FIELDS = { rate: ['per', 'window'], aggregate: ['function', 'window'] };
export const FIGURES = ['mean', 'min', 'max', 'count', 'stddev'];

const given = (value) => value !== undefined && value !== null;
const only = (object, names) => Object.keys(object).every((key) => names.includes(key) || !given(object[key]));
const limitOf = (value) => (typeof value === 'object' && value !== null ? value.limit : value);
const bandOf = (value) => (typeof value === 'object' && value !== null ? value.deadband : undefined);
const isPlain = (value) => !given(value) || typeof value === 'number' || only(value, ['limit', 'deadband']);

function limitsRow(condition) {
  const { type } = condition;
  if (type === 'above' && only(condition, ['type', 'limit', 'deadband'])) return { high: condition.limit, deadband: condition.deadband };
  if (type === 'below' && only(condition, ['type', 'limit', 'deadband'])) return { low: condition.limit, deadband: condition.deadband };
  if (type === 'outside' && only(condition, ['type', 'low', 'high', 'deadband'])) return { low: condition.low, high: condition.high, deadband: condition.deadband };
  return null;
}

function aggregateRow(condition) {
  if (!only(condition, ['type', 'function', 'window', 'above', 'below', 'outside'])) return null;
  const { above, below, outside } = condition;
  const shared = { function: condition.function, window: condition.window };
  if (given(above) && !given(below) && !given(outside) && isPlain(above)) return { high: limitOf(above), deadband: bandOf(above), shared };
  if (given(below) && !given(above) && !given(outside) && isPlain(below)) return { low: limitOf(below), deadband: bandOf(below), shared };
  if (given(outside) && !given(above) && !given(below)) return { ...outside, shared };
  return null;
}

function rateRow(condition) {
  const isBand = [condition.above, condition.below].some((one) => given(bandOf(one)));
  if (isBand || !only(condition, ['type', 'above', 'below', 'per', 'window']) || !isPlain(condition.above) || !isPlain(condition.below)) return null;
  return { high: limitOf(condition.above), low: limitOf(condition.below), shared: { per: condition.per, window: condition.window } };
}

function rowOf(condition) {
  const { type } = condition;
  if (['above', 'below', 'outside'].includes(type)) return { kind: 'limits', row: limitsRow(condition) };
  if (type === 'rate') return { kind: type, row: rateRow(condition) };
  if (type === 'aggregate') return { kind: type, row: aggregateRow(condition) };
  if (['missing', 'silent', 'stuck'].includes(type)) return { kind: type, row: only(condition, ['type', 'for']) ? { for: condition.for } : null };
  if (['equals', 'differs'].includes(type)) return { kind: type, row: only(condition, ['type', 'value', 'from']) ? { value: condition.value, from: condition.from } : null };
  if (['offline', 'bad_quality'].includes(type)) return { kind: type, row: only(condition, ['type']) ? {} : null };
  return { kind: null, row: null };
}

/** `{kind, shared, rows}` of a rule's levels, or null where the form can't show them. */
export function levelsToForm(levels) {
  let kind = null;
  let shared = {};
  const rows = [];
  for (const level of levels || []) {
    const found = rowOf(level.condition || {});
    if (!found.row || (kind && found.kind !== kind)) return null;
    const { shared: ours, ...row } = found.row;
    if (rows.length && JSON.stringify(ours ?? {}) !== JSON.stringify(shared)) return null;
    kind = found.kind;
    shared = ours ?? {};
    rows.push({ ...row, severity: level.severity, on_delay: level.on_delay, off_delay: level.off_delay });
  }
  return { kind: kind || 'limits', shared, rows };
}

const number = (value) => (typeof value === 'number' ? value : undefined);
const clean = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => given(value) && value !== ''));

function conditionOf(kind, row, shared) {
  const [low, high, deadband] = [number(row.low), number(row.high), number(row.deadband)];
  switch (kind) {
    case 'limits':
      if (given(low) && given(high)) return clean({ type: 'outside', low, high, deadband });
      return given(low) ? clean({ type: 'below', limit: low, deadband }) : clean({ type: 'above', limit: high, deadband });
    case 'aggregate': {
      const figure = { type: 'aggregate', function: shared.function, window: shared.window };
      if (given(low) && given(high)) return clean({ ...figure, outside: clean({ low, high, deadband }) });
      return clean({ ...figure, [given(low) ? 'below' : 'above']: clean({ limit: low ?? high, deadband }) });
    }
    case 'rate': return clean({ type: 'rate', above: high, below: low, per: shared.per, window: shared.window });
    case 'equals': case 'differs': {
      const isNumber = String(row.value ?? '').trim() !== '' && !Number.isNaN(Number(row.value));
      return clean({ type: kind, value: isNumber ? Number(row.value) : row.value || undefined });
    }
    case 'missing': case 'silent': case 'stuck': return clean({ type: kind, for: row.for });
    default: return { type: kind };
  }
}

/** The levels of a rule out of the form's rows, in rising order of severity; `order` is where each came from. */
export function formToLevels(kind, rows, shared) {
  const order = rows.map((row, at) => [row, at]).sort(([one], [other]) => rank(one.severity) - rank(other.severity));
  return {
    levels: order.map(([row]) => clean({ severity: row.severity, condition: conditionOf(kind, row, shared), on_delay: row.on_delay, off_delay: row.off_delay })),
    order: order.map(([, at]) => at),
  };
}

/** A rule without what stands for itself: what a person would have written. */
export function tidy(rule) {
  const defaults = { description: '', enabled: true, on_delay: '0s', off_delay: '0s', cooldown: '1m', latching: false, judges_late: false };
  const kept = Object.entries(rule).filter(([key, value]) => {
    if (!given(value) || defaults[key] === value) return false;
    if (Array.isArray(value)) return value.length > 0;
    if (typeof value === 'object') return key === 'levels' || Object.keys(value).length > 0;
    return true;
  });
  return Object.fromEntries(kept);
}

/** What differs between two versions of a rule: [[path, before, after]]; levels go by their severity. */
export function ruleDifferences(before, after) {
  const named = (rule) => ({ ...rule, levels: Object.fromEntries((rule.levels || []).map(({ severity, ...level }) => [severity, level])) });
  return differences(named(before), named(after));
}

/** What differs between two values: [[path, before, after]]. */
export function differences(before, after, path = '') {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  const isTree = (value) => typeof value === 'object' && value !== null;
  if (isTree(before) && isTree(after) && Array.isArray(before) === Array.isArray(after) && !(Array.isArray(before) && before.some((one) => !isTree(one)))) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return names.flatMap((name) => differences(before[name], after[name], path ? `${path}.${name}` : name));
  }
  return [[path, before, after]];
}

const glob = (pattern) => new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')}$`, 'u');

/** What of the devices and sensors that are there a scope means: {devices, sensors}, both counted. */
export function matching(scope, devices, sensors) {
  const one = (names, value) => !names?.length || names.includes(value);
  const like = scope.device_glob && glob(scope.device_glob);
  const likeSensor = scope.sensor_glob && glob(scope.sensor_glob);
  const found = new Set(devices.filter((device) => one(scope.devices, device.device) && one(scope.kinds, device.kind) && one(scope.gateways, device.gateway)
    && Object.entries(scope.labels || {}).every(([name, value]) => device.labels?.[name] === value) && (!like || like.test(device.device))).map((device) => device.device));
  const hit = sensors.filter((sensor) => found.has(sensor.device) && one(scope.sensors, sensor.name) && one(scope.sensor_types, sensor.type) && (!likeSensor || likeSensor.test(sensor.name)));
  return { devices: new Set(hit.map((sensor) => sensor.device)).size, sensors: hit.length, all: found.size };
}

// Silences: what is not told for a while, since somebody knows.

import { fromLocal, localInput, matchText, SEVERITIES, zoneHint } from '../alarming.js';
import { api } from '../api.js';
import { fill, h } from '../dom.js';
import { t, word } from '../i18n.js';
import { labelTokens, tokens } from '../tokens.js';
import { ago, dateTime, exact } from '../time.js';
import { act, badge, button, card, confirm, dialog, emptyState, every, failFields, field, load, menu, moreButton, pageHead, table, toast } from '../ui.js';

const LENGTHS = ['30m', '1h', '2h', '8h', '1d', '7d'];
const inHours = (text) => (text.endsWith('d') ? `${Number.parseInt(text, 10) * 24}h` : text);

function standing(one) {
  const now = Date.now();
  if (Date.parse(one.ends_at) <= now) return 'ended';
  return Date.parse(one.starts_at) > now ? 'planned' : 'active';
}

const TONE = { active: 'info', planned: 'warn', ended: 'mute' };

const list = (path, pick) => api.all(path, { limit: 1_000 }, { max: 1_000 }).then((items) => items.map(pick)).catch(() => []);

/** Asks for a silence, new or another; resolves with the answer. */
export function editSilence(one, session, match = one?.match || {}) {
  const fields = {
    devices: tokens({ label: t('silences.devices'), value: match.devices, hint: t('silences.devices_hint'), pointer: '/match/devices', known: session.can('devices:read') ? list('api/devices', (found) => found.device) : [] }),
    rules: tokens({ label: t('silences.rules'), value: match.rules, hint: t('silences.rules_hint'), pointer: '/match/rules', known: list('api/alarm-rules', (found) => found.rule.name) }),
    labels: labelTokens({ label: t('silences.labels'), value: match.labels, hint: t('silences.labels_hint'), pointer: '/match/labels' }),
    min_severity: field({ label: t('silences.min_severity'), type: 'select', value: match.min_severity || '', options: [['', match.severities?.length ? match.severities.map((key) => word('severity', key)).join(', ') : t('silences.severity_any')], ...SEVERITIES.map((key) => [key, t('silences.from_severity', { severity: word('severity', key) })])] }),
    duration: field({ label: t('silences.days'), type: 'select', value: one ? '' : '2h', options: [...LENGTHS.map((key) => [key, t(`silences.for_${key}`)]), ['', t('silences.for_own')]], onchange: () => show() }),
    starts_at: field({ label: t('silences.starts'), type: 'datetime-local', value: localInput(one?.starts_at || Date.now()), hint: zoneHint() }),
    ends_at: field({ label: t('silences.ends'), type: 'datetime-local', value: localInput(one?.ends_at || Date.now() + 7_200_000), hint: zoneHint() }),
    comment: field({ label: t('silences.comment'), type: 'textarea', rows: 2, value: one?.comment, maxlength: 1_000, hint: t('silences.comment_hint') }),
  };
  const times = h('div', { class: 'fields' }, fields.starts_at.element, fields.ends_at.element);
  const show = () => { times.hidden = fields.duration.value !== ''; };
  show();
  const read = () => {
    const min = fields.min_severity.value;
    const chosen = { devices: fields.devices.value, rules: fields.rules.value, labels: fields.labels.value, min_severity: min, severities: min ? [] : match.severities || [] };
    const when = fields.duration.value ? { duration: inHours(fields.duration.value) } : { starts_at: fromLocal(fields.starts_at.value), ends_at: fromLocal(fields.ends_at.value) };
    return { match: Object.fromEntries(Object.entries(chosen).filter(([, value]) => (typeof value === 'object' ? Object.keys(value).length : value))), ...when, comment: fields.comment.value };
  };
  return dialog({
    title: t(one ? 'silences.edit' : 'silences.new'), submit: one ? t('actions.save') : t('silences.new'),
    body: [h('div', { class: 'stack' }, fields.devices.element, fields.rules.element, fields.labels.element, fields.min_severity.element, fields.duration.element, times, fields.comment.element)],
    async onsubmit(close, general) {
      const body = read();
      if (Object.keys(body.match).length === 0) {
        fields.devices.fail(t('silences.nothing_chosen'));
        fields.devices.control.focus();
        return;
      }
      try {
        close(one ? await api.put(`api/silences/${one.id}`, body) : await api.post('api/silences', body));
      } catch (error) {
        failFields(error, { ...fields, '/match/min_severity': fields.min_severity, '/match': fields.devices }, general);
      }
    },
  });
}

export default async function page({ root, query, signal, setQuery, session }) {
  const mayWrite = session.can('alarms:write');
  let withEnded = query.get('ended') === '1';
  const add = async () => {
    if (await editSilence(null, session)) {
      toast(t('silences.created'));
      again();
    }
  };
  root.append(pageHead(t('nav.silences'), { sub: t('silences.sub'), actions: mayWrite && button(t('silences.new'), { kind: 'primary', iconName: 'plus', onclick: add }) }));
  const box = h('div', {});

  async function extend(one) {
    const ends = new Date(Date.parse(one.ends_at) + 3_600_000).toISOString();
    await act(null, async () => {
      await api.put(`api/silences/${one.id}`, { match: one.match, starts_at: one.starts_at, ends_at: ends, comment: one.comment });
      again();
    }, t('silences.extended', { time: dateTime(ends, 'minute') }));
  }

  async function remove(one) {
    if (!(await confirm({ title: t('silences.delete'), text: t('silences.delete_text'), action: t('silences.delete') }))) return;
    await act(null, async () => {
      await api.del(`api/silences/${one.id}`);
      again();
    }, t('silences.deleted'));
  }

  const columns = [
    { key: 'match', label: t('silences.match'), primary: true, render: (one) => h('div', { class: 'alarm-name' }, h('span', { class: 'break' }, matchText(one.match)), one.comment && h('span', { class: 'sub break' }, one.comment)) },
    { key: 'state', label: t('silences.state'), render: (one) => badge(t(`silences.${standing(one)}`), TONE[standing(one)]) },
    { key: 'time', label: t('silences.time'), render: (one) => h('span', {}, exact(one.starts_at, 'minute'), ' – ', exact(one.ends_at, 'minute'), h('span', { class: 'sub' }, Date.parse(one.starts_at) > Date.now() ? [t('silences.starts'), ' ', ago(one.starts_at)] : [t('silences.ends'), ' ', ago(one.ends_at)])) },
    { key: 'author', label: t('audit.actor'), class: 'wide-only', render: (one) => one.author || null },
    mayWrite && { key: 'do', label: t('alarms.actions'), hideLabel: true, align: 'end', class: 'actions-cell', render: (one) => (standing(one) === 'ended' ? null : menu(t('alarms.actions_for', { name: matchText(one.match) }), [
      { text: `${t('actions.edit')}…`, iconName: 'edit', onclick: async () => { if (await editSilence(one, session)) { toast(t('silences.saved')); again(); } } },
      { text: t('silences.extend'), iconName: 'clock', onclick: () => extend(one) },
      { text: `${t('silences.delete')}…`, iconName: 'close', danger: true, onclick: () => remove(one) },
    ])) },
  ].filter(Boolean);

  const order = { active: 0, planned: 1, ended: 2 };
  const read = (cursor) => api.get('api/silences', { ended: withEnded || undefined, limit: 200, cursor }, { signal });
  const again = load(box, () => read(), (first) => {
    const rows = [];
    const view = table({ caption: t('nav.silences'), columns, empty: emptyState({ iconName: 'bell', title: t('silences.none'), text: t('silences.none_text'), actions: mayWrite && button(t('silences.new'), { onclick: add }) }) });
    const foot = h('div', {});
    const more = (found) => {
      rows.push(...found.items);
      view.set(rows.sort((one, other) => order[standing(one)] - order[standing(other)] || (one.ends_at < other.ends_at ? -1 : 1)));
      fill(foot, found.next_cursor && moreButton(async () => more(await read(found.next_cursor))));
    };
    more(first);
    return [view.element, foot];
  }, { signal });
  const ended = field({ label: t('silences.show_ended'), type: 'checkbox', value: withEnded, onchange: (event) => {
    withEnded = event.target.checked;
    setQuery({ ended: withEnded ? '1' : null });
    again();
  } });
  root.append(card({ class: 'flush' }, h('div', { class: 'toolbar pad' }, ended.element), box));
  every(30_000, signal, () => {
    if (!box.contains(document.activeElement)) again();
  });
}

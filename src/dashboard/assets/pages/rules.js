// Alarm rules: what each one watches and from when on, whether it is on, and how many of its alarms are open.

import { levelList, scopeText } from '../alarming.js';
import { api } from '../api.js';
import { h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { listen } from '../stream.js';
import { ago } from '../time.js';
import { act, badge, card, confirm, debounce, emptyState, linkButton, load, menu, pageHead, segmented, table, throttle } from '../ui.js';

/** A switch that is only moved once the server has done it. */
export function toggle(isOn, label, work, { disabled } = {}) {
  const element = h('button', { type: 'button', class: 'switch', role: 'switch', 'aria-checked': String(isOn), 'aria-label': label, title: label, disabled, onclick: () => work(element, element.getAttribute('aria-checked') !== 'true') });
  return element;
}

export async function presets(signal) {
  const { items } = await api.get('api/alarm-rules/presets', undefined, { signal });
  return items;
}

/** What to begin with: ready-made rules as links. */
export function presetLinks(items) {
  return h('div', { class: 'presets' }, items.map((one) => h('a', { class: 'preset', href: `#/rules/new?preset=${encodeURIComponent(one.name)}` },
    h('strong', {}, word('presets', one.name) === one.name ? one.title : word('presets', one.name)), levelList(one.rule.levels))));
}

export default async function page({ root, query, signal, setQuery, session }) {
  const mayWrite = session.can('alarms:write');
  root.append(pageHead(t('nav.rules'), {
    sub: t('rules.sub'), actions: mayWrite && linkButton(t('rules.new'), '#/rules/new', { kind: 'primary', iconName: 'plus' }),
  }));
  let all = [];
  let open = new Map();
  const box = h('div', {});
  const ready = h('div', { class: 'contents' });

  async function enable(rule, isOn, element) {
    if (!isOn && open.get(rule.id) && !(await confirm({ title: t('rules.disable'), text: t('rules.disable_text', { name: rule.rule.name, count: open.get(rule.id) }), action: t('rules.disable'), kind: 'primary' }))) return;
    const next = await act(element, () => api.post(`api/alarm-rules/${rule.id}/${isOn ? 'enable' : 'disable'}`), t(isOn ? 'rules.enabled_done' : 'rules.disabled_done', { name: rule.rule.name }));
    if (!next) return;
    all = all.map((one) => (one.id === next.id ? next : one));
    show();
  }

  async function remove(rule) {
    if (!(await confirm({ title: t('rules.delete'), text: t('rules.delete_text', { name: rule.rule.name }), action: t('actions.delete') }))) return;
    await act(null, async () => {
      await api.del(`api/alarm-rules/${rule.id}`);
      await again();
    }, t('rules.deleted'));
  }

  const view = table({
    caption: t('nav.rules'), href: (one) => `#/rules/${one.id}`, rowClass: (one) => !one.rule.enabled && 'rule-off',
    columns: [
      { key: 'name', label: t('rules.rule'), primary: true, render: ({ id, rule, provisioned }) => h('div', { class: 'alarm-name' }, h('a', { class: 'strong-link', href: `#/rules/${id}` }, rule.name),
        h('span', { class: 'sub break' }, scopeText(rule.scope)), provisioned && badge(t('rules.provisioned'), 'mute', { title: t('rules.provisioned_hint') })) },
      { key: 'levels', label: t('rules.raises'), render: ({ rule }) => levelList(rule.levels) },
      { key: 'open', label: t('rules.open'), align: 'end', render: ({ id }) => (open.get(id) ? h('a', { href: `#/alarms?rule=${id}`, 'aria-label': t('alarms.count', { count: open.get(id) }) }, h('span', { class: 'count' }, String(open.get(id)))) : null) },
      { key: 'changed', label: t('rules.changed'), class: 'nowrap wide-only', render: ({ updated_at: at, version }) => h('span', {}, ago(at), h('span', { class: 'sub' }, t('rules.version', { version }))) },
      { key: 'on', label: t('rules.on'), render: (one) => toggle(one.rule.enabled, t(one.rule.enabled ? 'rules.disable_name' : 'rules.enable_name', { name: one.rule.name }), (element, isOn) => enable(one, isOn, element), { disabled: !mayWrite || one.provisioned }) },
      mayWrite && { key: 'do', label: t('alarms.actions'), hideLabel: true, align: 'end', class: 'actions-cell', render: (one) => menu(t('alarms.actions_for', { name: one.rule.name }), [
        { text: t(one.provisioned ? 'rules.look' : 'actions.edit'), iconName: one.provisioned ? 'eye' : 'edit', href: `#/rules/${one.id}` },
        { text: t('rules.copy'), iconName: 'copy', href: `#/rules/new?copy=${one.id}` },
        !one.provisioned && { text: `${t('actions.delete')}…`, iconName: 'trash', danger: true, onclick: () => remove(one) },
      ]) },
    ].filter(Boolean),
    empty: () => (all.length ? emptyState({ iconName: 'filter', title: t('rules.none_match') })
      : emptyState({ iconName: 'rule', title: t('rules.none'), text: t('rules.none_text'), actions: mayWrite && linkButton(t('rules.new'), '#/rules/new', { kind: 'primary', iconName: 'plus' }) })),
  });

  const search = h('input', { type: 'search', placeholder: t('rules.search'), 'aria-label': t('rules.search'), oninput: debounce(() => {
    setQuery({ q: search.value.trim() });
    show();
  }, 150) });
  search.value = query.get('q') || '';
  let wanted = query.get('state') || 'all';
  const bar = h('div', { class: 'toolbar pad' },
    h('div', { class: 'search' }, icon('search'), search),
    segmented(['all', 'on', 'off'].map((key) => [key, t(`rules.show_${key}`)]), wanted, (value) => {
      wanted = value;
      setQuery({ state: value === 'all' ? null : value });
      show();
    }, t('rules.show')));

  function show() {
    const text = search.value.trim().toLowerCase();
    view.set(all.filter(({ rule }) => (wanted === 'all' || rule.enabled === (wanted === 'on')) && (!text || `${rule.name} ${rule.description} ${scopeText(rule.scope)}`.toLowerCase().includes(text))));
    bar.hidden = all.length === 0;
  }

  async function countOpen() {
    try {
      const items = await api.all('api/alarms', { closed: false, limit: 1_000 }, { max: 2_000, signal });
      open = new Map();
      for (const alarm of items) open.set(alarm.rule.id, (open.get(alarm.rule.id) || 0) + 1);
      for (const rule of all) view.patch(rule.id, {}, ['open']);
    } catch {
      // The rules are there without it.
    }
  }

  const again = load(box, () => api.all('api/alarm-rules', { limit: 1_000 }, { max: 5_000, signal }), (items) => {
    all = items;
    show();
    countOpen();
    return view.element;
  }, { signal, lines: 6 });
  root.append(card({ class: 'flush' }, bar, box), ready);
  listen({ events: ['alarms'], signal }, throttle(countOpen, 2_000));

  if (mayWrite) {
    presets(signal).then((items) => {
      if (!signal.aborted && items.length) ready.append(card({ title: t('rules.presets'), sub: t('rules.presets_text') }, presetLinks(items)));
    }).catch(() => {});
  }
}

// The audit log: who did what, when, from where, and what it changed.

import { fromLocal, zoneHint } from '../alarming.js';
import { api } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { hasText, t, word } from '../i18n.js';
import { differences } from '../rule-model.js';
import { ago, exact } from '../time.js';
import { badge, card, code, debounce, emptyState, field, load, moreButton, pageHead } from '../ui.js';
import { differenceList } from './rule.js';

const PAGE = 50;
const ACTOR_ICON = { user: 'user', key: 'key', console: 'config', nobody: 'user' };

const actionText = (action) => (hasText(`audit.do_${action}`) ? t(`audit.do_${action}`) : action.replaceAll('_', ' '));

function detail(one) {
  const { before, after, ...rest } = one.detail || {};
  const changed = before && after ? differences(before, after) : [];
  return [
    changed.length > 0 && differenceList(changed),
    !before && after && typeof after === 'object' && differenceList(Object.entries(after).map(([name, value]) => [name, undefined, value])),
    Object.keys(rest).length > 0 && code(JSON.stringify(rest, null, 2), { label: t('audit.detail') }),
    h('p', { class: 'muted small-text break' }, h('code', {}, one.action), ' · ', h('code', {}, one.resource), one.address && ` · ${t('audit.from', { address: one.address })}`, one.request_id && ` · ${t('errors.request', { id: one.request_id })}`),
  ];
}

function entry(one) {
  const isDanger = /^(delete|revoke|end|disable)/.test(one.action);
  const body = h('div', { class: 'message-body' });
  return h('details', { class: 'message audit', ontoggle: (event) => {
    if (event.currentTarget.open && !body.firstChild) fill(body, detail(one));
  } },
    h('summary', {}, h('span', { class: 'event-icon' }, icon(ACTOR_ICON[one.actor_kind] || 'user')),
      h('span', { class: 'audit-what' }, h('span', { class: 'row' }, h('strong', { class: 'break' }, one.actor_kind === 'nobody' ? word('role', 'nobody') : one.actor), one.actor_kind !== 'user' && one.actor_kind !== 'nobody' && badge(word('role', one.actor_kind)), h('span', { class: isDanger && 'tone-bad' }, actionText(one.action))),
        h('span', { class: 'muted small-text break' }, decoded(one.resource))),
      h('span', { class: 'muted small-text nowrap' }, exact(one.at, 'full'), h('span', { class: 'audit-ago' }, ' · ', ago(one.at)))),
    body);
}

/** `/api/devices/%E6%9C%BA` as people wrote it. */
function decoded(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

export default async function page({ root, query, signal, setQuery }) {
  const box = h('div', {});
  const filters = {
    actor: field({ label: t('audit.actor'), type: 'search', value: query.get('actor') || '', autocomplete: 'off' }),
    action: field({ label: t('audit.action'), type: 'search', value: query.get('action') || '', autocomplete: 'off', list: 'audit-actions', placeholder: 'create_user' }),
    resource: field({ label: t('audit.resource'), type: 'search', value: query.get('resource') || '', autocomplete: 'off', placeholder: '/api/users' }),
    from: field({ label: t('rules.from'), type: 'datetime-local', value: query.get('from') || '', hint: zoneHint() }),
    to: field({ label: t('rules.to'), type: 'datetime-local', value: query.get('to') || '', hint: zoneHint() }),
  };
  const known = h('datalist', { id: 'audit-actions' });
  const seen = new Set();
  const read = (cursor) => api.get('api/audit', {
    actor: filters.actor.value.trim(), action: filters.action.value.trim(), resource: filters.resource.value.trim(), from: fromLocal(filters.from.value), to: fromLocal(filters.to.value), limit: PAGE, cursor,
  }, { signal });
  let again = () => {};
  const changed = debounce(() => {
    setQuery(Object.fromEntries(Object.entries(filters).map(([name, one]) => [name, one.value.trim()])));
    again();
  }, 300);
  for (const one of Object.values(filters)) one.control.addEventListener('input', changed);
  root.append(pageHead(t('nav.audit'), { sub: t('audit.sub') }),
    card({ class: 'flush' }, h('details', { class: 'pad filters', open: innerWidth > 640 || Object.values(filters).some((one) => one.value) }, h('summary', {}, t('audit.filters')),
      h('div', { class: 'fields audit-filters' }, Object.values(filters).map((one) => one.element), known)), box));
  again = load(box, () => read(), (first) => {
    if (first.items.length === 0) return emptyState({ iconName: 'audit', title: t('audit.none'), text: t('audit.none_text') });
    const list = h('div', { class: 'messages' });
    const foot = h('div', {});
    const add = (page) => {
      for (const one of page.items) {
        list.append(entry(one));
        if (!seen.has(one.action)) known.append(h('option', { value: one.action }, actionText(one.action)));
        seen.add(one.action);
      }
      fill(foot, page.next_cursor && moreButton(async () => add(await read(page.next_cursor))));
    };
    add(first);
    return [list, foot];
  }, { signal, lines: 8 });
}

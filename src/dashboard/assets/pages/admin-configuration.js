// The configuration in force and where each value comes from; the database; a backup; and where to look on.

import { api, download } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { bytes, number } from '../time.js';
import { act, badge, button, card, debounce, emptyState, facts, load, pageHead, segmented } from '../ui.js';

const ORIGIN_TONE = { file: 'info', environment: 'warn' };

/** `{http: {listen: […]}}` → [['http', [['http.listen', […]]]]]: tables by their section, lists as one value. */
function flat(settings) {
  const isTree = (value) => typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
  const leaves = (value, path) => (isTree(value) ? Object.entries(value).flatMap(([name, inner]) => leaves(inner, `${path}.${name}`)) : [[path, value]]);
  const plain = [];
  const sections = [];
  for (const [name, value] of Object.entries(settings)) {
    if (isTree(value)) sections.push([name, leaves(value, name)]);
    else plain.push([name, value]);
  }
  return plain.length ? [['', plain], ...sections] : sections;
}

function shown(value) {
  if (typeof value === 'string' && /^\*{3,}$/.test(value)) return h('span', { class: 'muted' }, icon('key'), ' ', t('configuration.secret'));
  if (value === null || value === '' || (Array.isArray(value) && value.length === 0)) return h('span', { class: 'muted' }, value === null ? '–' : JSON.stringify(value));
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Where a value, or a part of it, was set. */
function originOf(origins, path) {
  return origins[path] || Object.entries(origins).find(([name]) => name.startsWith(`${path}.`) || path.startsWith(`${name}.`))?.[1] || 'default';
}

function settingsCard(signal) {
  const box = h('div', {});
  const whole = card({ title: t('configuration.settings'), sub: t('configuration.settings_text') }, box);
  load(box, () => api.get('api/configuration', undefined, { signal }), (answer) => {
    const settings = answer.settings || answer;
    const origins = answer.origins || {};
    const sections = flat(settings);
    const list = h('div', { class: 'stack' });
    let only = 'all';
    const search = h('input', { type: 'search', placeholder: t('configuration.search'), 'aria-label': t('configuration.search'), oninput: debounce(() => show(), 120) });
    const show = () => {
      const text = search.value.trim().toLowerCase();
      const found = sections.map(([name, rows]) => [name, rows.filter(([path, value]) => (only === 'all' || originOf(origins, path) !== 'default') && (!text || `${path} ${JSON.stringify(value)}`.toLowerCase().includes(text)))]).filter(([, rows]) => rows.length);
      fill(list, found.length === 0 ? emptyState({ iconName: 'filter', title: t('configuration.none') }) : found.map(([name, rows]) => h('section', {}, name && h('h3', { class: 'mono' }, `[${name}]`),
        h('dl', { class: 'config-table' }, rows.map(([path, value]) => {
          const origin = originOf(origins, path);
          return h('div', { class: 'config-row' }, h('dt', {}, name ? path.slice(name.length + 1) : path), h('dd', {}, h('span', { class: 'break' }, shown(value)), badge(t(`configuration.from_${origin}`), ORIGIN_TONE[origin] || 'mute')));
        })))));
    };
    show();
    return h('div', { class: 'stack' }, h('div', { class: 'toolbar' }, h('div', { class: 'search' }, icon('search'), search),
      segmented([['all', t('configuration.show_all')], ['set', t('configuration.show_set')]], only, (value) => { only = value; show(); }, t('configuration.show'))), list);
  }, { signal, lines: 8, hideMissing: true });
  new MutationObserver(() => { whole.hidden = box.hidden; }).observe(box, { attributes: true, attributeFilter: ['hidden'] });
  return whole;
}

function databaseCard(signal, session) {
  if (!session.can('service:read')) return null;
  const box = h('div', {});
  load(box, async () => {
    const [database, totals, overview] = await Promise.all([api.get('api/database/status', undefined, { signal }), api.get('api/statistics', undefined, { signal }), api.get('api/overview', undefined, { signal }).catch(() => null)]);
    return { database, totals, overview };
  }, ({ database, totals, overview }) => facts([
    [t('configuration.engine'), database.engine], [t('configuration.path'), h('span', { class: 'mono break' }, database.path)], [t('configuration.size'), bytes(database.file_bytes)], [t('configuration.log'), bytes(database.log_bytes)],
    [t('configuration.free'), overview?.store?.disk_free_bytes ? bytes(overview.store.disk_free_bytes) : null], [t('configuration.readings'), number(totals.readings_stored)], [t('nav.quarantine'), `${number(database.quarantine_entries)} (${bytes(database.quarantine_bytes)})`],
    [t('configuration.journal'), database.journal_mode],
  ]), { signal });
  return card({ title: t('configuration.database') }, box);
}

/** Only where the server can: it is asked first. */
async function backupCard(signal) {
  let allowed;
  try {
    const document = await api.get('openapi.json', undefined, { signal, retries: 0 });
    allowed = Boolean(document.paths?.['/api/backup']?.post);
  } catch {
    allowed = false;
  }
  if (!allowed) return null;
  return card({ title: t('configuration.backup'), sub: t('configuration.backup_text'), actions: button(t('configuration.backup_start'), { iconName: 'backup', onclick: (event) => act(event.currentTarget, () => api.post('api/backup'), t('configuration.backup_begun')) }) });
}

function linksCard(session) {
  const link = (href, iconName, title, text) => h('a', { href, target: '_blank', rel: 'noopener' }, icon(iconName), h('span', { class: 'grow' }, title, h('span', { class: 'sub' }, text)), icon('external'));
  const metrics = h('a', { href: 'metrics', onclick: async (event) => {
    // A browser's link sends no token: the page reads it and gives it as a file.
    event.preventDefault();
    await act(null, () => download('metrics', undefined, 'metrics.txt'));
  } }, icon('chart'), h('span', { class: 'grow' }, t('about.metrics'), h('span', { class: 'sub' }, t('configuration.metrics_text'))), icon('download'));
  return card({ title: t('about.more') }, h('div', { class: 'link-list' }, link('docs', 'docs', t('about.docs'), t('about.docs_text')), session.can('service:read') && metrics,
    h('a', { href: '#/about' }, icon('info'), h('span', { class: 'grow' }, t('nav.about'), h('span', { class: 'sub' }, t('configuration.about_text'))), icon('right'))));
}

export default async function page({ root, signal, session }) {
  const backup = h('div', { class: 'contents' });
  root.append(pageHead(t('nav.configuration'), { sub: t('configuration.sub') }), databaseCard(signal, session), backup, settingsCard(signal), linksCard(session));
  const found = await backupCard(signal);
  if (found && !signal.aborted) fill(backup, found);
}

// Work that goes on after its request: imports and deletions, how far they are, and files to be imported.

import { api, request } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { hasText, t, word } from '../i18n.js';
import { ago, bytes, duration, exact, number } from '../time.js';
import { act, badge, busy, button, card, code, confirm, dialog, emptyState, field, load, moreButton, pageHead, problemText, segmented } from '../ui.js';

const PAGE = 50;
const OPEN = new Set(['queued', 'running', 'cancelling']);
const TONE = { queued: 'mute', running: 'info', cancelling: 'warn', done: 'ok', failed: 'bad', cancelled: 'mute' };
const ICON = { backup: 'backup', import_data: 'upload', delete_device: 'trash', delete_sensor: 'trash', delete_data: 'trash' };

// --- Import of a file

function importDialog() {
  const file = h('input', { type: 'file', id: 'import-file', accept: '.csv,.ndjson,.jsonl,.gz,text/csv,application/x-ndjson', required: true });
  const wrong = h('p', { class: 'wrong', role: 'alert', hidden: true });
  const fields = {
    conflicts: field({ label: t('jobs.conflicts'), type: 'select', value: 'keep', options: [['keep', t('jobs.conflicts_keep')], ['replace', t('jobs.conflicts_replace')]] }),
    unknown: field({ label: t('jobs.unknown'), type: 'select', value: 'policy', options: [['policy', t('jobs.unknown_policy')], ['reject', t('jobs.unknown_reject')]] }),
    alarms: field({ label: t('jobs.alarms'), type: 'checkbox', value: false, hint: t('jobs.alarms_hint') }),
    dry_run: field({ label: t('jobs.dry_run'), type: 'checkbox', value: false, hint: t('jobs.dry_run_hint') }),
  };
  return dialog({
    title: t('jobs.import'), submit: t('jobs.import_action'), body: h('div', { class: 'stack' }, h('p', { class: 'muted' }, t('jobs.import_text')),
      h('details', { class: 'more' }, h('summary', {}, t('jobs.example')), code('device,sensor,event_time,value,unit,quality\nboiler-1,water,2026-11-21T08:00:00Z,61.5,°C,good\nboiler-1,water,2026-11-21T08:01:00Z,61.7,°C,good', { label: t('jobs.example') })),
      h('div', { class: 'field' }, h('label', { for: 'import-file' }, t('jobs.file')), file, wrong), h('div', { class: 'fields' }, fields.conflicts.element, fields.unknown.element), fields.alarms.element, fields.dry_run.element),
    async onsubmit(close, general) {
      const [chosen] = file.files;
      wrong.hidden = Boolean(chosen);
      if (!chosen) {
        wrong.textContent = t('form.needed');
        file.focus();
        return;
      }
      const isPacked = /\.gz$/i.test(chosen.name);
      const isLines = /\.(ndjson|jsonl)(\.gz)?$/i.test(chosen.name);
      try {
        const answer = await request('POST', 'api/data/import', {
          body: chosen, query: { conflicts: fields.conflicts.value, unknown: fields.unknown.value, alarms: fields.alarms.value, dry_run: fields.dry_run.value },
          headers: { 'Content-Type': isLines ? 'application/x-ndjson' : 'text/csv', ...(isPacked ? { 'Content-Encoding': 'gzip' } : {}) },
        });
        close(await answer.json());
      } catch (error) {
        general.textContent = problemText(error);
        general.hidden = false;
      }
    },
  });
}

// --- One job

function outcome(job) {
  const result = job.result || {};
  const parts = Object.entries(result).filter(([, value]) => typeof value === 'number' && value > 0);
  const errors = Array.isArray(result.errors) ? result.errors : [];
  return [
    parts.length > 0 && h('p', { class: 'small-text' }, parts.map(([name, value]) => (hasText(`jobs.result_${name}`) ? t(`jobs.result_${name}`, { count: value }) : `${name} ${number(value)}`)).join(' · ')),
    job.error && h('p', { class: 'wrong' }, job.error),
    errors.length > 0 && h('details', { class: 'more' }, h('summary', {}, t('jobs.errors', { count: errors.length })), h('ul', { class: 'problems small-text' }, errors.slice(0, 100).map((one) =>
      h('li', { class: 'break' }, one.line !== undefined && h('code', {}, t('jobs.line', { line: one.line })), ' ', one.detail || JSON.stringify(one))))),
  ];
}

function jobItem(job, mayWrite, changed) {
  const isOpen = OPEN.has(job.state);
  const share = job.total > 0 ? Math.min(1, job.done / job.total) : null;
  const isBytes = job.kind === 'import_data' || job.kind === 'backup';
  const lasted = job.started_at && job.finished_at ? (new Date(job.finished_at) - new Date(job.started_at)) / 1000 : null;
  return h('li', { class: 'event', data: { job: job.id } }, h('span', { class: 'event-icon' }, icon(ICON[job.kind] || 'clock')),
    h('div', { class: 'grow stack tight' },
      h('div', { class: 'row' }, h('strong', {}, word('jobs', `kind_${job.kind}`).replace(/^kind_/, '')), h('span', { class: 'break muted' }, job.kind === 'import_data' ? `#${job.id}` : job.subject), badge(word('jobs', `state_${job.state}`).replace(/^state_/, ''), TONE[job.state]), job.parameters?.dry_run && badge(t('jobs.dry_run'), 'info')),
      isOpen && h('div', { class: 'job-bar' }, h('progress', { max: 1, value: share, 'aria-label': t('jobs.progress', { id: job.id }) }),
        share !== null && h('span', { class: 'muted small-text tabular' }, isBytes ? `${bytes(job.done)} / ${bytes(job.total)}` : `${number(job.done)} / ${number(job.total)}`)),
      outcome(job),
      h('p', { class: 'muted small-text' }, isOpen ? ago(job.created_at) : exact(job.finished_at || job.created_at), lasted !== null && ` · ${duration(Math.max(0.1, Math.round(lasted * 10) / 10))}`)),
    isOpen && job.state !== 'cancelling' && mayWrite && button(t('jobs.cancel'), { small: true, onclick: async (event) => {
      const element = event.currentTarget;
      if (!(await confirm({ title: t('jobs.cancel'), text: t('jobs.cancel_text'), action: t('jobs.cancel') }))) return;
      const answer = await act(element, () => api.post(`api/jobs/${job.id}/cancel`), t('jobs.cancelling'));
      if (answer) changed();
    } }));
}

export default async function page({ root, query, signal, setQuery, session }) {
  const mayWrite = session.can('data:write');
  const box = h('div', {});
  let state = query.get('state') || '';
  let timer = 0;
  let items = [];
  let cursor = null;
  signal.addEventListener('abort', () => clearTimeout(timer));

  const begin = async (event) => {
    const element = event.currentTarget;
    const job = await importDialog();
    if (job) await busy(element, again);
  };

  const read = (from) => api.get('api/jobs', { state: state || undefined, limit: PAGE, cursor: from }, { signal });

  function list() {
    if (items.length === 0) return emptyState({ iconName: 'clock', title: t('jobs.none'), text: t('jobs.none_text'), actions: mayWrite && button(`${t('jobs.import')}…`, { iconName: 'upload', onclick: begin }) });
    return [h('ol', { class: 'timeline pad' }, items.map((job) => jobItem(job, mayWrite, again))), cursor && moreButton(async () => {
      const page = await read(cursor);
      items.push(...page.items);
      cursor = page.next_cursor;
      fill(box, list());
    })];
  }

  /** While something goes on, it is looked at again; a page that rests is left alone. */
  function plan() {
    clearTimeout(timer);
    if (signal.aborted) return;
    const isBusy = items.some((job) => OPEN.has(job.state));
    timer = setTimeout(() => (document.hidden || box.querySelector('details[open]') ? plan() : again()), isBusy ? 1_000 : 10_000);
  }

  const again = load(box, () => read(), (page) => {
    // Who has read on keeps what was read; only the newest are looked at again.
    items = [...page.items, ...items.slice(page.items.length).filter((job) => !page.items.some((one) => one.id === job.id))];
    if (items.length <= PAGE) cursor = page.next_cursor;
    plan();
    const focused = box.querySelector('[data-job]:focus-within')?.dataset.job;
    if (focused) queueMicrotask(() => box.querySelector(`[data-job="${CSS.escape(focused)}"] button`)?.focus({ preventScroll: true }));
    return list();
  }, { signal });
  root.append(pageHead(t('nav.jobs'), { sub: t('jobs.sub'), actions: mayWrite && button(`${t('jobs.import')}…`, { kind: 'primary', iconName: 'upload', onclick: begin }) }),
    card({ class: 'flush' }, h('div', { class: 'toolbar pad' }, segmented(['', 'running', 'queued', 'done', 'failed', 'cancelled'].map((one) => [one, t(`jobs.state_${one || 'all'}`)]), state, (value) => {
      state = value;
      setQuery({ state: value || null });
      items = [];
      again();
    }, t('notifications.state'))), box));
}

// Messages that could not be stored, of all devices: why, what came, trying them again, one or all.

import { api } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { act, button, confirm, debounce, menu, pageHead, toast } from '../ui.js';
import { quarantineList } from './device-quarantine.js';

/// One look at the quarantine tries at most so many again.
const RETRY_MAX = 1_000;

export default async function page({ root, query, signal, setQuery, session }) {
  const mayWrite = session.can('data:write');
  const box = h('div', { class: 'contents' });
  const device = h('input', { type: 'search', placeholder: t('quarantine.device'), 'aria-label': t('quarantine.device'), autocomplete: 'off', spellcheck: 'false', list: 'quarantine-devices' });
  device.value = query.get('device') || '';
  const known = h('datalist', { id: 'quarantine-devices' });
  const progress = h('div', { class: 'notice', hidden: true, role: 'status' });
  let showing = new AbortController();

  function show() {
    showing.abort();
    showing = new AbortController();
    const one = AbortSignal.any ? AbortSignal.any([signal, showing.signal]) : signal;
    fill(box, quarantineList({ device: device.value.trim() || undefined, signal: one, session }));
  }

  /** Each entry that matches the filter, one after the other; `work` says whether it left. */
  async function each(work, text) {
    const items = await api.all('api/quarantine', { device_id: device.value.trim(), limit: 200 }, { max: RETRY_MAX, signal });
    let gone = 0;
    progress.hidden = false;
    for (const [at, one] of items.entries()) {
      fill(progress, icon('refresh'), h('p', { class: 'grow' }, t(text, { done: at, count: items.length })));
      if (await work(one)) gone += 1;
      if (signal.aborted) break;
    }
    progress.hidden = true;
    show();
    return { gone, count: items.length };
  }

  async function retryAll(element) {
    const result = await act(element, () => each(async (one) => {
      try {
        return (await api.post(`api/quarantine/${one.id}/retry`, undefined, { signal })).ok;
      } catch (error) {
        // Somebody else has dealt with it.
        if (error.status === 404) return true;
        throw error;
      }
    }, 'quarantine.retrying'));
    if (result) toast(t('quarantine.retried_all', result), { tone: result.gone ? 'ok' : 'info' });
  }

  async function deleteAll() {
    const name = device.value.trim();
    if (!(await confirm({ title: t('quarantine.delete_all'), text: name ? t('quarantine.delete_all_of', { name }) : t('quarantine.delete_all_text'), action: t('actions.delete') }))) return;
    const result = await act(null, () => each(async (one) => {
      await api.del(`api/quarantine/${one.id}`, { signal }).catch((error) => {
        if (error.status !== 404) throw error;
      });
      return true;
    }, 'quarantine.deleting'));
    if (result) toast(t('quarantine.deleted_all', result));
  }

  root.append(pageHead(t('nav.quarantine'), {
    sub: t('quarantine.sub'), actions: mayWrite && [
      button(t('quarantine.retry_all'), { iconName: 'refresh', onclick: (event) => retryAll(event.currentTarget) }),
      menu(t('alarms.more'), [{ text: `${t('quarantine.delete_all')}…`, iconName: 'trash', danger: true, onclick: deleteAll }])],
  }), h('div', { class: 'toolbar' }, h('div', { class: 'search' }, icon('search'), device), known), progress, box);
  device.addEventListener('input', debounce(() => {
    setQuery({ device: device.value.trim() });
    show();
  }, 350));
  show();
  if (session.can('devices:read')) {
    api.all('api/devices', { limit: 1_000 }, { max: 1_000, signal }).then((items) => fill(known, items.map((one) => h('option', { value: one.device }, one.name)))).catch(() => {});
  }
}

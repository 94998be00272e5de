// What of a device was refused: why, as it came, and trying it again.

import { api, seg } from '../api.js';
import { fill, h } from '../dom.js';
import { hasText, t, word } from '../i18n.js';
import { ago } from '../time.js';
import { act, badge, button, card, code, confirm, emptyState, load, moreButton, toast } from '../ui.js';

const PAGE = 25;

function entry(one, { mayWrite, withDevice }, gone) {
  const hint = `refused_hint.${one.reason}`;
  const element = h('li', { class: 'refused' });
  const retry = async (event) => {
    // What is refused again is told where it stands.
    const refusedAgain = (error) => {
      if (error.status !== 422) throw error;
      const detail = error.errors.map((part) => part.detail).join('; ') || error.detail;
      fill(said, h('p', { class: 'wrong', role: 'alert' }, t('device.retry_refused', { detail })));
    };
    const result = await act(event.currentTarget, () => api.post(`api/quarantine/${one.id}/retry`).catch(refusedAgain));
    if (result) gone(t('device.retried', { count: result.accepted }));
  };
  const remove = async (event) => {
    const pressed = event.currentTarget;
    if (!(await confirm({ title: t('device.discard_title'), text: t('device.discard_text'), action: t('actions.delete') }))) return;
    await act(pressed, async () => {
      await api.del(`api/quarantine/${one.id}`);
      gone();
    }, t('device.discarded'));
  };
  const said = h('div', {});
  fill(element,
    h('div', { class: 'row' }, badge(word('refused', one.reason), 'bad'), withDevice && one.device && h('a', { class: 'strong-link', href: `#/devices/${seg(one.device)}` }, one.device), h('span', { class: 'muted small-text' }, ago(one.received_at), ' · ', h('span', { class: 'break' }, one.topic), one.attempts > 0 && ` · ${t('device.attempts', { count: one.attempts })}`)),
    h('p', { class: 'break' }, one.detail),
    hasText(hint) && h('p', { class: 'muted small-text' }, t(hint)),
    h('details', {}, h('summary', {}, t('device.payload')), code(one.payload_text ?? one.payload_base64, { label: t('device.payload') })),
    said,
    mayWrite && h('div', { class: 'actions' }, button(t('device.retry'), { small: true, iconName: 'refresh', onclick: retry }), button(t('actions.delete'), { small: true, kind: 'plain', onclick: remove })));
  return element;
}

/** The list with its own reading on; `device` left out: of all devices. */
export function quarantineList({ device, signal, session, onCount }) {
  const body = h('div', {});
  const mayWrite = session.can('data:write');
  const read = (cursor) => api.get('api/quarantine', { device_id: device, limit: PAGE, cursor }, { signal });
  const again = load(body, () => read(), (page) => {
    if (page.items.length === 0) {
      onCount?.(0);
      return emptyState({ iconName: 'check', title: t('device.nothing_refused'), text: t('device.nothing_refused_text') });
    }
    const list = h('ul', { class: 'refused-list' });
    const foot = h('div', {});
    const add = ({ items, next_cursor: next }) => {
      list.append(...items.map((one) => entry(one, { mayWrite, withDevice: !device }, (text) => {
        if (text) toast(text);
        again();
      })));
      fill(foot, next && moreButton(async () => add(await read(next))));
    };
    add(page);
    return [list, foot];
  }, { signal });
  return card(device ? { title: t('device.tab_quarantine'), sub: t('device.quarantine_text'), class: 'flush' } : { class: 'flush' }, body);
}

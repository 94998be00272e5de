// The messages of one device as they come: topic, payload, and what became of them.

import { fill, h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { listen } from '../stream.js';
import { bytes, dateTime } from '../time.js';
import { badge, button, card, copyButton, emptyState } from '../ui.js';

const KEPT = 200;
const TONE = { stored: 'ok', partial: 'warn', refused: 'bad', held: 'info', unavailable: 'bad' };

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function shape(told) {
  return {
    at: told.received_at, topic: told.topic, verdict: told.verdict ?? told.outcome, text: told.payload ?? told.payload_text ?? null, base64: told.payload_base64 ?? null, size: told.payload_bytes,
    accepted: told.accepted, why: told.rejected?.length ? told.rejected.map((one) => [one.sensor, one.detail].filter(Boolean).join(': ')) : [told.detail ?? told.reason].filter(Boolean),
  };
}

function line(told) {
  const one = shape(told);
  const body = one.text ?? one.base64 ?? '';
  return h('li', { class: 'message' }, h('details', {},
    h('summary', {}, h('span', { class: 'message-time tabular' }, dateTime(one.at, 'clock')), badge(word('verdict', one.verdict), TONE[one.verdict] || 'mute'), h('span', { class: 'message-topic truncate' }, one.topic), h('code', { class: 'message-payload truncate' }, body.slice(0, 300))),
    h('div', { class: 'message-body' }, one.why.length > 0 && h('ul', { class: ['bullets', 'tone-bad'] }, one.why.map((text) => h('li', {}, text))),
      h('div', { class: 'muted small-text' }, [one.topic, bytes(one.size), one.text === null && 'base64', one.accepted !== undefined && t('device.accepted', { count: one.accepted })].filter(Boolean).join(' · ')),
      h('div', { class: 'code' }, h('pre', { tabindex: '0', 'aria-label': t('device.payload') }, one.text === null ? body : pretty(body)), copyButton(body)))));
}

/** A card that fills by itself while it is shown. */
export function messageTail({ device, signal }) {
  let isPaused = false;
  let held = [];
  const list = h('ol', { class: 'messages', 'aria-label': t('device.tab_messages') });
  const state = h('div', {}, emptyState({ iconName: 'live', title: t('device.listening'), text: t('device.listening_text') }));
  const toggle = h('span', { class: 'contents' });
  const show = (all) => {
    if (!all.length) return;
    state.hidden = true;
    list.prepend(...all.map(line).reverse());
    while (list.children.length > KEPT) list.lastChild.remove();
  };
  const showToggle = () => {
    const had = toggle.contains(document.activeElement);
    fill(toggle, button(isPaused ? t('device.resume', { count: held.length }) : t('device.pause'), { iconName: isPaused ? 'play' : 'pause', small: true, 'aria-pressed': String(isPaused), onclick: () => {
      isPaused = !isPaused;
      if (!isPaused) {
        show(held);
        held = [];
      }
      showToggle();
    } }));
    if (had) toggle.querySelector('button').focus();
  };
  showToggle();
  listen({ events: ['messages'], devices: [device], signal }, (kind, told) => {
    if (kind === 'gap') {
      list.prepend(h('li', { class: 'message gap muted' }, icon('warning'), t('device.gap')));
    } else if (kind === 'messages') {
      if (isPaused) {
        held.push(told);
        if (held.length > KEPT) held.shift();
        showToggle();
      } else {
        show([told]);
      }
    }
  });
  return card({ title: t('device.tab_messages'), sub: t('device.messages_text'), class: 'flush', actions: [toggle, button(t('device.clear'), { small: true, onclick: () => fill(list) })] }, list, state);
}

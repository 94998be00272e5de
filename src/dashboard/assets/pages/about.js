// What runs here, and where to read on.

import { api } from '../api.js';
import { h, icon } from '../dom.js';
import { rich, t } from '../i18n.js';
import { dateTime, duration } from '../time.js';
import { card, facts, load, pageHead } from '../ui.js';

function healthRow(name, state) {
  return [t(`about.${name}`), h('span', { class: state === 'up' || state === 'ok' ? 'tone-ok' : 'tone-bad' }, state)];
}

export default function about({ root, signal }) {
  const body = h('div', {});
  root.classList.add('narrow');
  root.append(
    pageHead(t('nav.about')),
    card({ title: t('about.server') }, body),
    card({ title: t('about.more') }, h('ul', { class: 'link-list' },
      [['docs', 'docs', 'about.docs'], ['metrics', 'live', 'about.metrics'], ['openapi.json', 'config', 'about.openapi']].map(([href, picture, key]) =>
        h('li', {}, h('a', { href }, icon(picture), h('span', {}, t(key), h('span', { class: 'sub' }, t(`${key}_text`)))))))),
    h('p', { class: 'muted small-text' }, rich('about.licence', { name: 'Brooklet' })),
  );
  load(body, () => api.get('api/health', undefined, { signal }), (health) => facts([
    [t('about.version'), health.version],
    [t('about.uptime'), duration(health.uptime_seconds)],
    [t('about.server_time'), dateTime(health.time, 'exact')],
    ...Object.entries(health.components).map(([name, state]) => healthRow(name, state)),
  ]), { signal });
}

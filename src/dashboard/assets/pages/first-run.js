// The overview of a Brooklet that has heard nothing yet: how to send the first message, and the message
// itself as soon as it is there.

import { api } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { rich, t } from '../i18n.js';
import { listen } from '../stream.js';
import { exact, reading } from '../time.js';
import { button, card, code, every, linkButton } from '../ui.js';

const TOPIC = 'devices/my-first-device/data';
const PAYLOAD = '{"temperature": 21.5, "humidity": 48}';
const POLL_MS = 2_000;

function host() {
  return location.hostname || '127.0.0.1';
}

const WAYS = {
  mosquitto: () => `mosquitto_pub -h ${host()} -q 1 -t ${TOPIC} -m '${PAYLOAD}'`,
  curl: () => `curl -sS ${location.origin}/api/devices/data/upload -H 'Content-Type: application/json' -H 'X-Device-ID: my-first-device' -d '${PAYLOAD}'`,
  python: () => `# pip install paho-mqtt
import paho.mqtt.publish as publish
publish.single("${TOPIC}", '${PAYLOAD}', qos=1, hostname="${host()}")`,
  esp32: () => `#include <WiFi.h>
#include <PubSubClient.h>

WiFiClient net;
PubSubClient mqtt(net);

void setup() {
  WiFi.begin("your-wifi", "its-password");
  while (WiFi.status() != WL_CONNECTED) delay(200);
  mqtt.setServer("${host()}", 1883);
}

void loop() {
  if (!mqtt.connected()) mqtt.connect("my-first-device");
  mqtt.loop();
  mqtt.publish("${TOPIC}", "{\\"temperature\\": 21.5}");
  delay(5000);
}`,
};

/** Shows it in `root`; `done` once somebody goes on. */
export function firstRun({ root, signal, session }, done) {
  const sample = h('div', {});
  let way = 'mosquitto';
  const bar = h('div', {});
  const showWay = () => {
    fill(bar, h('div', { class: 'segmented', role: 'group', 'aria-label': t('first.ways') }, Object.keys(WAYS).map((key) => h('button', {
      type: 'button', 'aria-pressed': String(key === way), onclick: () => {
        way = key;
        showWay();
        bar.querySelector('[aria-pressed="true"]').focus();
      },
    }, t(`first.way_${key}`)))));
    fill(sample, code(WAYS[way](), { label: t(`first.way_${way}`), wrap: way === 'mosquitto' || way === 'curl' }));
  };
  showWay();
  const state = h('div', { class: 'first-state', role: 'status' }, h('span', { class: 'pulse', 'aria-hidden': 'true' }), h('div', {}, h('strong', {}, t('first.waiting')), h('p', { class: 'muted' }, t('first.waiting_text'))));
  const hints = h('details', { class: 'help' }, h('summary', {}, t('first.trouble')), h('ul', { class: 'bullets' }, ['trouble_local', 'trouble_port', 'trouble_login'].map((key) =>
    h('li', {}, rich(`first.${key}`, { file: h('code', {}, 'broker.toml'), listen: h('code', {}, 'mqtt.listen'), port: h('code', {}, '1883') })))));
  fill(root, card({ class: 'first' }, h('div', { class: 'first-grid' },
    h('div', { class: 'stack' }, h('div', {}, h('h2', { class: 'first-title' }, t('first.title')), h('p', { class: 'muted' }, t('first.text'))), bar, sample, hints),
    h('div', { class: 'first-side' }, state))));

  let isDone = false;
  const arrived = async (device) => {
    if (isDone || signal.aborted) return;
    isDone = true;
    let latest = [];
    try {
      latest = (await api.get('api/data/latest', { device_id: device, limit: 8 })).items;
    } catch {
      // The device alone is news enough.
    }
    if (signal.aborted) return;
    fill(state, h('div', { class: 'first-done' }, h('div', { class: 'first-check' }, icon('check')), h('h3', {}, t('first.done')), h('p', { class: 'muted' }, rich('first.done_text', { device: h('strong', { class: 'break' }, device) })),
      latest.length > 0 && h('dl', { class: 'first-values' }, latest.map((one) => h('div', {}, h('dt', {}, one.sensor), h('dd', { class: 'tabular' }, `${reading(one.value)} ${one.unit || ''}`), h('dd', { class: 'muted small-text' }, exact(one.event_time, 'clock'))))),
      h('div', { class: 'actions center' }, linkButton(t('first.to_device'), `#/devices/${encodeURIComponent(device)}`, { kind: 'primary' }), button(t('first.to_overview'), { onclick: () => {
        root.querySelector('.first-done')?.remove();
        done();
      } }))));
  };
  const poll = async () => {
    if (isDone) return;
    try {
      const { items } = await api.get('api/devices', { limit: 1 }, { signal, retries: 0 });
      if (items.length) arrived(items[0].device);
    } catch {
      // The next turn.
    }
  };
  if (session.can('data:read')) listen({ events: ['readings'], signal }, (kind, told) => {
    if (kind === 'readings') arrived(told.data.device);
  });
  every(POLL_MS, signal, poll);
}

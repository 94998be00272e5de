// The dialogs about devices: register, edit, sensors, credentials, import.

import { api, request, seg } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { rich, t, word } from '../i18n.js';
import { bytes, duration, number } from '../time.js';
import { button, code, copyButton, dialog, failFields, field, iconButton, toast } from '../ui.js';

const POLL_MS = 700;

/** Rows of names and values. */
function labelEditor(labels) {
  const list = h('div', { class: 'label-rows' });
  const add = (name = '', value = '') => {
    const row = h('div', { class: 'label-row' },
      h('input', { type: 'text', value: name, placeholder: t('device.label_name'), 'aria-label': t('device.label_name'), autocomplete: 'off', autocapitalize: 'none' }),
      h('input', { type: 'text', value: String(value), placeholder: t('device.label_value'), 'aria-label': t('device.label_value'), autocomplete: 'off' }),
      iconButton('close', t('device.label_remove'), { kind: 'plain', onclick: () => {
        row.remove();
        adder.focus();
      } }));
    list.append(row);
    return row;
  };
  for (const [name, value] of Object.entries(labels || {})) add(name, value);
  const adder = button(t('device.label_add'), { iconName: 'plus', small: true, onclick: () => add().querySelector('input').focus() });
  const wrong = h('p', { class: 'wrong', role: 'alert', hidden: true });
  return {
    element: h('fieldset', { class: 'field labels' }, h('legend', {}, t('devices.labels')), list, h('div', {}, adder), wrong),
    control: adder,
    pointer: 'labels',
    get value() {
      return Object.fromEntries([...list.children].map((row) => [...row.querySelectorAll('input')].map((one) => one.value.trim())).filter(([name]) => name));
    },
    fail(text) {
      wrong.textContent = text || '';
      wrong.hidden = !text;
    },
  };
}

const kinds = () => [['device', word('device_kind', 'device')], ['gateway', word('device_kind', 'gateway')]];

/** Resolves with the id of the device that was registered. */
export function registerDevice() {
  const fields = {
    device: field({ label: t('device.id'), name: 'device', required: true, mono: true, hint: t('device.id_hint'), autocapitalize: 'none', spellcheck: 'false', autocomplete: 'off', maxlength: 64 }),
    name: field({ label: t('device.name'), name: 'name', optional: true, autocomplete: 'off' }),
    kind: field({ label: t('devices.kind'), name: 'kind', type: 'select', options: kinds(), value: 'device' }),
    gateway: field({ label: t('device.gateway'), name: 'gateway', optional: true, hint: t('device.gateway_hint'), autocapitalize: 'none', autocomplete: 'off' }),
    labels: labelEditor({}),
  };
  return dialog({
    title: t('devices.register'), submit: t('devices.register_action'), body: [h('p', { class: 'muted' }, t('device.register_text')), ...Object.values(fields).map((one) => one.element)],
    async onsubmit(close, general) {
      try {
        const made = await api.post('api/devices', {
          device: fields.device.value.trim(), name: fields.name.value.trim() || undefined, kind: fields.kind.value, gateway: fields.gateway.value.trim() || undefined, labels: fields.labels.value,
        });
        toast(t('device.registered', { name: made.device }));
        close(made.device);
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
}

/** Name, kind, gateway and labels; resolves with the changed device. */
export async function editDevice(key) {
  const { data, etag } = await api.tagged(`api/devices/${seg(key)}`);
  const fields = {
    name: field({ label: t('device.name'), name: 'name', value: data.name, optional: true, autocomplete: 'off', maxlength: 200 }),
    kind: field({ label: t('devices.kind'), name: 'kind', type: 'select', options: kinds(), value: data.kind }),
    gateway: field({ label: t('device.gateway'), name: 'gateway', value: data.gateway, optional: true, hint: t('device.gateway_hint'), autocapitalize: 'none', autocomplete: 'off' }),
    labels: labelEditor(data.labels),
  };
  return dialog({
    title: t('device.edit'), submit: t('actions.save'), body: Object.values(fields).map((one) => one.element),
    async onsubmit(close, general) {
      const body = { labels: fields.labels.value };
      for (const name of ['name', 'kind', 'gateway']) if (fields[name].value.trim() !== (data[name] ?? '')) body[name] = fields[name].value.trim();
      try {
        const changed = await api.patch(`api/devices/${seg(key)}`, body, { headers: etag ? { 'If-Match': etag } : {} });
        toast(t('device.saved'));
        close(changed);
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
}

/** Name, unit and range of one sensor; resolves with the changed sensor. */
export async function editSensor(id) {
  const { data, etag } = await api.tagged(`api/sensors/${id}`);
  const fields = {
    display_name: field({ label: t('device.sensor_name'), value: data.display_name, placeholder: data.name, optional: true, autocomplete: 'off' }),
    unit: field({ label: t('device.unit'), value: data.unit, optional: true, autocomplete: 'off', maxlength: 20 }),
    type: field({ label: t('device.sensor_type'), value: data.type, optional: true, autocomplete: 'off', hint: t('device.sensor_type_hint') }),
    location: field({ label: t('device.sensor_location'), value: data.location, optional: true, autocomplete: 'off' }),
    min: field({ label: t('device.min'), type: 'number', value: data.min, optional: true, hint: t('device.range_hint') }),
    max: field({ label: t('device.max'), type: 'number', value: data.max, optional: true }),
    resolution: field({ label: t('device.resolution'), type: 'number', value: data.resolution, optional: true }),
    active: field({ label: t('device.active'), type: 'checkbox', value: data.active, hint: t('device.active_hint') }),
  };
  return dialog({
    title: t('device.sensor_edit', { name: data.name }), submit: t('actions.save'), body: h('div', { class: 'fields' }, Object.values(fields).map((one) => one.element)),
    async onsubmit(close, general) {
      const body = {};
      for (const [name, one] of Object.entries(fields)) {
        const value = typeof one.value === 'string' ? one.value.trim() || null : one.value;
        if (value !== (data[name] ?? null)) body[name] = value;
      }
      try {
        const changed = Object.keys(body).length ? await api.patch(`api/sensors/${id}`, body, { headers: etag ? { 'If-Match': etag } : {} }) : data;
        toast(t('device.saved'));
        close(changed);
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
}

/** Asks with the choice between taking a device out of the lists and deleting all of it. */
export function deleteDevice(key) {
  const choice = (value, title, text, checked) => h('label', { class: 'choice' }, h('input', { type: 'radio', name: 'fate', value, checked }), h('span', {}, h('strong', {}, title), h('span', { class: 'sub' }, text)));
  const again = field({ label: t('device.delete_confirm', { name: key }), name: 'again', autocomplete: 'off', autocapitalize: 'none', mono: true });
  const body = h('div', { class: 'stack' }, choice('keep', t('device.retire'), t('device.retire_text'), true), choice('delete', t('device.delete'), t('device.delete_text'), false), again.element);
  again.element.hidden = true;
  body.addEventListener('change', () => {
    again.element.hidden = body.querySelector('input:checked').value !== 'delete';
  });
  return dialog({
    title: t('device.remove', { name: key }), submit: t('device.remove_action'), submitKind: 'danger', body,
    async onsubmit(close) {
      const data = body.querySelector('input:checked').value;
      if (data === 'delete' && again.value.trim() !== key) {
        again.fail(t('device.delete_differs'));
        again.control.focus();
        return;
      }
      await api.del(`api/devices/${seg(key)}`, { query: { data } });
      toast(t(data === 'keep' ? 'device.retired' : 'device.deleted', { name: key }));
      close(true);
    },
  });
}

const sketch = (device, secret) => `#include <WiFi.h>
#include <PubSubClient.h>

WiFiClient net;
PubSubClient mqtt(net);

void setup() {
  WiFi.begin("your-wifi", "its-password");
  while (WiFi.status() != WL_CONNECTED) delay(200);
  mqtt.setServer("${location.hostname}", 1883);
}

void loop() {
  if (!mqtt.connected())
    mqtt.connect("${device}", "${device}", "${secret}");
  mqtt.loop();
  char payload[64];
  snprintf(payload, sizeof payload, "{\\"temperature\\": %.1f}", 21.5);
  mqtt.publish("devices/${device}/data", payload);
  delay(5000);
}`;

function showSecret(device, made) {
  const line = `mosquitto_pub -h ${location.hostname} -V 5 -u ${device} -P ${made.secret} -q 1 -t devices/${device}/data -m '{"temperature": 21.5}'`;
  return dialog({
    title: t('device.secret_title'), wide: true, cancel: false, dismissible: false,
    actions: (close) => button(t('device.secret_kept'), { kind: 'primary', onclick: () => close() }),
    body: [
      h('div', { class: 'notice warn' }, icon('warning'), h('p', {}, t('device.secret_once'))),
      h('div', { class: 'secret' }, h('code', {}, made.secret), copyButton(made.secret)),
      h('p', {}, rich('device.secret_user', { device: h('code', {}, device) })),
      h('h3', {}, t('device.secret_try')), code(line, { label: t('device.secret_try'), wrap: true }),
      h('h3', {}, t('device.secret_sketch')), code(sketch(device, made.secret), { label: t('device.secret_sketch') }),
    ],
  });
}

/** Makes a secret or registers a certificate's name. */
export async function addCredential(device, hasSecret) {
  const kind = field({ label: t('device.credential_kind'), type: 'select', value: 'secret', options: [['secret', t('device.kind_secret')], ['certificate', t('device.kind_certificate')]] });
  const fields = {
    subject: field({ label: t('device.subject'), hint: t('device.subject_hint'), autocomplete: 'off', autocapitalize: 'none' }),
    overlap_seconds: field({ label: t('device.overlap'), type: 'select', value: '', options: [['', t('device.overlap_keep')], ['0', t('device.overlap_now')], ...[3_600, 86_400, 604_800].map((seconds) => [String(seconds), t('device.overlap_for', { time: duration(seconds) })])] }),
    expires_at: field({ label: t('device.expires'), type: 'datetime-local', optional: true, hint: t('device.expires_hint') }),
  };
  const show = () => {
    const isSecret = kind.value === 'secret';
    fields.subject.element.hidden = isSecret;
    fields.overlap_seconds.element.hidden = !isSecret || !hasSecret;
  };
  kind.control.addEventListener('change', show);
  show();
  const made = await dialog({
    title: t('device.credential_new'), submit: t('device.credential_action'), body: [kind.element, ...Object.values(fields).map((one) => one.element)],
    async onsubmit(close, general) {
      const isSecret = kind.value === 'secret';
      const { expires_at: expires, overlap_seconds: overlap } = fields;
      try {
        close(await api.post(`api/devices/${seg(device)}/credentials`, {
          kind: kind.value, subject: isSecret ? undefined : fields.subject.value.trim(), overlap_seconds: isSecret && overlap.value !== '' ? Number(overlap.value) : undefined,
          expires_at: expires.value ? new Date(expires.value).toISOString() : undefined,
        }));
      } catch (error) {
        failFields(error, fields, general);
      }
    },
  });
  if (made?.secret) await showSecret(device, made);
  else if (made) toast(t('device.credential_made'));
  return Boolean(made);
}

async function finished(id, show, signal) {
  for (;;) {
    const job = await api.get(`api/jobs/${id}`, undefined, { signal });
    show(job);
    if (!['queued', 'running'].includes(job.state)) return job;
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

function importResult(job) {
  const { result } = job;
  const counts = ['stored', 'replaced', 'duplicates', 'refused'].filter((key) => result[key] !== undefined).map((key) => h('div', {}, h('dt', {}, t(`devices.import_${key}`)), h('dd', {}, number(result[key]))));
  return [
    h('div', { class: ['notice', job.state === 'done' ? (result.refused ? 'warn' : 'ok') : 'bad'] }, icon(job.state === 'done' ? 'check' : 'warning'), h('p', {}, job.state === 'done' ? t('devices.import_done') : t('devices.import_failed', { detail: job.error || job.state }))),
    h('dl', { class: 'facts' }, counts),
    result.errors?.length > 0 && h('div', { class: 'stack tight' }, h('h3', {}, t('devices.import_errors')), h('ul', { class: 'rows small-text' }, result.errors.slice(0, 50).map((one) => h('li', {}, h('span', { class: 'muted nowrap' }, t('devices.import_line', { line: one.line })), h('span', { class: 'break' }, one.detail))))),
  ];
}

/** Takes a file of readings in, as a job that goes on if the page is left. */
export function importReadings(signal) {
  const file = field({ label: t('devices.import_file'), type: 'file', accept: '.csv,.ndjson,.jsonl,.gz,text/csv,application/x-ndjson', required: true, hint: t('devices.import_hint') });
  const options = {
    unknown: field({ label: t('devices.import_unknown'), type: 'select', value: 'policy', options: [['policy', t('devices.import_unknown_policy')], ['reject', t('devices.import_unknown_reject')]] }),
    conflicts: field({ label: t('devices.import_conflicts'), type: 'select', value: 'keep', options: [['keep', t('devices.import_keep')], ['replace', t('devices.import_replace')]] }),
    alarms: field({ label: t('devices.import_alarms'), type: 'checkbox', hint: t('devices.import_alarms_hint') }),
    dry_run: field({ label: t('devices.import_dry'), type: 'checkbox', hint: t('devices.import_dry_hint') }),
  };
  const form = h('div', { class: 'stack' }, h('p', { class: 'muted' }, rich('devices.import_text', { columns: h('code', {}, 'device,sensor,event_time,value,unit,quality') })), file.element, Object.values(options).map((one) => one.element));
  const state = h('div', { class: 'stack', role: 'status' });
  return dialog({
    title: t('devices.import'), submit: t('devices.import_action'), body: [form, state],
    async onsubmit(close, general) {
      const chosen = file.control.files[0];
      file.fail(chosen ? '' : t('form.needed'));
      if (!chosen) return;
      const name = chosen.name.toLowerCase();
      const headers = { 'Content-Type': /\.(ndjson|jsonl)(\.gz)?$/.test(name) ? 'application/x-ndjson' : 'text/csv' };
      if (name.endsWith('.gz')) headers['Content-Encoding'] = 'gzip';
      form.hidden = true;
      fill(state, h('p', {}, t('devices.import_sending', { name: chosen.name, size: bytes(chosen.size) })), h('progress', {}));
      try {
        const answer = await request('POST', 'api/data/import', { body: chosen, headers, signal, query: Object.fromEntries(Object.entries(options).map(([key, one]) => [key, one.value])) });
        const meter = h('progress', { max: 1, value: 0, 'aria-label': t('devices.import_running') });
        const job = await finished((await answer.json()).id, ({ done, total }) => {
          meter.value = total ? done / total : 0;
          if (!meter.isConnected) fill(state, h('p', {}, t('devices.import_running')), meter);
        }, signal);
        fill(state, importResult(job));
      } catch (error) {
        form.hidden = false;
        fill(state);
        failFields(error, options, general);
      }
    },
  });
}

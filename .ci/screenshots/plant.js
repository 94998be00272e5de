// A small plant to be looked at: devices with two weeks of history, alarms of all kinds, refused messages,
// jobs, people. The curves are the same in every run; only their times move.

import { load } from '../browser/harness.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const daily = (time, phase = 0) => Math.sin(((time / DAY) * 2 - phase) * Math.PI);
/** Between -1 and 1; the same for the same seed. */
function noise(seed) {
  const turned = Math.sin(seed * 12.9898) * 43758.5453;
  return (turned - Math.floor(turned)) * 2 - 1;
}
/** 1 in the middle of a time, falling to 0 within `width` on both sides. */
const bump = (ago, middle, width) => Math.max(0, 1 - Math.abs(ago - middle) / width);

const water = (ago, time) => 62 + 4 * daily(time) + 1.2 * noise(Math.floor(time / MINUTE)) + 22 * bump(ago, 3.4 * DAY, 2 * HOUR) + 15 * bump(ago, 9 * DAY, 3 * HOUR) + 17 * bump(ago, 5 * HOUR, 1.2 * HOUR) + 26 * bump(ago, 0, 0.7 * HOUR);
const pressure = (ago, time) => 1.62 + 0.05 * daily(time, 0.8) + 0.012 * noise(Math.floor(time / MINUTE) + 7) - 0.22 * bump(ago, 16 * HOUR, 1.5 * HOUR) + 0.14 * bump(ago, 4.6 * HOUR, 1.6 * HOUR) + 0.12 * bump(ago, 0, 0.7 * HOUR);

/** [device, name, labels, facts, { sensor: [unit, value(ago, time)] }] */
const DEVICES = [
  ['boiler-1', 'Boiler, hall 1', { hall: '1', kind: 'boiler' }, { fwVersion: '2.3.1', ip: '192.168.10.21', uptimeSec: 1_214_000, rssi: -52, location: { latitude: 48.1374, longitude: 11.5755 } }, { water: ['°C', water], pressure: ['bar', pressure] }],
  ['boiler-2', 'Boiler, hall 2', { hall: '2', kind: 'boiler' }, { fwVersion: '2.3.1', ip: '192.168.10.22', uptimeSec: 1_213_400, rssi: -57 }, { water: ['°C', (ago, time) => 58 + 3 * daily(time, 0.2) + noise(Math.floor(time / MINUTE) + 3)], pressure: ['bar', (ago, time) => 1.5 + 0.07 * daily(time)] }],
  ['cold-room-1', 'Cold room, dairy', { hall: '2', kind: 'cold-room' }, { fwVersion: '1.9.0', ip: '192.168.10.31', uptimeSec: 402_000, rssi: -66 }, { temperature: ['°C', (ago, time) => 4 + 0.6 * daily(time * 6) + 0.2 * noise(Math.floor(time / MINUTE)) + 5.4 * bump(ago, 6.2 * DAY, 2 * HOUR) + 5.8 * bump(ago, 0, 1.5 * HOUR)], humidity: ['%', (ago, time) => 71 + 3 * daily(time, 0.5)] }],
  ['cold-room-2', 'Cold room, meat', { hall: '2', kind: 'cold-room' }, { fwVersion: '1.9.0', ip: '192.168.10.32', uptimeSec: 402_100, rssi: -71 }, { temperature: ['°C', (ago, time) => 1.8 + 0.5 * daily(time * 6, 0.3) + 0.2 * noise(Math.floor(time / MINUTE) + 5)], humidity: ['%', (ago, time) => 78 + 2 * daily(time)] }],
  ['greenhouse-north', 'Greenhouse north', { area: 'garden' }, { fwVersion: '1.4.2', ip: '192.168.20.11', uptimeSec: 88_000, rssi: -74, battery: 17 }, { temperature: ['°C', (ago, time) => 21 + 6 * daily(time, 0.6) + 0.3 * noise(Math.floor(time / MINUTE))], humidity: ['%', (ago, time) => 58 - 11 * daily(time, 0.6)], soil_moisture: ['%', (ago) => 34 + ((ago / HOUR) % 36) / 3], battery: ['%', (ago) => 17 + ago / DAY * 5] }],
  ['greenhouse-south', 'Greenhouse south', { area: 'garden' }, { fwVersion: '1.4.2', ip: '192.168.20.12', uptimeSec: 91_000, rssi: -68, battery: 83 }, { temperature: ['°C', (ago, time) => 23 + 7 * daily(time, 0.6) + 0.3 * noise(Math.floor(time / MINUTE) + 9)], humidity: ['%', (ago, time) => 55 - 10 * daily(time, 0.6)], battery: ['%', (ago) => 83 + ago / DAY] }],
  ['meter-main', 'Main meter', { hall: '1' }, { fwVersion: '3.0.4', ip: '192.168.10.5', uptimeSec: 6_040_000 }, { power: ['kW', (ago, time) => Math.max(2.1, 24 + 19 * daily(time, 0.55) + 3 * noise(Math.floor(time / (10 * MINUTE))))], voltage: ['V', (ago, time) => 231 + 1.5 * noise(Math.floor(time / MINUTE))] }],
  ['sleep-blanket-7', 'Blanket, room 7', { ward: 'B' }, { fwVersion: '0.9.12', ip: '192.168.30.7', uptimeSec: 36_000, rssi: -61, battery: 64 }, { temperature: ['°C', (ago, time) => 36.4 + 0.3 * noise(Math.floor(time / MINUTE))], heart_rate: ['bpm', (ago, time) => Math.round(62 + 6 * daily(time) + 3 * noise(Math.floor(time / MINUTE) + 2))] }],
  ['pump-3', 'Circulation pump', { hall: '1' }, { fwVersion: '1.1.0', ip: '192.168.10.43', uptimeSec: 510_000, rssi: -79 }, { flow: ['l/min', (ago, time) => 41 + 2 * noise(Math.floor(time / MINUTE))] }],
];
/** The last reading of these is older, and nothing comes from them any more. */
const GONE = { 'pump-3': 2.5 * HOUR };

const RULES = [
  { name: 'Boiler too hot', description: 'The safety valve opens at 95 °C.', judges_late: true, scope: { sensors: ['water'], labels: { kind: 'boiler' } }, levels: [{ severity: 'warning', condition: { type: 'above', limit: 75, deadband: 2 } }, { severity: 'critical', condition: { type: 'above', limit: 85, deadband: 2 } }], message: '{device_name}: {value} {unit}, limit {limit}', labels: { team: 'heating' } },
  { name: 'Cold room too warm', judges_late: true, scope: { sensors: ['temperature'], labels: { kind: 'cold-room' } }, levels: [{ severity: 'major', condition: { type: 'above', limit: 8, deadband: 0.5 } }], message: '{device_name}: {value} {unit}, limit {limit}', on_delay: '10m', repeat: '30m', labels: { team: 'kitchen' } },
  { name: 'Battery low', judges_late: true, scope: { sensors: ['battery'] }, levels: [{ severity: 'minor', condition: { type: 'below', limit: 20, deadband: 5 } }], message: '{device_name}: battery at {value} %' },
  { name: 'Humidity out of range', judges_late: true, scope: { sensors: ['humidity'], devices: ['greenhouse-north', 'greenhouse-south'] }, levels: [{ severity: 'info', condition: { type: 'outside', low: 45, high: 68 } }], message: '{device_name}: humidity {value} %' },
  { name: 'Night work', enabled: false, scope: { sensors: ['power'] }, levels: [{ severity: 'info', condition: { type: 'above', limit: 30 } }] },
];

const inSteps = (count) => Number(count.toPrecision(4));

function history(now) {
  const lines = ['device,sensor,event_time,value,unit'];
  for (const [device, , , , sensors] of DEVICES) {
    for (const [sensor, [unit, value]] of Object.entries(sensors)) {
      for (let ago = 14 * DAY; ago > (GONE[device] || MINUTE); ago -= ago > DAY ? 15 * MINUTE : 2 * MINUTE) {
        // Somebody changed the power supply.
        if (device === 'boiler-1' && ago > 11 * HOUR && ago < 12.5 * HOUR) continue;
        lines.push(`${device},${sensor},${new Date(now - ago).toISOString()},${inSteps(value(ago, now - ago))},${unit}`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}

async function importHistory(server, now) {
  const begun = await fetch(`${server.http}/api/data/import?alarms=true`, { method: 'POST', headers: { 'Content-Type': 'text/csv', 'X-API-Key': server.key }, body: history(now) });
  const { id } = await begun.json();
  for (;;) {
    const job = await server.api('GET', `/api/jobs/${id}`);
    if (!['queued', 'running'].includes(job.state)) return job;
    await new Promise((done) => setTimeout(done, 200));
  }
}

/** Somebody's second import, with lines that can't be taken. */
async function importWithFaults(server) {
  const body = 'device,sensor,event_time,value,unit\nboiler-1,water,2025-12-19T06:30:00Z,61.5,°C\nboiler-1,water,yesterday,61.9,°C\nboiler-1,Water temp,2025-12-19T06:32:00Z,62,°C\n';
  await fetch(`${server.http}/api/data/import`, { method: 'POST', headers: { 'Content-Type': 'text/csv', 'X-API-Key': server.key }, body });
}

/** Connections of the devices that are there, which go on to publish until `end()`. */
async function live(server) {
  const mqtt = load('mqtt');
  const clients = [];
  for (const [device, , , facts, sensors] of DEVICES) {
    if (GONE[device]) continue;
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${server.mqtt}`, { clientId: device, protocolVersion: 5 });
    await client.publishAsync(`devices/${device}/status`, JSON.stringify({ status: 'online', ...facts }), { qos: 1 });
    clients.push([client, device, sensors]);
  }
  const say = async () => {
    for (const [client, device, sensors] of clients) {
      const now = Date.now();
      const values = Object.fromEntries(Object.entries(sensors).map(([sensor, [, value]]) => [sensor, inSteps(value(0, now))]));
      await client.publishAsync(`devices/${device}/data`, JSON.stringify(values), { qos: 1 }).catch(() => {});
    }
  };
  await say();
  const timer = setInterval(say, 1_000);
  return async () => {
    clearInterval(timer);
    for (const [client] of clients) await client.endAsync(true);
  };
}

async function refused(server) {
  const mqtt = load('mqtt');
  const send = async (device, ...payloads) => {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${server.mqtt}`, { clientId: `${device}-2`, protocolVersion: 4 });
    for (const payload of payloads) await client.publishAsync(`devices/${device}/data`, payload, { qos: 1 });
    await client.endAsync();
  };
  await send('meter-main', '{"power": 41.2, "Phase 1": 13.1}', 'power=41', '{"power": "n/a"}');
  await send('greenhouse-south', '{"temperature": 412.5, "humidity": 55}');
  await send('esp32-9f12c4', '{"temperature": 22.5, "humidity": 41}');
  await send('esp32-77a0e1', '{"temperature": 21.9}');
}

async function people(server, password) {
  await server.api('POST', '/api/users', { name: 'chief', email: 'chief@plant.example', role: 'admin', password });
  await server.api('POST', '/api/users', { name: 'anna', email: 'anna@plant.example', role: 'operator', password });
  await server.api('POST', '/api/users', { name: 'jun', role: 'viewer', password });
  await server.api('POST', '/api/keys', { name: 'panel in hall 1', scopes: ['data:read', 'devices:read'] });
  await server.api('POST', '/api/keys', { name: 'backup', scopes: ['data:read'], expires_at: new Date(Date.now() + 200 * DAY).toISOString() });
}

/** Somebody has taken notice of some alarms. */
async function handled(server) {
  const { items } = await server.api('GET', '/api/alarms?limit=200');
  const of = (rule, device) => items.find((alarm) => alarm.active && alarm.rule.name === rule && alarm.device === device);
  const battery = of('Battery low', 'greenhouse-north');
  if (battery) await server.api('POST', `/api/alarms/${battery.id}/ack`, { note: 'New cells are ordered' });
  const humid = of('Humidity out of range', 'greenhouse-north') || of('Humidity out of range', 'greenhouse-south');
  if (humid) await server.api('POST', `/api/alarms/${humid.id}/shelve`, { duration: '4h', note: 'Windows are open for the service' });
  await server.api('POST', '/api/silences', { match: { devices: ['greenhouse-*'] }, duration: '2h', comment: 'Service of the irrigation' });
  await server.api('POST', '/api/silences', { match: { rules: ['Boiler too hot'] }, starts_at: new Date(Date.now() + 2 * DAY).toISOString(), ends_at: new Date(Date.now() + 2 * DAY + 4 * HOUR).toISOString(), comment: 'Yearly inspection' });
}

/** Fills a server whose `/api` is closed; ends with a function that lets the devices go. */
export async function plant(server, password) {
  const now = Date.now();
  for (const [device, name, labels] of DEVICES) await server.api('POST', '/api/devices', { device, name, labels });
  await people(server, password);
  await server.api('POST', '/api/notification-targets', { name: 'heating, by MQTT', channel: { type: 'mqtt' }, match: { min_severity: 'warning' } });
  await server.api('POST', '/api/notification-targets', { name: 'log', channel: { type: 'log' } });
  for (const rule of RULES) await server.api('POST', '/api/alarm-rules', rule);
  await importHistory(server, now);
  await importWithFaults(server);
  const change = (device, sensor, to) => server.api('PATCH', `/api/devices/${device}/sensors/${sensor}`, to);
  await change('greenhouse-south', 'temperature', { display_name: 'Air', min: -30, max: 60 });
  await change('boiler-1', 'water', { display_name: 'Water', min: 0, max: 120, location: 'Flow' });
  await change('boiler-1', 'pressure', { display_name: 'Pressure' });
  const end = await live(server);
  await refused(server);
  await handled(server);
  return end;
}

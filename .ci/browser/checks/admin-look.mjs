// How the pages of alarming and administration look: nothing cut, nothing grave for axe, no missing words.

import assert from 'node:assert/strict';

const PAGES = ['alarms', 'alarms?tab=history', 'alarms/1', 'rules', 'rules/1', 'rules/2', 'rules/new', 'silences', 'admin/targets', 'admin/targets?tab=outbox', 'admin/quarantine', 'admin/users', 'admin/keys', 'admin/audit', 'admin/jobs', 'admin/configuration'];
const LONG = 'a-device-with-a-very-long-identifier-that-goes-on-up-to-64-chars';
const ODD = '<script>alert("x")</script> & a long name that goes on and on, so that something has to wrap 锅炉';

async function fill(t) {
  await t.server.api('POST', '/api/notification-targets', { name: ODD.slice(0, 90), channel: { type: 'mqtt' } });
  await t.server.api('POST', '/api/alarm-rules', { name: ODD.slice(0, 90), scope: { sensors: ['water'] }, levels: [{ severity: 'warning', condition: { type: 'outside', low: 10, high: 70 } }, { severity: 'critical', condition: { type: 'above', limit: 90 } }] });
  await t.server.api('POST', '/api/alarm-rules', { name: 'Either', enabled: false, levels: [{ severity: 'major', condition: { type: 'all', conditions: [{ type: 'above', limit: 70, sensor: 'water' }, { type: 'silent', for: '1h' }] } }] });
  for (const value of [60, 75, 95]) await t.server.upload(LONG, [{ sensor_name: 'water', value, unit: '°C' }]);
  await t.server.api('POST', '/api/alarms/1/shelve', { duration: '1h', note: ODD });
  await t.server.api('POST', '/api/silences', { match: { devices: [LONG], rules: ['*'] }, duration: '2h', comment: ODD });
  await t.server.api('POST', '/api/keys', { name: ODD.slice(0, 60), scopes: ['data:read', 'data:write', 'devices:read', 'alarms:read', 'mqtt:read'] });
  await fetch(`${t.server.http}/api/devices/data/upload`, { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-API-Key': t.server.key }, body: JSON.stringify({ device_id: LONG, sensors: [{ sensor_name: ODD, value: 1 }] }) });
}

const looks = [['light', 'en-US', 1280], ['dark', 'zh-CN', 360], ['dark', 'en-US', 1280], ['light', 'zh-CN', 360]];

export default looks.map(([theme, language, width]) => ({
  name: `${theme}, ${language}, ${width} px`,
  variables: { HTTP__ALLOW_ANONYMOUS: 'false' },
  context: { colorScheme: theme, locale: language, viewport: { width, height: 800 } },
  async run(t) {
    t.server.key = await t.server.file('data/initial-api-key');
    await t.addUser('chief', 'admin');
    await t.signIn('chief');
    await fill(t);
    for (const path of PAGES) {
      await t.open(`#/${path}`);
      await t.page.locator('h1').waitFor();
      await t.eventually(async () => (await t.page.locator('.skeleton').count()) === 0, `${path}: the content`);
      assert.deepEqual(await t.wider(), [], `${path}: wider than the window`);
      assert.deepEqual(await t.axe(), [], path);
      assert.equal(await t.page.getByText('Something has failed').count(), 0);
    }
  },
}));

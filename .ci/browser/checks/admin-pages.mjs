// Administration: keys shown once, users, refused messages, imports, the audit log, the configuration.

import assert from 'node:assert/strict';

const CLOSED = { HTTP__ALLOW_ANONYMOUS: 'false' };
const PASSWORD = 'a fine long password';

/** Signed in as an administrator beside the first one. */
async function asAdmin(t) {
  t.server.key = await t.server.file('data/initial-api-key');
  await t.addUser('chief', 'admin');
  await t.signIn('chief');
}

const dialogOf = (t) => t.page.locator('dialog[open]');

export default [
  {
    name: 'a key is shown once, works, and is revoked',
    variables: CLOSED,
    async run(t) {
      await asAdmin(t);
      await t.open('#/admin/keys');
      await t.page.getByRole('button', { name: 'New API key' }).first().click();
      await dialogOf(t).getByLabel('Name', { exact: true }).fill('panel');
      await dialogOf(t).getByRole('button', { name: 'New API key' }).click();
      const secret = await t.page.locator('#made-key').innerText();
      const ask = () => fetch(`${t.server.http}/api/devices`, { headers: { 'X-API-Key': secret } });
      assert.equal((await ask()).status, 200);
      await dialogOf(t).getByRole('button', { name: 'I have kept it' }).click();
      const row = t.page.locator('tbody tr', { hasText: 'panel' });
      await row.waitFor();
      assert.equal((await t.page.content()).includes(secret), false);
      await t.page.reload();
      await row.getByText('data:read').waitFor();
      assert.equal((await t.page.content()).includes(secret), false);
      await row.getByRole('button', { name: 'Actions for panel' }).click();
      await t.page.getByRole('button', { name: 'Revoke…' }).click();
      await dialogOf(t).getByRole('button', { name: 'Revoke', exact: true }).click();
      await row.waitFor({ state: 'detached' });
      assert.equal((await ask()).status, 401);
    },
  },
  {
    name: 'a user is added, gets another role, and is disabled',
    variables: CLOSED,
    async run(t) {
      await asAdmin(t);
      await t.open('#/admin/users');
      await t.page.getByRole('button', { name: 'New user' }).first().click();
      await dialogOf(t).getByLabel('User name').fill('anna');
      await dialogOf(t).getByRole('button', { name: 'Generate one' }).click();
      const password = await dialogOf(t).getByLabel('New password').inputValue();
      await dialogOf(t).getByRole('button', { name: 'New user' }).click();
      const row = t.page.locator('tbody tr', { hasText: 'anna' });
      await row.getByText('Viewer').waitFor();
      const signIn = () => fetch(`${t.server.http}/api/auth/login`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ username: 'anna', password }) });
      assert.equal((await signIn()).status, 200);
      const act = async (name) => {
        await row.getByRole('button', { name: 'Actions for anna' }).click();
        await t.page.locator('.menu-list:popover-open').getByRole('button', { name }).click();
      };
      await act('Edit…');
      await dialogOf(t).getByLabel('Role', { exact: true }).selectOption('operator');
      await dialogOf(t).getByRole('button', { name: 'Save' }).click();
      await row.getByText('Operator').waitFor();
      await act('Sessions…');
      await dialogOf(t).getByText('127.0.0.1').first().waitFor();
      await dialogOf(t).getByRole('button', { name: 'Close' }).first().click();
      await act('Disable user…');
      await dialogOf(t).getByRole('button', { name: 'Disable user' }).click();
      await row.getByText('Disabled').waitFor();
      assert.equal((await signIn()).status, 401);
    },
  },
  {
    name: 'a refused message says why, and is stored when its cause is gone',
    user: 'operator',
    async run(t) {
      await t.server.upload('boiler-1', [{ sensor_name: 'water', value: 60 }]);
      const path = '/api/devices/boiler-1/sensors/water';
      await t.server.api('PATCH', path, { active: false });
      await fetch(`${t.server.http}/api/devices/data/upload`, {
        method: 'POST', headers: { 'Content-Type': 'application/json', 'X-API-Key': t.server.key }, body: JSON.stringify({ device_id: 'boiler-1', sensors: [{ sensor_name: 'water', value: 150 }] }),
      });
      await t.open('#/admin/quarantine');
      const entry = t.page.locator('.refused');
      await entry.getByText('Sensor is off').waitFor();
      await entry.getByText('Payload').click();
      await entry.getByText('"value":150').waitFor();
      t.allow(/status of 422/);
      await entry.getByRole('button', { name: 'Try again' }).click();
      await entry.getByRole('alert').waitFor();
      await t.server.api('PATCH', path, { active: true });
      await entry.getByRole('button', { name: 'Try again' }).click();
      await entry.waitFor({ state: 'detached' });
      const { items: [latest] } = await t.server.api('GET', '/api/data/latest?device_id=boiler-1');
      assert.equal(latest.value, 150);
    },
  },
  {
    name: 'a file is imported, and its bad lines are told',
    user: 'operator',
    async run(t) {
      await t.open('#/admin/jobs');
      await t.page.getByRole('button', { name: 'Import readings…' }).first().click();
      await dialogOf(t).getByLabel('File', { exact: true }).setInputFiles({ name: 'old.csv', mimeType: 'text/csv', buffer: Buffer.from('device,sensor,event_time,value\nboiler-2,water,2026-01-01T00:00:00Z,55.5\nboiler-2,water,yesterday,55.9\n') });
      await dialogOf(t).getByRole('button', { name: 'Import', exact: true }).click();
      const job = t.page.locator('[data-job="1"]');
      await job.getByText('Done').waitFor();
      await job.getByText('1 stored').waitFor();
      await job.getByText('1 line could not be taken').click();
      await job.getByText('Line 3').waitFor();
    },
  },
  {
    name: 'the audit log tells what changed; the configuration where it comes from',
    variables: { ...CLOSED, MQTT__MAX_PACKET_SIZE: '2MiB' },
    async run(t) {
      await asAdmin(t);
      await t.server.api('POST', '/api/users', { name: 'ben', role: 'viewer', password: PASSWORD });
      await t.server.api('PATCH', '/api/users/ben', { role: 'operator' });
      await t.open('#/admin/audit');
      await t.page.getByLabel('Operation').fill('update_user');
      await t.page.locator('.audit', { hasText: '/api/users/ben' }).locator('summary').click();
      const change = t.page.locator('.diff', { hasText: 'role' });
      await change.locator('del', { hasText: 'viewer' }).waitFor();
      await change.locator('ins', { hasText: 'operator' }).waitFor();
      await t.open('#/admin/configuration');
      await t.page.getByRole('button', { name: 'Set by you' }).click();
      const row = t.page.locator('.config-row', { hasText: 'max_packet_size' });
      await row.getByText('2MiB').waitFor();
      await row.getByText('Environment').waitFor();
    },
  },
];

// Alarms as they come: raised by a reading, acknowledged, cleared; many at once; what a viewer may not.

import assert from 'node:assert/strict';

const RULE = { name: 'Boiler too hot', scope: { sensors: ['water'] }, cooldown: '0s', levels: [{ severity: 'warning', condition: { type: 'above', limit: 70, deadband: 2 } }, { severity: 'critical', condition: { type: 'above', limit: 85, deadband: 2 } }] };

const water = (t, value, device = 'boiler-1') => t.server.upload(device, [{ sensor_name: 'water', value, unit: '°C' }]);
const row = (t, text) => t.page.locator('tbody tr', { hasText: text });
const live = (t) => t.page.locator('.side .link-state.live').waitFor();

export default [
  {
    name: 'raised by a reading it shows within a second, is acknowledged, and clears',
    user: 'operator',
    async run(t) {
      await t.server.api('POST', '/api/alarm-rules', RULE);
      await water(t, 60);
      await t.open('#/alarms');
      await t.page.getByText('No open alarms').first().waitFor();
      await live(t);
      await water(t, 75);
      const begun = Date.now();
      await row(t, 'boiler-1').waitFor();
      assert.ok(Date.now() - begun < 1_000, `${Date.now() - begun} ms`);
      await t.page.locator('.side .count', { hasText: '1' }).waitFor();
      await water(t, 90);
      await row(t, 'Critical').waitFor();
      await row(t, 'boiler-1').getByRole('button', { name: /^Actions for/ }).click();
      await t.page.getByRole('button', { name: 'Acknowledge…', exact: true }).click();
      const dialog = t.page.locator('dialog[open]');
      await dialog.getByRole('textbox').fill('On my way, <b>15 min</b>');
      await dialog.getByRole('button', { name: 'Acknowledge', exact: true }).click();
      await row(t, 'boiler-1').getByText('Acknowledged', { exact: true }).waitFor();
      await water(t, 60);
      await t.page.getByRole('heading', { name: 'No open alarms' }).waitFor();
      await t.page.getByRole('link', { name: 'History' }).click();
      await row(t, 'boiler-1').getByRole('link').click();
      const timeline = t.page.locator('.timeline');
      await timeline.getByText('On my way, <b>15 min</b>').waitFor();
      for (const event of ['Raised', 'More severe', 'Acknowledged', 'Cleared']) await timeline.getByText(event, { exact: true }).first().waitFor();
      await timeline.getByText('by operator').first().waitFor();
      await t.page.locator('.chart-picture svg').waitFor();
    },
  },
  {
    name: 'several are chosen, shelved and acknowledged at once',
    user: 'operator',
    async run(t) {
      await t.server.api('POST', '/api/alarm-rules', RULE);
      for (const device of ['boiler-1', 'boiler-2', 'boiler-3']) await water(t, 75, device);
      await t.open('#/alarms');
      await row(t, 'boiler-3').waitFor();
      await t.page.getByRole('checkbox', { name: 'Select all' }).check();
      const bulk = t.page.getByRole('region', { name: 'Selected alarms' });
      await bulk.getByText('3 selected').waitFor();
      await bulk.getByRole('button', { name: 'Shelve…' }).click();
      const dialog = t.page.locator('dialog[open]');
      await dialog.getByRole('combobox').selectOption('4h');
      await dialog.getByRole('button', { name: 'Shelve', exact: true }).click();
      await t.page.getByText('3 alarms shelved').waitFor();
      await t.eventually(async () => (await t.page.getByText('Shelved', { exact: true }).count()) === 3, 'three on the shelf');
      const { items } = await t.server.api('GET', '/api/alarms');
      for (const alarm of items) assert.ok(new Date(alarm.shelved_until) - Date.now() > 3 * 3_600_000);
      await t.page.getByRole('button', { name: 'Acknowledge all…' }).click();
      await dialog.getByRole('button', { name: 'Acknowledge all', exact: true }).click();
      await t.page.getByText('3 alarms acknowledged').waitFor();
      await t.eventually(async () => (await t.server.api('GET', '/api/alarms')).items.every((alarm) => alarm.acknowledged), 'all acknowledged');
    },
  },
  {
    name: 'a viewer looks, and may not act',
    user: 'viewer',
    async run(t) {
      const { id } = await t.server.api('POST', '/api/alarm-rules', RULE);
      await water(t, 75);
      await t.open('#/alarms');
      await row(t, 'boiler-1').waitFor();
      assert.equal(await t.page.getByRole('button', { name: /Acknowledge|Actions for/ }).count(), 0);
      assert.equal(await t.page.getByRole('checkbox').count(), 0);
      await row(t, 'boiler-1').getByRole('link').click();
      await t.page.locator('.timeline').getByText('Raised', { exact: true }).waitFor();
      assert.equal(await t.page.getByRole('button', { name: 'Acknowledge…' }).count(), 0);
      await t.open(`#/rules/${id}`);
      await t.page.getByText('What it says').waitFor();
      assert.equal(await t.page.getByRole('button', { name: 'Save' }).count(), 0);
      for (const place of ['Users', 'API keys', 'Audit log', 'Quarantine', 'Configuration', 'Jobs']) assert.equal(await t.page.locator('.side').getByText(place, { exact: true }).count(), 0, place);
      for (const page of ['rules/new', 'admin/users', 'admin/keys', 'admin/audit', 'admin/targets', 'admin/configuration']) {
        await t.open(`#/${page}`);
        await t.page.getByText('This page is not for your account').waitFor();
      }
    },
  },
  {
    name: 'missed while the server was away, it is there when it is back',
    async run(t) {
      await t.server.api('POST', '/api/alarm-rules', RULE);
      await t.open('#/alarms');
      await t.page.getByRole('heading', { name: 'No open alarms' }).waitFor();
      await live(t);
      t.allow(/Failed to load resource|ERR_|failed:/);
      await t.server.stop();
      await t.server.start();
      await water(t, 75);
      await t.eventually(() => row(t, 'boiler-1').isVisible(), 'the alarm');
    },
  },
  {
    name: 'acknowledged with the keyboard alone',
    user: 'operator',
    async run(t) {
      await t.server.api('POST', '/api/alarm-rules', RULE);
      await water(t, 75);
      await t.open('#/alarms');
      await row(t, 'boiler-1').waitFor();
      const focused = () => t.page.evaluate(() => document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '');
      const tabTo = async (pattern) => {
        for (let at = 0; at < 60; at += 1) {
          await t.page.keyboard.press('Tab');
          if (!pattern.test((await focused()).trim())) continue;
          assert.notEqual(await t.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
          return;
        }
        assert.fail(`${pattern} can't be reached`);
      };
      await tabTo(/^Actions for/);
      await t.page.keyboard.press('Enter');
      await t.page.locator('.menu-list:popover-open').waitFor();
      await t.eventually(async () => /Acknowledge…/.test(await focused()), 'the first command in focus');
      await t.page.keyboard.press('Enter');
      await t.page.locator('dialog[open]').waitFor();
      await t.page.keyboard.type('seen');
      await tabTo(/^Acknowledge$/);
      await t.page.keyboard.press('Enter');
      await row(t, 'boiler-1').getByText('Acknowledged', { exact: true }).waitFor();
      const { items: [alarm] } = await t.server.api('GET', '/api/alarms');
      assert.deepEqual([alarm.note, alarm.acknowledged_by], ['seen', 'operator']);
    },
  },
];

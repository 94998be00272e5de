// Rules made in the form and as JSON, tried on the past, silenced; targets that hear of them.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';

const water = (t, value, device = 'boiler-1', at) => t.server.upload(device, [{ sensor_name: 'water', value, unit: '°C', ...(at ? { timestamp: at } : {}) }]);

/** A receiver of webhooks; `bodies` are what came, `status` is what it answers. */
async function receiver() {
  const bodies = [];
  const hook = { bodies, status: 200 };
  const server = createServer((request, answer) => {
    let text = '';
    request.on('data', (part) => { text += part; });
    request.on('end', () => {
      bodies.push(JSON.parse(text));
      answer.writeHead(hook.status).end('{}');
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return Object.assign(hook, { url: `http://127.0.0.1:${server.address().port}/hook`, close: () => new Promise((done) => server.close(done)) });
}

async function newRule(t, name, limit) {
  await t.open('#/rules/new');
  await t.page.getByLabel('Name', { exact: true }).fill(name);
  await t.page.getByLabel('Sensors by name').fill('water');
  await t.page.getByLabel('Sensors by name').press('Enter');
  await t.page.getByLabel('Above', { exact: true }).fill(String(limit));
}

/// Rules of every kind that the form shows, with everything beside the condition.
const KINDS = [
  { levels: [{ severity: 'info', condition: { type: 'below', limit: 5 } }, { severity: 'critical', condition: { type: 'outside', low: -10.5, high: 90, deadband: 0.5 }, on_delay: '10s', off_delay: '1m' }] },
  { levels: [{ severity: 'major', condition: { type: 'rate', above: 10, below: -10, per: '1m', window: '2m' } }] },
  { levels: [{ severity: 'minor', condition: { type: 'missing', for: '15m' } }], suppressed_by: ['Device offline'] },
  { levels: [{ severity: 'minor', condition: { type: 'silent', for: '1h30m' } }], scope: { kinds: ['gateway'] } },
  { levels: [{ severity: 'major', condition: { type: 'offline' } }], on_delay: '1m' },
  { levels: [{ severity: 'warning', condition: { type: 'equals', value: 1 } }] },
  { levels: [{ severity: 'warning', condition: { type: 'differs', value: 'running' } }] },
  { levels: [{ severity: 'warning', condition: { type: 'stuck', for: '6h' } }], scope: { sensor_glob: 'temp*', device_glob: 'esp-??', sensor_types: ['temperature'] } },
  { levels: [{ severity: 'warning', condition: { type: 'aggregate', function: 'mean', window: '10m', above: { limit: 30, deadband: 1 } } }] },
  { levels: [{ severity: 'info', condition: { type: 'bad_quality' } }] },
  {
    levels: [{ severity: 'warning', condition: { type: 'above', limit: 70 } }], description: 'Why', enabled: false, scope: { devices: ['boiler-1', '锅炉'], sensors: ['water'], labels: { site: 'Plant A', floor: '-1' } },
    on_delay: '30s', off_delay: '5m', cooldown: '10m', repeat: '1h', latching: true, judges_late: true, message: '{device}: {value}', labels: { team: 'heating' }, targets: ['Log'],
    schedule: [{ weekdays: ['mon', 'fri'], from: '22:00', to: '06:00', zone: 'Europe/Berlin' }, { from: '00:00', to: '24:00', zone: 'UTC' }],
  },
];

export default [
  {
    name: 'a rule made in the form fires',
    user: 'operator',
    async run(t) {
      await water(t, 60);
      await newRule(t, 'Water too hot', 70);
      await t.page.getByLabel('Deadband').fill('2');
      await t.page.getByRole('button', { name: 'Add a level' }).click();
      const second = t.page.locator('.level-row').nth(1);
      await second.getByLabel('Severity').selectOption('critical');
      await second.getByLabel('Above', { exact: true }).fill('85');
      await t.page.getByRole('button', { name: 'Create rule' }).click();
      await t.page.getByRole('heading', { level: 1, name: 'Water too hot' }).waitFor();
      const { items: [{ rule }] } = await t.server.api('GET', '/api/alarm-rules');
      assert.deepEqual(rule.levels.map((one) => one.severity), ['warning', 'critical']);
      assert.deepEqual([rule.levels[0].condition.limit, rule.levels[0].condition.deadband], [70, 2]);
      assert.equal(rule.levels[1].condition.limit, 85);
      assert.deepEqual(rule.scope, { sensors: ['water'] });
      await water(t, 75);
      await t.open('#/alarms');
      await t.page.locator('tbody tr', { hasText: 'Water too hot' }).getByText('Warning', { exact: true }).waitFor();
    },
  },
  {
    name: 'a mistake is told at its field; versions tell what changed and come back',
    user: 'operator',
    async run(t) {
      t.allow(/status of 422/);
      await newRule(t, 'Water too hot', 70);
      await t.page.getByLabel('On-delay').fill('soon');
      await t.page.getByRole('button', { name: 'Create rule' }).click();
      await t.page.locator('.field', { hasText: 'On-delay' }).getByRole('alert').getByText('duration').waitFor();
      await t.page.getByLabel('On-delay').fill('10s');
      await t.page.getByRole('button', { name: 'Check' }).click();
      await t.page.getByText('Everything in it is right').waitFor();
      await t.page.getByRole('button', { name: 'Create rule' }).click();
      await t.page.getByRole('heading', { level: 1, name: 'Water too hot' }).waitFor();
      await t.page.getByLabel('Above', { exact: true }).fill('72');
      await t.page.getByRole('button', { name: 'Save' }).click();
      const changed = t.page.locator('.diff', { hasText: 'levels.warning.condition.limit' });
      await changed.locator('del', { hasText: '70' }).waitFor();
      await changed.locator('ins', { hasText: '72' }).waitFor();
      await t.page.getByRole('button', { name: 'Bring into the form' }).click();
      assert.equal(await t.page.getByLabel('Above', { exact: true }).inputValue(), '70');
      await t.page.getByRole('button', { name: 'JSON', exact: true }).click();
      assert.match(await t.page.getByLabel('The rule as JSON').inputValue(), /"limit": 70/);
    },
  },
  {
    name: 'what the form can not show is left whole',
    user: 'operator',
    async run(t) {
      const levels = [{ severity: 'major', condition: { type: 'any', conditions: [{ type: 'above', limit: 70, sensor: 'water' }, { type: 'offline' }] } }];
      const { id } = await t.server.api('POST', '/api/alarm-rules', { name: 'Either', levels });
      await t.open(`#/rules/${id}`);
      await t.page.getByText('say more than the form can show').waitFor();
      await t.page.getByRole('button', { name: 'Edit as JSON' }).click();
      const text = t.page.getByLabel('The rule as JSON');
      await text.fill((await text.inputValue()).replace('"Either"', '"Both <i>or</i> one"'));
      await t.page.getByRole('button', { name: 'Save' }).click();
      await t.page.getByRole('heading', { level: 1, name: 'Both <i>or</i> one' }).waitFor();
      const { rule } = await t.server.api('GET', `/api/alarm-rules/${id}`);
      assert.equal(rule.levels[0].condition.conditions.length, 2);
    },
  },
  {
    name: 'tried on the last 7 days: figures, bars, the chart and a list',
    user: 'operator',
    async run(t) {
      for (const value of [60, 75, 61, 80, 62]) await water(t, value);
      await newRule(t, 'Water too hot', 70);
      await t.page.getByRole('button', { name: 'Try', exact: true }).click();
      const panel = t.page.locator('.aside');
      await panel.locator('.figure').first().getByText('2', { exact: true }).waitFor();
      assert.equal(await panel.locator('.lane svg rect').count(), 2);
      assert.equal(await panel.locator('tbody tr').count(), 2);
      await t.eventually(async () => (await panel.locator('.backtest rect').count()) === 2, 'the alarms over the chart');
      assert.equal((await t.server.api('GET', '/api/alarms')).items.length, 0);
    },
  },
  {
    name: 'a webhook made, tested and told; its secret is never shown',
    user: 'operator',
    async run(t) {
      const hook = await receiver();
      try {
        await t.open('#/admin/targets');
        await t.page.getByRole('button', { name: 'New target' }).first().click();
        const dialog = t.page.locator('dialog[open]');
        await dialog.getByLabel('Name', { exact: true }).fill('Pager');
        await dialog.getByLabel('Way').selectOption('webhook');
        await dialog.getByLabel('Address').fill(hook.url);
        await dialog.getByLabel('Key of the signature').fill('a secret of some length');
        await dialog.getByText('Description and pace').click();
        await dialog.getByLabel('Collect for').fill('0s');
        await dialog.getByRole('button', { name: 'New target' }).click();
        await t.page.locator('tbody tr', { hasText: 'Pager' }).getByRole('button', { name: 'Send a test to Pager' }).click();
        await t.page.getByText('Pager: arrived').waitFor();
        assert.equal(hook.bodies.length, 1);
        await t.page.getByRole('button', { name: 'Actions for Pager' }).click();
        await t.page.getByRole('button', { name: 'Edit…' }).click();
        await dialog.getByLabel('Name', { exact: true }).fill('Night pager');
        assert.equal(await dialog.getByLabel('Key of the signature').inputValue(), '');
        assert.equal((await t.page.content()).includes('a secret of some length'), false);
        await dialog.getByRole('button', { name: 'Save' }).click();
        await t.page.locator('tbody tr', { hasText: 'Night pager' }).waitFor();
        await t.server.api('POST', '/api/alarm-rules', { name: 'Hot', scope: { sensors: ['water'] }, levels: [{ severity: 'major', condition: { type: 'above', limit: 70 } }] });
        await water(t, 75);
        await t.eventually(() => hook.bodies.length === 2, 'the alarm at the receiver');
        await t.page.getByRole('link', { name: 'Outbox' }).click();
        await t.page.locator('tbody tr', { hasText: 'Hot' }).getByText('Sent').waitFor();
      } finally {
        await hook.close();
      }
    },
  },
  {
    name: 'a silence is made and ended',
    user: 'operator',
    async run(t) {
      await t.open('#/silences');
      await t.page.getByRole('button', { name: 'New silence' }).first().click();
      const dialog = t.page.locator('dialog[open]');
      await dialog.getByRole('button', { name: 'New silence' }).click();
      await dialog.getByText('Choose at least one').waitFor();
      await dialog.getByLabel('Devices').fill('boiler-*');
      await dialog.getByLabel('Why').fill('Service');
      await dialog.getByRole('button', { name: 'New silence' }).click();
      const row = t.page.locator('tbody tr', { hasText: 'boiler-*' });
      await row.getByText('Active').waitFor();
      await row.getByRole('button', { name: /^Actions for/ }).click();
      await t.page.getByRole('button', { name: 'End silence…' }).click();
      await dialog.getByRole('button', { name: 'End silence' }).click();
      await t.page.getByText('Nothing is silenced').waitFor();
    },
  },
  {
    name: 'saved from the form without a change, a rule stays what it was',
    user: 'operator',
    async run(t) {
      await t.server.api('POST', '/api/notification-targets', { name: 'Log', channel: { type: 'log' } });
      for (const [at, kind] of KINDS.entries()) {
        const made = await t.server.api('POST', '/api/alarm-rules', { name: `Rule ${at}`, ...kind });
        await t.open(`#/rules/${made.id}`);
        await t.page.getByRole('heading', { level: 1, name: `Rule ${at}` }).waitFor();
        await t.page.getByLabel('Description').waitFor();
        await t.page.getByRole('button', { name: 'Save', exact: true }).click();
        await t.page.getByText(`Rule ${at} is saved`).waitFor();
        const { rule } = await t.server.api('GET', `/api/alarm-rules/${made.id}`);
        assert.deepEqual(rule, made.rule, kind.levels[0].condition.type);
      }
    },
  },
  {
    name: 'what was not saved can be come back to',
    user: 'operator',
    async run(t) {
      await newRule(t, 'Half a rule', 70);
      await t.page.locator('.side').getByText('Rules', { exact: true }).click();
      await t.page.getByText('The rule was not saved').waitFor();
      await t.page.getByRole('button', { name: 'Back to it' }).click();
      await t.eventually(async () => (await t.page.getByLabel('Name', { exact: true }).inputValue()) === 'Half a rule', 'what was typed');
      assert.equal(await t.page.getByLabel('Above', { exact: true }).inputValue(), '70');
    },
  },
  {
    name: 'what was refused by its receiver is sent again',
    user: 'operator',
    async run(t) {
      const hook = await receiver();
      try {
        hook.status = 400;
        await t.server.api('POST', '/api/notification-targets', { name: 'Pager', group_wait: '0s', channel: { type: 'webhook', url: hook.url } });
        await t.server.api('POST', '/api/alarm-rules', { name: 'Hot', scope: { sensors: ['water'] }, levels: [{ severity: 'major', condition: { type: 'above', limit: 70 } }] });
        await water(t, 75);
        await t.open('#/admin/targets?tab=outbox');
        const row = t.page.locator('tbody tr', { hasText: 'Hot' });
        await t.eventually(async () => (await t.server.api('GET', '/api/notifications')).items[0]?.state === 'dead', 'the refusal');
        await t.page.reload();
        await row.getByText('Failed').waitFor();
        hook.status = 200;
        await row.getByRole('button', { name: 'Send again' }).click();
        await t.eventually(async () => (await t.server.api('GET', '/api/notifications')).items[0].state === 'sent', 'the second try');
        await t.page.reload();
        await row.getByText('Sent').waitFor();
      } finally {
        await hook.close();
      }
    },
  },
];

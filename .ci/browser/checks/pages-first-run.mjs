// From an empty Brooklet to the first message, and signing in.

import assert from 'node:assert/strict';

const PASSWORD = 'a fine long password';

export default [
  {
    name: 'the first message appears by itself',
    async run(t) {
      await t.open();
      await t.page.getByText('Waiting for the first message').waitFor();
      assert.match(await t.page.locator('.first .code').innerText(), /mosquitto_pub .* devices\/my-first-device\/data/s);
      await t.server.upload('my-first-device', [{ sensor_name: 'temperature', value: 21.5, unit: '°C' }]);
      await t.page.getByText('The first message is here').waitFor();
      assert.match(await t.page.locator('.first-values').innerText(), /temperature\s+21.5 °C/);
      await t.page.getByRole('link', { name: 'Look at the device' }).click();
      await t.page.locator('[data-sensor="temperature"]').waitFor();
      await t.open();
      await t.page.locator('.tiles').waitFor();
    },
  },
  {
    name: 'a wrong password is told, the right one lets in, signing out ends it in every tab',
    user: 'viewer',
    async run(t) {
      const other = await t.newPage();
      await other.goto('/#/settings');
      await other.getByRole('button', { name: 'Sign out' }).waitFor();
      await t.open('#/settings');
      await t.page.getByRole('button', { name: 'Sign out' }).click();
      await t.page.locator('dialog').getByRole('button', { name: 'Sign out' }).click();
      for (const page of [t.page, other]) await page.locator('input[autocomplete="username"]').waitFor();
      await t.page.locator('input[autocomplete="username"]').fill('viewer');
      await t.page.locator('input[autocomplete="current-password"]').fill('not the password');
      await t.page.keyboard.press('Enter');
      await t.page.getByText('User name or password is wrong').waitFor();
      await t.page.locator('input[autocomplete="current-password"]').fill(PASSWORD);
      await t.page.keyboard.press('Enter');
      await t.page.locator('.shell').waitFor();
    },
  },
  {
    name: 'a session that ends is begun again in place',
    user: 'operator',
    async run(t) {
      await t.server.upload('boiler-1', [{ sensor_name: 'water', value: 61.5, unit: '°C' }]);
      await t.open('#/devices/boiler-1');
      await t.page.locator('[data-sensor="water"]').waitFor();
      await t.page.evaluate(() => {
        globalThis.mark = 'same page';
      });
      await t.server.api('DELETE', '/api/users/operator/sessions');
      // The form may stand over it: what is live may have asked before.
      await t.page.getByRole('tab', { name: 'Refused' }).dispatchEvent('click');
      const dialog = t.page.locator('dialog[open]');
      await dialog.locator('input[autocomplete="current-password"]').fill(PASSWORD);
      await t.page.keyboard.press('Enter');
      await t.page.getByText('Nothing was refused').waitFor();
      assert.equal(await t.page.evaluate(() => globalThis.mark), 'same page');
      await t.page.locator('.side .link-state.live').waitFor();
    },
  },
  {
    name: 'two tabs that renew their tokens at once both stay',
    user: 'viewer',
    async run(t) {
      const other = await t.newPage();
      // A page that asks nothing by itself: one that is left while it renews its tokens loses them.
      for (const page of [t.page, other]) {
        await page.goto('/#/about');
        await page.locator('.side .link-state.live').waitFor();
        await page.locator('.facts').waitFor();
      }
      const refreshToken = () => t.page.evaluate(() => JSON.parse(localStorage.getItem('brooklet.session')).refresh);
      const before = await refreshToken();
      await t.page.evaluate(() => {
        const kept = JSON.parse(localStorage.getItem('brooklet.session'));
        localStorage.setItem('brooklet.session', JSON.stringify({ ...kept, access: 'worn out', expires: 0 }));
      });
      await Promise.all([t.page.reload(), other.reload()]);
      for (const page of [t.page, other]) await page.locator('.shell').waitFor();
      assert.notEqual(await refreshToken(), before);
      for (const page of [t.page, other]) await page.locator('.side .link-state.live').waitFor();
    },
  },
];

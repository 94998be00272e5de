// What happens shows by itself: values, charts, messages, a server that goes and comes back.

import assert from 'node:assert/strict';

const value = (page, sensor) => page.locator(`[data-sensor="${sensor}"] .sensor-value b`);

async function send(t, number) {
  await t.server.upload('boiler-1', [{ sensor_name: 'water', value: number, unit: '°C' }]);
}

export default [
  {
    name: 'a value and its chart grow as readings come in',
    async run(t) {
      await send(t, 60);
      await t.open('#/devices/boiler-1?range=15m');
      await t.page.locator('.chart-picture svg').waitFor();
      await t.page.locator('.side .link-state.live').waitFor();
      const drawn = () => t.page.locator('.chart').evaluate((chart) => chart.querySelector('.chart-picture svg').outerHTML + chart.querySelector('.chart-over').innerHTML);
      const before = await drawn();
      for (const number of [61, 62, 63]) await send(t, number);
      await t.eventually(async () => (await value(t.page, 'water').innerText()) === '63', 'the last value');
      await t.eventually(async () => (await drawn()) !== before, 'a longer line');
    },
  },
  {
    name: 'a range is chosen by the pointer, by keys and by buttons, and kept in the address',
    async run(t) {
      const now = Date.now();
      await t.server.upload('boiler-1', Array.from({ length: 60 }, (_, at) => ({ sensor_name: 'water', value: 60 + (at % 7), unit: '°C', timestamp: new Date(now - at * 60_000).toISOString() })));
      await t.open('#/devices/boiler-1?range=1h');
      await t.page.locator('.chart-picture svg').waitFor();
      const plot = t.page.locator('.chart-plot');
      const box = await plot.boundingBox();
      await t.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await t.page.locator('.chart-tip').getByText('water').waitFor();
      await t.page.mouse.down();
      await t.page.mouse.move(box.x + box.width / 2 + 120, box.y + box.height / 2, { steps: 4 });
      await t.page.mouse.up();
      await t.eventually(() => /from=\d+&to=\d+/.test(t.page.url()), 'the range in the address');
      await plot.focus();
      await t.page.keyboard.press('-');
      await t.page.keyboard.press('ArrowLeft');
      await t.eventually(async () => /water/.test(await t.page.locator('.chart [aria-live]').innerText()), 'the value in words');
      await t.page.getByRole('button', { name: 'Back to now' }).click();
      await t.eventually(() => /range=1h/.test(t.page.url()) && !/from=/.test(t.page.url()), 'the range moving again');
    },
  },
  {
    name: 'messages show as they come, with what became of them',
    async run(t) {
      await send(t, 60);
      await t.open('#/devices/boiler-1?tab=messages');
      await t.page.locator('.side .link-state.live').waitFor();
      await t.page.getByText('Listening').waitFor();
      await t.eventually(async () => {
        await send(t, 61.5);
        return (await t.page.locator('.message').count()) > 0;
      }, 'a message');
      assert.match(await t.page.locator('.message').first().innerText(), /Stored/);
      assert.match(await t.page.locator('.message').first().innerText(), /61.5/);
    },
  },
  {
    name: 'the server restarts, and the page goes on by itself',
    async run(t) {
      await send(t, 60);
      await t.open('#/devices/boiler-1');
      await value(t.page, 'water').waitFor();
      await t.page.locator('.side .link-state.live').waitFor();
      await t.page.evaluate(() => {
        globalThis.mark = 'same page';
      });
      t.allow(/ERR_CONNECTION_REFUSED/, /ERR_CONNECTION_RESET/, /ERR_EMPTY_RESPONSE/, /ERR_INCOMPLETE_CHUNKED/, /status of 503/);
      await t.server.stop();
      await t.page.locator('.side .link-state.lost').waitFor();
      await t.server.start();
      // A connection of before may be tried once more.
      await t.eventually(() => send(t, 64).then(() => true, () => false), 'an upload');
      await t.eventually(async () => (await value(t.page, 'water').innerText()) === '64', 'what was sent meanwhile');
      await t.page.locator('.side .link-state.live').waitFor();
      assert.equal(await t.page.evaluate(() => globalThis.mark), 'same page');
    },
  },
  {
    name: 'where no WebSocket gets through, it is Server-Sent Events',
    async run(t) {
      await t.page.addInitScript(() => {
        globalThis.WebSocket = class extends EventTarget {
          constructor() {
            super();
            setTimeout(() => this.onclose?.());
          }

          close() {}
        };
      });
      await send(t, 60);
      await t.open('#/devices/boiler-1');
      await t.page.locator('.side .link-state.live').waitFor();
      await send(t, 65);
      await t.eventually(async () => (await value(t.page, 'water').innerText()) === '65', 'the value');
    },
  },
  {
    name: 'eight windows at once, and each is live and answered',
    async run(t) {
      await send(t, 60);
      const pages = [t.page];
      while (pages.length < 8) pages.push(await t.newPage());
      for (const page of pages) {
        await page.goto('/#/devices/boiler-1');
        await value(page, 'water').waitFor();
        await page.locator('.side .link-state.live').waitFor();
      }
      await send(t, 66);
      for (const page of pages) await t.eventually(async () => (await value(page, 'water').innerText()) === '66', 'the value in every window');
    },
  },
  {
    name: 'live viewing does not fill the memory',
    async run(t) {
      const minutes = Number(process.env.BROOKLET_BROWSER_MINUTES || 0.5);
      await send(t, 60);
      await t.open('#/devices/boiler-1?range=15m');
      await t.page.locator('.chart-picture svg').waitFor();
      const session = await t.page.context().newCDPSession(t.page);
      const used = async () => {
        await session.send('HeapProfiler.collectGarbage');
        return (await session.send('Runtime.getHeapUsage')).usedSize;
      };
      const view = async (milliseconds) => {
        const end = Date.now() + milliseconds;
        for (let number = 0; Date.now() < end; number += 1) {
          await send(t, 60 + (number % 10));
          await new Promise((done) => setTimeout(done, 50));
        }
      };
      await view(10_000);
      const before = await used();
      await view(minutes * 60_000);
      const grown = (await used()) - before;
      const nodes = await t.page.evaluate(() => document.querySelectorAll('*').length);
      assert.ok(grown < 3_000_000, `${grown} bytes more after ${minutes} min`);
      assert.ok(nodes < 3_000, `${nodes} elements`);
    },
  },
];

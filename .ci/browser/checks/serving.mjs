// The page and its files, as the browser takes them.

import assert from 'node:assert/strict';

export default [
  {
    name: 'the page opens, and every file of it is kept for ever',
    async run(t) {
      const files = [];
      t.page.on('response', (answer) => {
        if (new URL(answer.url()).pathname.startsWith('/assets/')) files.push(answer);
      });
      const page = await t.open();
      assert.equal(page.status(), 200);
      assert.match(await t.page.title(), /Brooklet/);
      await t.page.waitForLoadState('networkidle').catch(() => {});
      assert.ok(files.length > 0);
      for (const file of files) {
        assert.equal(file.status(), 200, file.url());
        assert.match(file.headers()['cache-control'], /immutable/, file.url());
      }
    },
  },
  {
    name: 'the policy keeps foreign and inline scripts out',
    async run(t) {
      await t.open();
      t.allow(/policy:/, /Content Security Policy/);
      const ran = await t.page.evaluate(async () => {
        const inline = document.createElement('script');
        inline.textContent = 'globalThis.ranInline = true';
        document.head.append(inline);
        const frame = document.createElement('iframe');
        frame.src = '/docs';
        document.body.append(frame);
        const image = document.createElement('img');
        image.setAttribute('onerror', 'globalThis.ranHandler = true');
        image.src = 'data:,';
        document.body.append(image);
        await new Promise((done) => setTimeout(done, 200));
        return [globalThis.ranInline, globalThis.ranHandler];
      });
      assert.deepEqual(ran, [undefined, undefined]);
    },
  },
  {
    name: 'a second visit asks once and loads nothing',
    async run(t) {
      await t.open();
      await t.page.waitForLoadState('networkidle').catch(() => {});
      const asked = [];
      t.page.on('response', async (answer) => {
        const { pathname } = new URL(answer.url());
        if (pathname === '/' || pathname.startsWith('/assets/')) {
          asked.push(`${pathname} ${answer.status()} ${answer.fromServiceWorker()}`);
        }
      });
      const again = await t.page.goto('/');
      // The browser shows 304 as the 200 that it has kept; the server was asked with the tag.
      assert.ok([200, 304].includes(again.status()));
      const timings = await t.page.evaluate(() =>
        performance.getEntriesByType('resource')
          .filter(({ name }) => new URL(name).pathname.startsWith('/assets/'))
          .map(({ name, transferSize }) => [name, transferSize]));
      for (const [name, size] of timings) assert.equal(size, 0, `${name} came over the wire again`);
    },
  },
];

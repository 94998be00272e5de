// How the pages look and are used: widths, themes, languages, keys, axe-core, weight, words.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

const ASSETS = new URL('../../../src/dashboard/assets/', import.meta.url);
const PAGES = ['', '#/devices', '#/devices/boiler-1', '#/devices/boiler-1?tab=messages', '#/devices/boiler-1?tab=alarms', '#/devices/boiler-1?tab=quarantine', '#/devices/boiler-1?tab=credentials', '#/settings', '#/about'];
const WEIGHT_MAX = 200_000;

async function fill(t) {
  const now = Date.now();
  await t.server.upload('boiler-1', Array.from({ length: 50 }, (_, at) => ({ sensor_name: 'water', value: 60 + (at % 7), unit: '°C', timestamp: new Date(now - at * 60_000).toISOString() })));
  await t.server.upload('boiler-1', [{ sensor_name: 'pressure', value: 1.6, unit: 'bar' }]);
}

const looks = [];
for (const theme of ['light', 'dark']) {
  for (const language of ['en', 'zh-CN']) {
    for (const width of [1280, 360]) {
      looks.push({
        name: `${theme}, ${language}, ${width} px: nothing is cut, axe finds nothing grave`,
        context: { colorScheme: theme, locale: language, viewport: { width, height: 800 } },
        async run(t) {
          // What somebody sees who has just installed it.
          await t.open('');
          await t.page.locator('.first-state').waitFor();
          assert.deepEqual(await t.wider(), [], 'the first page: wider than the window');
          assert.deepEqual(await t.axe(), [], 'the first page');
          await fill(t);
          for (const path of PAGES) {
            await t.open(path);
            await t.page.locator('h1').waitFor();
            await t.eventually(async () => (await t.page.locator('.skeleton').count()) === 0, `${path}: the content`);
            assert.equal(await t.page.evaluate(() => document.documentElement.lang), language);
            assert.deepEqual(await t.wider(), [], `${path}: wider than the window`);
            assert.deepEqual(await t.axe(), [], path);
            assert.equal(/\b[a-z_]+\.[a-z_]+_[a-z_]+\b/.exec((await t.page.locator('.main > .page').innerText()).replaceAll('devices.unknown', ''))?.[0], undefined, `${path}: a key in place of its text`);
          }
        },
      });
    }
  }
}

async function files(folder = ASSETS) {
  const found = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const url = new URL(entry.name + (entry.isDirectory() ? '/' : ''), folder);
    if (entry.isDirectory()) found.push(...(await files(url)));
    else found.push(url);
  }
  return found;
}

function keys(group, prefix = '') {
  return Object.entries(group).flatMap(([name, value]) => (typeof value === 'string' || 'other' in value ? [prefix + name] : keys(value, `${prefix}${name}.`)));
}

function places(text) {
  return [...new Set((typeof text === 'string' ? text : text.other).match(/\{\w+\}/g) || [])].sort();
}

export default [
  ...looks,
  {
    name: 'with the keyboard alone',
    async run(t) {
      await fill(t);
      await t.open();
      await t.page.locator('.tiles').waitFor();
      const tabTo = async (name, most = 40) => {
        for (let at = 0; at < most; at += 1) {
          await t.page.keyboard.press('Tab');
          const text = await t.page.evaluate(() => document.activeElement.getAttribute('aria-label') || document.activeElement.innerText);
          if (text.trim() === name) {
            const ring = await t.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
            assert.notEqual(ring, 'none', `${name} shows no focus`);
            return;
          }
        }
        assert.fail(`${name} can't be reached`);
      };
      await t.page.keyboard.press('Tab');
      assert.equal(await t.page.evaluate(() => document.activeElement.className), 'skip');
      await tabTo('Devices');
      await t.page.keyboard.press('Enter');
      await t.page.locator('tbody tr').waitFor();
      assert.equal(await t.page.evaluate(() => document.activeElement.localName), 'h1');
      await tabTo('boiler-1');
      await t.page.keyboard.press('Enter');
      await t.page.locator('.chart-picture svg').waitFor();
      await tabTo('Edit');
      await t.page.keyboard.press('Enter');
      await t.page.locator('dialog[open]').waitFor();
      await t.page.keyboard.press('Escape');
      await t.page.locator('dialog[open]').waitFor({ state: 'detached' });
      assert.equal(await t.page.evaluate(() => document.activeElement.innerText.trim()), 'Edit');
      await tabTo('Values');
      await t.page.keyboard.press('ArrowRight');
      await t.page.getByText('Listening').waitFor();
    },
  },
  {
    name: 'language, theme and zone are chosen and kept',
    context: { timezoneId: 'Europe/Berlin' },
    async run(t) {
      await fill(t);
      await t.open('#/settings');
      await t.page.getByRole('button', { name: '简体中文' }).click();
      await t.page.getByRole('heading', { level: 1, name: '设置' }).waitFor();
      await t.page.getByRole('button', { name: '深色' }).click();
      await t.eventually(() => t.page.evaluate(() => document.documentElement.dataset.theme === 'dark'), 'the dark theme');
      await t.page.getByRole('combobox').selectOption('Asia/Tokyo');
      await t.page.getByText('GMT+9').waitFor();
      await t.page.reload();
      await t.page.getByRole('heading', { level: 1, name: '设置' }).waitFor();
      assert.equal(await t.page.evaluate(() => document.documentElement.dataset.theme), 'dark');
      await t.page.getByText('GMT+9').waitFor();
    },
  },
  {
    name: 'all of it weighs less than 200 kB compressed',
    async run() {
      let total = 0;
      for (const file of await files()) total += gzipSync(await readFile(file), { level: 9 }).length;
      assert.ok(total < WEIGHT_MAX, `${total} bytes`);
    },
  },
  {
    name: 'both catalogues have the same texts with the same places, and all that are used',
    async run() {
      const [en, zh] = await Promise.all(['en', 'zh-CN'].map(async (name) => JSON.parse(await readFile(new URL(`i18n/${name}.json`, ASSETS), 'utf8'))));
      assert.deepEqual(keys(zh), keys(en));
      const at = (group, key) => key.split('.').reduce((found, part) => found?.[part], group);
      for (const key of keys(en)) assert.deepEqual(places(at(zh, key)), places(at(en, key)), key);
      const known = new Set(keys(en));
      for (const file of await files()) {
        if (!file.pathname.endsWith('.js')) continue;
        const source = await readFile(file, 'utf8');
        for (const [, key] of source.matchAll(/\b(?:t|rich)\('([\w.]+)'/g)) assert.ok(known.has(key), `${file.pathname}: ${key}`);
      }
    },
  },
];

// Pictures of every page of the dashboard, in both widths and themes, to be looked at:
// `node .ci/screenshots BINARY FOLDER [--language zh-CN] [--warm SECONDS] [WORD…]`.
//
// The server has what `plant.js` makes; with `--warm` its devices publish for so long before the first
// picture. With words, only pictures are made whose names have one of them. Names are
// PAGE-WIDTH-THEME.png; pictures show the whole page, those of `top-…` what a window shows of it.

import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { Check, launch } from '../browser/harness.js';
import { plant } from './plant.js';

const PASSWORD = 'a fine long password';
const WIDTHS = { desktop: [1280, 860], phone: [390, 844] };
/** [name, place, what a phone's window is scrolled to]; `{…}` are numbers that are looked up. */
const PAGES = [
  ['overview', '#/'],
  ['devices', '#/devices'],
  ['device', '#/devices/boiler-1?sensors={water},{pressure}', '[role="tablist"]'],
  ['device-messages', '#/devices/boiler-1?tab=messages'],
  ['device-alarms', '#/devices/boiler-1?tab=alarms'],
  ['device-quarantine', '#/devices/meter-main?tab=quarantine'],
  ['device-credentials', '#/devices/boiler-1?tab=credentials'],
  ['alarms', '#/alarms'],
  ['alarms-history', '#/alarms?tab=history'],
  ['alarm', '#/alarms/{alarm}'],
  ['rules', '#/rules'],
  ['rule', '#/rules/{rule}'],
  ['rule-new', '#/rules/new'],
  ['silences', '#/silences'],
  ['targets', '#/admin/targets'],
  ['outbox', '#/admin/targets?tab=outbox'],
  ['quarantine', '#/admin/quarantine'],
  ['users', '#/admin/users'],
  ['keys', '#/admin/keys'],
  ['audit', '#/admin/audit'],
  ['jobs', '#/admin/jobs'],
  ['configuration', '#/admin/configuration'],
  ['settings', '#/settings'],
  ['about', '#/about'],
];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { language: { type: 'string', default: 'en-US' }, warm: { type: 'string', default: '5' } },
});
const [binary, folder, ...words] = positionals;
if (!folder) {
  console.error('usage: node .ci/screenshots BINARY FOLDER [--language zh-CN] [--warm SECONDS] [WORD…]');
  process.exit(2);
}

async function numbers(server) {
  const { items: latest } = await server.api('GET', '/api/data/latest?device_id=boiler-1');
  const { items: alarms } = await server.api('GET', '/api/alarms?limit=200');
  const { items: rules } = await server.api('GET', '/api/alarm-rules');
  const sensor = (name) => latest.find((reading) => reading.sensor === name)?.sensor_id;
  return { water: sensor('water'), pressure: sensor('pressure'), alarm: alarms.find((alarm) => alarm.device === 'boiler-1' && alarm.active)?.id, rule: rules[0]?.id };
}

async function settle(t) {
  await t.page.locator('h1').first().waitFor();
  await t.eventually(async () => (await t.page.locator('.skeleton').count()) === 0, 'the content');
  await t.page.waitForTimeout(900);
}

/** Calls back for every width and theme of a page whose pictures are wanted, with their name. */
async function everyLook(t, page, look) {
  for (const [width, [across, down]] of Object.entries(WIDTHS)) {
    for (const theme of ['light', 'dark']) {
      const name = `${page}-${width}-${theme}`;
      if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
      await t.page.setViewportSize({ width: across, height: down });
      await t.page.emulateMedia({ colorScheme: theme });
      await look(name, width);
      made += 1;
    }
  }
}

async function signedOut(t) {
  t.allow(/status of 401/);
  await everyLook(t, 'sign-in', async (name) => {
    await t.open('');
    await t.page.locator('input[autocomplete="username"]').waitFor();
    await t.page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  });
}

async function shoot(t, known) {
  for (const [page, place, middle] of PAGES) {
    await everyLook(t, page, async (name, width) => {
      await t.open(place.replace(/\{(\w+)\}/g, (_, key) => known[key]));
      await settle(t);
      if (page === 'device-messages') await t.page.waitForTimeout(4_000);
      if (middle && width === 'phone') await t.page.evaluate((wanted) => scrollTo(0, document.querySelector(wanted).getBoundingClientRect().top + scrollY - 64), middle);
      await t.page.screenshot({ path: join(folder, `top-${name}.png`) });
      await t.page.evaluate(() => scrollTo(0, 0));
      await t.page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
    });
  }
}

await mkdir(folder, { recursive: true });
const browser = await launch();
const t = new Check(browser, resolve(binary), {
  name: 'screenshots',
  variables: { HTTP__ALLOW_ANONYMOUS: 'false', DEVICES__UNKNOWN: 'pending' },
  context: { locale: options.language, deviceScaleFactor: 1, reducedMotion: 'reduce' },
});
let made = 0;
let failed = null;
try {
  await t.begin();
  t.server.key = await t.server.file('data/initial-api-key');
  const end = await plant(t.server, PASSWORD);
  await signedOut(t);
  await t.signIn('chief');
  await t.page.waitForTimeout(Number(options.warm) * 1000);
  await shoot(t, await numbers(t.server));
  console.log(`${made} pictures in ${folder}`);
  await end();
} catch (error) {
  failed = error;
  console.error(error);
}
await t.end(failed).catch((error) => {
  failed = error;
  console.error(error);
});
await browser.close();
process.exit(failed ? 1 : 0);

// The dashboard in a real browser, served by the built binary: `node .ci/browser BINARY [WORD…]`.
//
// A file of `checks/` exports an array of `{ name, run(t) }`; with words, those checks run whose names
// have all of them. Each gets a server on a folder of its own and a fresh page (`harness.js` says what
// else). What a browser complains of, a request that fails or goes to another host, and a breach of the
// content security policy fail a check, unless it says beforehand that it provokes them (`t.allow`).

import { readdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Check, launch } from './harness.js';

const [binary, ...words] = process.argv.slice(2);
if (!binary) {
  console.error('usage: node .ci/browser BINARY [WORD…]');
  process.exit(2);
}

const folder = fileURLToPath(new URL('checks/', import.meta.url));
const files = (await readdir(folder)).filter((name) => name.endsWith('.mjs')).sort();
const found = [];
for (const file of files) {
  const { default: checks } = await import(new URL(`checks/${file}`, import.meta.url));
  for (const check of checks) found.push({ ...check, name: `${file.slice(0, -4)}: ${check.name}` });
}
const chosen = found.filter(({ name }) => words.every((word) => name.includes(word)));

let browser = await launch();
const failed = [];
for (const check of chosen) {
  // One that has crashed fails the check that it was used by, and no other.
  if (!browser.isConnected()) browser = await launch();
  const begun = Date.now();
  const t = new Check(browser, resolve(binary), check);
  let error = null;
  try {
    await t.begin();
    await check.run(t);
  } catch (thrown) {
    error = thrown;
  }
  try {
    await t.end(error);
  } catch (thrown) {
    error ||= thrown;
  }
  const seconds = ((Date.now() - begun) / 1000).toFixed(1);
  console.log(`${error ? 'FAILED' : 'ok    '} ${check.name} (${seconds} s)`);
  if (error) {
    console.log(String(error.stack || error).replace(/^/gm, '       '));
    failed.push(check.name);
  }
}
await browser.close();
console.log(`${chosen.length - failed.length} of ${chosen.length} browser checks passed`);
// Nothing chosen is a mistake in the words.
process.exit(failed.length > 0 || chosen.length === 0 ? 1 : 0);

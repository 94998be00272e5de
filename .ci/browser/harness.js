// What a check works with: a server, a browser page that is watched, and somebody who has signed in.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Server } from './server.js';

const MODULES = process.env.BROOKLET_NODE_MODULES || join(tmpdir(), 'brooklet-ci-node', 'node_modules');
/** Modules of others, such as `axe-core` and `mqtt`. */
export const load = createRequire(join(MODULES, 'index.js'));

const PASSWORD = 'a fine long password';

export async function launch() {
  const { chromium } = load('playwright-core');
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

/**
 * One run of a check, which is `{ name, run(t) }` and may say:
 * - `user`: a role (`admin`, `operator`, `viewer` …): the server is closed, and the page of somebody with
 *   that role who has signed in by the form is open. Without it the server is open to this machine, and
 *   no page is open yet;
 * - `variables`: settings, such as `{ DEVICES__UNKNOWN: 'pending' }`;
 * - `context`: options of the browser's context (viewport, locale, colorScheme, timezoneId …).
 */
export class Check {
  #browser;
  #check;
  #context = null;
  #allowed = [];
  #problems = [];

  constructor(browser, binary, check) {
    this.#browser = browser;
    this.#check = check;
    const closed = check.user ? { HTTP__ALLOW_ANONYMOUS: 'false' } : {};
    this.server = new Server(binary, { ...closed, ...check.variables });
  }

  async begin() {
    const { user, context } = this.#check;
    await this.server.begin();
    this.#context = await this.#browser.newContext({
      baseURL: this.server.http,
      viewport: { width: 1280, height: 800 },
      locale: 'en-US',
      timezoneId: 'UTC',
      ...context,
    });
    this.#context.setDefaultTimeout(10_000);
    this.page = await this.newPage();
    if (!user) return;
    this.server.key = await this.server.file('data/initial-api-key');
    // The first start has made a user of the name `admin`.
    const name = user === 'admin' ? 'chief' : user;
    await this.addUser(name, user);
    await this.signIn(name);
  }

  /** Another page of the same browser, watched like the first. */
  async newPage() {
    const page = await this.#context.newPage();
    const note = (problem) => this.#problems.push(problem);
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        console.error(`policy: ${event.violatedDirective} refuses ${event.blockedURI}`);
      });
    });
    page.on('console', (message) => {
      if (message.type() === 'error') note(`console: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => note(`exception: ${error.stack || error}`));
    page.on('request', (request) => {
      const url = new URL(request.url());
      const isOwn = url.origin === this.server.http || ['data:', 'blob:'].includes(url.protocol);
      if (!isOwn) note(`another host: ${request.url()}`);
    });
    page.on('requestfailed', (request) => {
      const { errorText } = request.failure();
      // A page that is left takes its requests with it.
      if (errorText !== 'net::ERR_ABORTED') note(`failed: ${request.url()} ${errorText}`);
    });
    return page;
  }

  /** What matches may be complained of from here on. */
  allow(...patterns) {
    this.#allowed.push(...patterns);
  }

  /** What was complained of so far. */
  get problems() {
    return this.#problems.filter((text) => !this.#allowed.some((pattern) => pattern.test(text)));
  }

  /** Opens a page of the dashboard, such as `#/devices`. */
  async open(path = '') {
    return this.page.goto(`/${path}`);
  }

  async addUser(name, role) {
    await this.server.api('POST', '/api/users', { name, role, password: PASSWORD });
  }

  /** By the form, as people do. */
  async signIn(name, page = this.page) {
    // Before somebody has signed in, the page asks who it is and is refused.
    this.allow(/status of 401/);
    await page.goto('/');
    await page.locator('input[autocomplete="username"]').fill(name);
    const password = page.locator('input[autocomplete="current-password"]');
    await password.fill(PASSWORD);
    await password.press('Enter');
    await password.waitFor({ state: 'detached' });
  }

  /** Asks again until `read` gives something true. */
  async eventually(read, what = 'it') {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const value = await read();
      if (value) return value;
      assert.ok(Date.now() < deadline, `${what} did not come`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  /** What stands out at the page's side; without it nothing scrolls sideways. */
  async wider() {
    return this.page.evaluate(() => {
      const over = document.documentElement.scrollWidth - innerWidth;
      const isOut = (element) => element.getBoundingClientRect().right > innerWidth;
      const name = ({ tagName, className }) => `${tagName.toLowerCase()}.${className}`;
      return over > 0 ? [`${over} px`, ...[...document.querySelectorAll('body *')].filter(isOut).map(name)] : [];
    });
  }

  /** Faults of the page that axe-core calls serious or critical. */
  async axe(page = this.page) {
    // Read by the debugger: the page's policy lets nobody put scripts into it.
    const { source } = load('axe-core');
    await page.evaluate(source);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const isGrave = ({ impact }) => impact === 'serious' || impact === 'critical';
    const nodes = ({ id, help, nodes: found }) => `${id}: ${help} ${found.map((n) => n.target).join(' ')}`;
    return violations.filter(isGrave).map(nodes);
  }

  /** Ends everything; throws what the browser or the server complained of. */
  async end(error) {
    try {
      if (error || this.problems.length > 0) await this.#picture();
      await this.#context?.close();
      if (!error) assert.deepEqual(this.problems, []);
      await this.server.stop();
      if (!error) assert.equal(this.server.complaint(), undefined);
    } finally {
      await this.server.stop().catch(() => {});
      await this.server.remove();
    }
  }

  async #picture() {
    const folder = join(tmpdir(), 'brooklet-browser-failures');
    await mkdir(folder, { recursive: true });
    const name = this.#check.name.replace(/[^a-z0-9]+/gi, '-');
    await this.page?.screenshot({ path: join(folder, `${name}.png`), fullPage: true }).catch(() => {});
  }
}

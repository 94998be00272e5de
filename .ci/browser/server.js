// The binary on free ports, in a folder of its own.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PATIENCE_MS = 20_000;

/** A port that is free, and stays the server's when it starts again. */
async function port() {
  const taken = createServer();
  await new Promise((done) => taken.listen(0, '127.0.0.1', done));
  const { port: number } = taken.address();
  await new Promise((done) => taken.close(done));
  return number;
}

export class Server {
  #binary;
  #process = null;
  #folder = null;
  #variables;
  /** Lines of the log. */
  log = [];
  /** `http://127.0.0.1:…`, without a slash at the end. */
  http = '';
  /** The port of MQTT. */
  mqtt = 0;
  /** What `api` sends; null: nothing. */
  key = null;

  constructor(binary, variables = {}) {
    this.#binary = binary;
    this.#variables = variables;
  }

  get folder() {
    return this.#folder;
  }

  async begin() {
    this.#folder = await mkdtemp(join(tmpdir(), 'brooklet-browser-'));
    const [http, mqtt] = [await port(), await port()];
    this.http = `http://127.0.0.1:${http}`;
    this.mqtt = mqtt;
    this.#variables = {
      MQTT__LISTEN: `["127.0.0.1:${mqtt}"]`,
      HTTP__LISTEN: `["127.0.0.1:${http}"]`,
      LOG__FORMAT: 'json',
      LOG__HTTP_ACCESS: 'false',
      ...this.#variables,
    };
    await this.start();
  }

  async start() {
    const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('BROOKLET__'));
    const own = Object.entries(this.#variables).map(([name, value]) => [`BROOKLET__${name}`, value]);
    this.#process = spawn(this.#binary, [], {
      cwd: this.#folder,
      env: Object.fromEntries([...clean, ...own]),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const lines = createInterface({ input: this.#process.stderr });
    await new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Error(`no start: ${this.log.join('\n')}`)), PATIENCE_MS);
      this.#process.once('exit', (code) => fail(new Error(`ended with ${code}: ${this.log.join('\n')}`)));
      lines.on('line', (line) => {
        this.log.push(line);
        if (!line.includes('"Brooklet is ready"')) return;
        clearTimeout(late);
        done();
      });
    });
  }

  /** SIGTERM; rejects where it does not end well. */
  async stop() {
    const running = this.#process;
    this.#process = null;
    if (!running || running.exitCode !== null) return;
    const ended = new Promise((done) => running.once('exit', done));
    running.kill('SIGTERM');
    const late = setTimeout(() => running.kill('SIGKILL'), PATIENCE_MS);
    const code = await ended;
    clearTimeout(late);
    if (code !== 0) throw new Error(`the server ended with ${code}: ${this.log.slice(-5).join('\n')}`);
  }

  /** On the same folder and ports; `away` milliseconds pass in between. */
  async restart(away = 0) {
    await this.stop();
    await new Promise((done) => setTimeout(done, away));
    await this.start();
  }

  async remove() {
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
  }

  /** The first line of the log that must not be there. */
  complaint() {
    return this.log.find((line) => line.includes('"level":"ERROR"') || line.includes('panicked'));
  }

  async file(name) {
    return (await readFile(join(this.#folder, name), 'utf8')).trim();
  }

  /** A request that must succeed; its JSON, or its text. */
  async api(method, path, body) {
    const headers = {};
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (this.key) headers['X-API-Key'] = this.key;
    const answer = await fetch(this.http + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    const isJson = (answer.headers.get('content-type') || '').startsWith('application/json');
    return isJson ? JSON.parse(text) : text;
  }

  /** Readings of a device: `[{ sensor_name, value, unit?, timestamp? }]`. */
  async upload(device, sensors) {
    return this.api('POST', '/api/devices/data/upload', { device_id: device, sensors });
  }
}

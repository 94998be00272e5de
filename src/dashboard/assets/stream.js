// Live events. Pages say what they want to hear of; the tab keeps at most two connections for all of it:
// one for what concerns every device (presence, alarms), one for the devices that are looked at.
// Both come back by themselves, after the last event seen, and rest while the tab is out of sight.
//
// They are WebSockets: of requests that never end a browser allows a host six over HTTP/1.1, in all
// windows together. Where something between lets no WebSocket through, it is Server-Sent Events.

import { setReachable, signInAgain } from './api.js';
import { session } from './session.js';

const BACKOFF_MS = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
/// Over Server-Sent Events the server says something every 30 seconds.
const SILENCE_MS = 70_000;
/// A WebSocket that is silent for so long is asked for a word, and has so long for it.
const ASK_MS = 40_000;
const ANSWER_MS = 10_000;
/// A tab that nobody sees lets go of its connections after this.
const HIDDEN_MS = 30_000;
/// Who was away for longer reads the page anew in place of all that was missed.
const RESUME_MS = 5 * 60_000;
const KINDS = { sensor_data: 'readings', presence: 'presence', alarm: 'alarms', message: 'messages' };

const statusListeners = new Set();
let status = 'idle';

function setStatus(next) {
  if (next === status) return;
  status = next;
  for (const listener of statusListeners) listener(next);
}

/** Calls back with `live`, `connecting`, `lost` or `paused`. */
export function onStreamStatus(listener) {
  statusListeners.add(listener);
  listener(status);
  return () => statusListeners.delete(listener);
}

class Line {
  constructor() {
    this.wants = new Set();
    this.last = null;
    this.lastAt = 0;
    this.running = null;
    this.asked = '';
    this.lastQuery = '';
    this.hasBeenOpen = false;
  }

  query() {
    const devices = new Set();
    const events = new Set();
    for (const want of this.wants) {
      for (const device of want.devices || []) devices.add(device);
      for (const event of want.events) events.add(event);
    }
    const query = new URLSearchParams();
    if (devices.size) query.set('devices', [...devices].sort().join(','));
    query.set('events', [...events].sort().join(','));
    return query.toString();
  }

  /** Connects anew where something else is wanted. */
  refresh() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const wanted = this.wants.size && !isResting ? this.query() : '';
      if (wanted === this.asked) return;
      this.asked = wanted;
      this.running?.abort();
      this.running = null;
      // What was not listened to before is not owed.
      if (wanted && wanted !== this.lastQuery) {
        this.last = null;
        this.hasBeenOpen = false;
      }
      if (wanted) this.run((this.lastQuery = wanted));
      update();
    }, 20);
  }

  async run(query) {
    const control = new AbortController();
    this.running = control;
    for (let attempt = 0; !control.signal.aborted; ) {
      this.state = attempt === 0 ? 'connecting' : 'lost';
      update();
      const began = Date.now();
      try {
        await this.listen(query, control.signal);
      } catch (error) {
        if (control.signal.aborted) return;
        if (error.status === 401 && !(await this.admitted())) return;
        if (error.status === 403 || error.status === 422) {
          this.state = 'idle';
          update();
          return;
        }
      }
      if (control.signal.aborted) return;
      attempt = Date.now() - began > 10_000 ? 1 : attempt + 1;
      this.state = 'lost';
      update();
      const pause = BACKOFF_MS[Math.min(attempt - 1, BACKOFF_MS.length - 1)];
      await sleep(pause * (0.7 + Math.random() * 0.6), control.signal);
    }
  }

  async admitted() {
    if (await session.renewed(this.token)) return true;
    return signInAgain();
  }

  async listen(query, signal) {
    this.token = await session.token();
    const isLate = this.last !== null && Date.now() - this.lastAt > RESUME_MS;
    if (isLate) this.last = null;
    if (hasSockets) await this.socket(query, signal);
    else await this.events(query, signal);
  }

  /** Connected: for the first time, after the last event seen, or not knowing what was missed. */
  opened() {
    setReachable(true);
    this.state = 'live';
    update();
    const isResumed = this.last !== null;
    this.tell('open', { resumed: this.hasBeenOpen && isResumed });
    if (this.hasBeenOpen && !isResumed) this.tell('gap', { missed: null });
    this.hasBeenOpen = true;
  }

  async socket(query, signal) {
    const url = new URL(`ws?${query}`, document.baseURI);
    url.protocol = url.protocol.replace('http', 'ws');
    if (this.last !== null) url.searchParams.set('last_event_id', this.last);
    if (this.token) url.searchParams.set('ticket', await this.ticket(signal));
    if (await converse(this, url, query, signal)) return;
    // Not let in: without a server there is nothing to be had; with one, the other way says why.
    const health = await fetch(new URL('health/live', document.baseURI), { cache: 'no-store', signal });
    if (!health.ok) return;
    hasSockets = false;
    await this.events(query, signal);
  }

  async ticket(signal) {
    const headers = { Authorization: `Bearer ${this.token}` };
    const answer = await fetch(new URL('api/stream/ticket', document.baseURI), { method: 'POST', headers, signal, cache: 'no-store' });
    if (!answer.ok) throw Object.assign(new Error('refused'), { status: answer.status });
    return (await answer.json()).ticket;
  }

  async events(query, signal) {
    const headers = { Accept: 'text/event-stream' };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (this.last !== null) headers['Last-Event-ID'] = this.last;
    const connection = new AbortController();
    signal.addEventListener('abort', () => connection.abort(), { once: true });
    const url = new URL(`api/stream?${query}`, document.baseURI);
    const answer = await fetch(url, { headers, signal: connection.signal, cache: 'no-store' });
    if (!answer.ok) throw Object.assign(new Error('refused'), { status: answer.status });
    this.opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const timer = setTimeout(() => connection.abort(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      rest += value;
      for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
        this.block(rest.slice(0, end));
        rest = rest.slice(end + 2);
      }
    }
  }

  block(text) {
    let data = '';
    for (const line of text.split('\n')) {
      if (line.startsWith('id:')) this.seen(line.slice(3).trim());
      else if (line.startsWith('data:')) data += line.slice(5);
    }
    if (data) this.take(JSON.parse(data));
  }

  seen(id) {
    this.last = id;
    this.lastAt = Date.now();
  }

  take(told) {
    this.lastAt = Date.now();
    if (told.type === 'subscribed') {
      // What waits to be sent stands before it: it counts only where nothing is known yet.
      this.last ??= told.id;
      return;
    }
    if (told.id) this.seen(told.id);
    this.tell(KINDS[told.type] || told.type, told);
  }

  tell(kind, told) {
    const device = told.device ?? told.data?.device ?? told.alarm?.device;
    for (const want of [...this.wants]) {
      const isAll = kind === 'gap' || kind === 'open';
      if (!isAll && !want.events.includes(kind)) continue;
      if (!isAll && want.devices && !want.devices.includes(device)) continue;
      try {
        want.handler(kind, told);
      } catch (error) {
        console.error(error);
      }
    }
  }
}

/** One WebSocket until it ends; whether it was ever open. */
function converse(line, url, query, signal) {
  const asked = new URLSearchParams(query);
  const names = (name) => (asked.get(name) || '').split(',').filter(Boolean);
  // What is listened to already: the answer shows that somebody is there, and where the stream stands.
  const question = JSON.stringify({ subscribe: { devices: names('devices'), events: names('events') } });
  return new Promise((done) => {
    const socket = new WebSocket(url);
    let isOpen = false;
    let timer = 0;
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      socket.onmessage = null;
      // One that is closed while it opens is complained of by the browser.
      if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
      else socket.close();
      done(isOpen);
    };
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        socket.send(question);
        timer = setTimeout(end, ANSWER_MS);
      }, ASK_MS);
    };
    signal.addEventListener('abort', end, { once: true });
    socket.onopen = () => {
      isOpen = true;
      line.opened();
      if (line.last === null) socket.send(question);
      wait();
    };
    socket.onmessage = (event) => {
      wait();
      line.take(JSON.parse(event.data));
    };
    socket.onclose = end;
  });
}

let hasSockets = 'WebSocket' in globalThis;
const lines = { wide: new Line(), narrow: new Line() };
let isResting = false;

function update() {
  const states = Object.values(lines).filter((line) => line.asked).map((line) => line.state);
  if (isResting) setStatus('paused');
  else if (states.includes('lost')) setStatus('lost');
  else if (states.includes('connecting')) setStatus('connecting');
  else setStatus(states.includes('live') ? 'live' : 'idle');
}

function sleep(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      done();
    }, { once: true });
  });
}

/**
 * Listens until the signal ends it. `handler(kind, told)`: kind is readings, presence, alarms, messages,
 * `gap` (something is missing: read again) or `open` (connected, again perhaps).
 * `devices` left out: all of them.
 */
export function listen({ events, devices, signal }, handler) {
  const line = devices ? lines.narrow : lines.wide;
  const want = { events, devices, handler };
  line.wants.add(want);
  line.refresh();
  const stop = () => {
    line.wants.delete(want);
    line.refresh();
  };
  signal?.addEventListener('abort', stop, { once: true });
  return stop;
}

/** After a sign-in or sign-out: as somebody else. */
export function restart() {
  for (const line of Object.values(lines)) {
    line.asked = '';
    line.last = null;
    line.hasBeenOpen = false;
    line.running?.abort();
    line.running = null;
    line.refresh();
  }
}

let hiding = 0;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => rest(true), HIDDEN_MS);
  } else if (isResting) {
    rest(false);
  }
});

function rest(value) {
  isResting = value;
  for (const line of Object.values(lines)) line.refresh();
  update();
}

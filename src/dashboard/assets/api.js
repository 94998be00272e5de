// The REST API: JSON in and out, problems (RFC 9457) as ApiError, tokens renewed on the way, reads tried
// again while the server is away, and a sign-in asked for in place where the session has ended.

import { session } from './session.js';

/** What went wrong: status 0 where nothing came back. */
export class ApiError extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.name = 'ApiError';
    this.status = status;
    this.title = problem.title || '';
    this.detail = problem.detail || '';
    this.errors = problem.errors || [];
    this.requestId = problem.request_id || '';
    this.retryAfter = problem.retryAfter || 0;
  }

  get isNetwork() {
    return this.status === 0;
  }

  /** The text for one field of a form, by its JSON pointer (`/name`) or parameter. */
  field(pointer) {
    return this.errors.find((error) => error.pointer === pointer || error.pointer === `/${pointer}`)?.detail;
  }
}

const BACKOFF_MS = [400, 1_200, 3_000];
let askSignIn = null;
let signingIn = null;
const reachability = new Set();
let isReachable = true;

/** The app says how a sign-in is asked for: a function whose promise says whether it came about. */
export function onSignInNeeded(ask) {
  askSignIn = ask;
}

/** Calls back when the server comes or goes. */
export function onReachable(listener) {
  reachability.add(listener);
  return () => reachability.delete(listener);
}

export function setReachable(value) {
  if (value === isReachable) return;
  isReachable = value;
  for (const listener of reachability) listener(value);
}

function target(path, query) {
  const found = new URL(path.replace(/^\//, ''), document.baseURI);
  for (const [name, value] of Object.entries(query || {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== '') found.searchParams.append(name, one);
    }
  }
  return found;
}

const wait = (ms, signal) =>
  new Promise((done, fail) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      fail(signal.reason);
    }, { once: true });
  });

async function problem(answer) {
  let told = {};
  try {
    told = await answer.clone().json();
  } catch {
    // A proxy's page, or nothing.
  }
  return new ApiError(answer.status, { ...told, retryAfter: Number(answer.headers.get('Retry-After')) || 0 });
}

async function once(url, options, refused) {
  const token = refused === undefined ? await session.token() : refused.token;
  const headers = new Headers(options.headers);
  if (token) headers.set('Authorization', `Bearer ${token}`);
  const answer = await fetch(url, { cache: 'no-cache', ...options, headers });
  if (answer.status !== 401 || refused !== undefined) return { answer, token };
  if (token && (await session.renewed(token))) return once(url, options, { token: await session.token() });
  return { answer, token };
}

/** Asks for a sign-in once, however many requests wait for it. */
export function signInAgain() {
  if (!askSignIn) return Promise.resolve(false);
  signingIn ||= askSignIn().finally(() => {
    signingIn = null;
  });
  return signingIn;
}

/**
 * A request and its answer as it came (2xx or 304). Reads are tried again while the server is away.
 */
export async function request(method, path, { query, body, headers = {}, signal, retries } = {}) {
  const url = target(path, query);
  const options = { method, headers: { ...headers }, signal };
  if (body instanceof Blob || typeof body === 'string') options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers['Content-Type'] ||= 'application/json';
  }
  const attempts = retries ?? (method === 'GET' ? BACKOFF_MS.length : 0);
  for (let attempt = 0; ; attempt += 1) {
    let failure;
    try {
      const { answer } = await once(url, options);
      setReachable(true);
      if (answer.ok || answer.status === 304) return answer;
      failure = await problem(answer);
      if (failure.status === 401 && (await signInAgain())) continue;
      if (failure.status !== 503 && failure.status !== 429) throw failure;
    } catch (error) {
      if (error instanceof ApiError) throw error;
      if (signal?.aborted) throw signal.reason;
      if (!(error instanceof TypeError)) throw error;
      failure = new ApiError(0, { title: 'network', detail: error.message });
      if (attempt > 0 || method !== 'GET') setReachable(false);
    }
    if (attempt >= attempts) throw failure;
    await wait(Math.max(BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)], failure.retryAfter * 1000), signal);
  }
}

async function json(method, path, options) {
  const answer = await request(method, path, options);
  if (answer.status === 204) return null;
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

export const api = {
  get: (path, query, options) => json('GET', path, { query, ...options }),
  post: (path, body, options) => json('POST', path, { body, ...options }),
  put: (path, body, options) => json('PUT', path, { body, ...options }),
  patch: (path, body, options) => json('PATCH', path, { body, ...options }),
  del: (path, options) => json('DELETE', path, options),

  /** `{data, etag}`: to be changed with `{headers: {'If-Match': etag}}`. */
  async tagged(path, query, options) {
    const answer = await request('GET', path, { query, ...options });
    return { data: await answer.json(), etag: answer.headers.get('ETag') };
  },

  text: async (path, query, options) => (await request('GET', path, { query, ...options })).text(),

  /** All pages of a list by cursor, up to a bound. */
  async all(path, query, { max = 2_000, ...options } = {}) {
    const items = [];
    let cursor;
    do {
      const page = await this.get(path, { ...query, cursor }, options);
      items.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor && items.length < max);
    return items;
  },
};

/** A part of a path: names may hold anything. */
export const seg = (text) => encodeURIComponent(text);

/** Saves what a read gives as a file, written as it comes where the browser can do that. */
export async function download(path, query, name, options = {}) {
  if (window.showSaveFilePicker) {
    let handle;
    try {
      handle = await window.showSaveFilePicker({ suggestedName: name });
    } catch (error) {
      if (error.name === 'AbortError') return false;
    }
    if (handle) {
      const answer = await request('GET', path, { query, ...options });
      await answer.body.pipeTo(await handle.createWritable());
      return true;
    }
  }
  const answer = await request('GET', path, { query, ...options });
  saveBlob(await answer.blob(), name);
  return true;
}

export function saveBlob(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

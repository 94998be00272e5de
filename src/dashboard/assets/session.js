// Who is signed in, and the tokens that show it.
//
// A refresh token is good once, and presenting it again ends the session for everybody. All tabs share
// one session in localStorage, and whoever renews it holds a lock that all tabs respect and looks
// first whether another one has been quicker.

const KEY = 'brooklet.session';
const LOCK = 'brooklet.session.lock';
const LOCK_MS = 15_000;
/// Tokens are renewed so long before they run out.
const EARLY_MS = 60_000;

const listeners = new Set();
let tokens = load();
let me = null;

function load() {
  try {
    return JSON.parse(localStorage.getItem(KEY) || 'null');
  } catch {
    return null;
  }
}

function keep(next) {
  tokens = next;
  try {
    if (next) localStorage.setItem(KEY, JSON.stringify(next));
    else localStorage.removeItem(KEY);
  } catch {
    // Without storage the session lives as long as this tab.
  }
}

function tell(what) {
  for (const listener of listeners) listener(what);
}

addEventListener('storage', (event) => {
  if (event.key !== KEY && event.key !== null) return;
  const before = tokens;
  tokens = load();
  if (before?.user !== tokens?.user) tell(tokens ? 'changed' : 'ended');
});

const url = (path) => new URL(path, document.baseURI);

async function post(path, body) {
  return fetch(url(path), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    cache: 'no-store',
  });
}

function taken(answer) {
  keep({
    access: answer.access_token,
    refresh: answer.refresh_token,
    expires: Date.now() + answer.expires_in * 1000,
    user: answer.user.name,
  });
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Runs alone among all tabs. The Web Locks API is only there over TLS and on localhost. */
async function alone(work) {
  if (navigator.locks) return navigator.locks.request(LOCK, work);
  const mine = `${Math.random()}`;
  const until = Date.now() + LOCK_MS;
  for (;;) {
    const held = (localStorage.getItem(LOCK) || '').split(' ');
    if (!held[1] || Number(held[1]) < Date.now() || Date.now() > until) {
      localStorage.setItem(LOCK, `${mine} ${Date.now() + LOCK_MS}`);
      // Another tab may have written at the same moment, and tabs see each other's words late: after a
      // while the last one has it.
      await sleep(250 + Math.random() * 100);
      if ((localStorage.getItem(LOCK) || '').startsWith(`${mine} `)) break;
    }
    await sleep(80);
  }
  try {
    return await work();
  } finally {
    if ((localStorage.getItem(LOCK) || '').startsWith(`${mine} `)) localStorage.removeItem(LOCK);
  }
}

let renewing = null;

async function renew(refused) {
  return alone(async () => {
    const latest = load();
    if (latest && latest.access !== refused && latest.expires > Date.now() + EARLY_MS / 2) {
      tokens = latest;
      return true;
    }
    const token = (latest || tokens)?.refresh;
    if (!token) return false;
    const answer = await post('api/auth/refresh', { refresh_token: token });
    if (answer.ok) {
      taken(await answer.json());
      return true;
    }
    if (answer.status !== 401) throw new Error(`${answer.status}`);
    // Somebody may have signed in again in another tab meanwhile.
    if (load()?.refresh === token) keep(null);
    return false;
  });
}

export const session = {
  /** The answer of /api/auth/me: kind, name, scopes, user. */
  get me() {
    return me;
  },

  /** Whether this caller may do what needs the scope; an admin may do everything. */
  can(scope) {
    return Boolean(me && (!scope || me.scopes.includes('admin') || me.scopes.includes(scope)));
  },

  get isSignedIn() {
    return Boolean(tokens);
  },

  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },

  /** The access token, renewed where it is about to run out; null without a session. */
  async token() {
    if (!tokens) return null;
    if (tokens.expires < Date.now() + EARLY_MS) await this.renewed(null);
    return tokens?.access ?? null;
  },

  /** Tries for a token other than the one that was refused; false where there is none to be had. */
  async renewed(refused) {
    if (!tokens) return false;
    renewing ||= renew(refused).finally(() => {
      renewing = null;
    });
    return renewing;
  },

  setMe(answer) {
    me = answer;
    tell('me');
  },

  /** Begins a session; throws the answer where that is refused. */
  async signIn(username, password) {
    const answer = await post('api/auth/login', { username, password });
    if (!answer.ok) throw answer;
    const before = me?.name;
    taken(await answer.json());
    return { isSame: before === undefined || before === tokens.user };
  },

  async signOut() {
    const access = tokens?.access;
    keep(null);
    me = null;
    try {
      if (access) await fetch(url('api/auth/logout'), { method: 'POST', headers: { Authorization: `Bearer ${access}` } });
    } catch {
      // It ends by itself in the end.
    }
    tell('ended');
  },
};

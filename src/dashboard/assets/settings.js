// What the viewer chose, kept in this browser: language, theme, time zone.

const KEY = 'brooklet.settings';
const DEFAULTS = { language: 'auto', theme: 'auto', zone: 'viewer' };

let current = { ...DEFAULTS, ...read() };
const listeners = new Set();

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY) || '{}');
  } catch {
    return {};
  }
}

export const settings = {
  get: (name) => current[name],

  set(name, value) {
    current = { ...current, [name]: value };
    try {
      localStorage.setItem(KEY, JSON.stringify(current));
    } catch {
      // Kept for this tab only.
    }
    apply();
    for (const listener of listeners) listener(name, value);
  },

  /** Calls back at every change, in this tab or another. */
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

const dark = matchMedia('(prefers-color-scheme: dark)');

/** `light` or `dark`, as it is seen. */
export function theme() {
  const chosen = current.theme;
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return dark.matches ? 'dark' : 'light';
}

function apply() {
  const chosen = current.theme;
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  const bar = document.querySelector('meta[name="theme-color"]');
  if (bar) bar.content = theme() === 'dark' ? '#0d1317' : '#f4f6f7';
}

apply();
dark.addEventListener('change', () => {
  apply();
  for (const listener of listeners) listener('theme', theme());
});
addEventListener('storage', (event) => {
  if (event.key !== KEY) return;
  const before = current;
  current = { ...DEFAULTS, ...read() };
  apply();
  for (const name of Object.keys(DEFAULTS)) {
    if (before[name] !== current[name]) for (const listener of listeners) listener(name, current[name]);
  }
});

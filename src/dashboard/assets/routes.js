// Which page stands under which hash, what one must be allowed for it, and what the navigation shows.
// A page is a module in pages/, loaded when it is first gone to.

/// [pattern, module in pages/, place in the navigation, scope]
export const ROUTES = [
  ['/', 'overview', 'overview', 'data:read'],
  ['/devices', 'devices', 'devices', 'devices:read'],
  ['/devices/:device', 'device', 'devices', 'devices:read'],
  ['/alarms', 'alarms', 'alarms', 'alarms:read'],
  ['/alarms/:id', 'alarm', 'alarms', 'alarms:read'],
  ['/rules', 'rules', 'rules', 'alarms:read'],
  ['/rules/new', 'rule', 'rules', 'alarms:write'],
  ['/rules/:id', 'rule', 'rules', 'alarms:read'],
  ['/silences', 'silences', 'silences', 'alarms:read'],
  ['/admin/users', 'admin-users', 'users', 'users:write'],
  ['/admin/keys', 'admin-keys', 'keys', 'keys:write'],
  ['/admin/audit', 'admin-audit', 'audit', 'audit:read'],
  ['/admin/quarantine', 'admin-quarantine', 'quarantine', 'data:write'],
  ['/admin/targets', 'admin-targets', 'targets', 'alarms:write'],
  ['/admin/jobs', 'admin-jobs', 'jobs', 'data:read'],
  ['/admin/configuration', 'admin-configuration', 'configuration', 'admin'],
  ['/settings', 'settings', 'settings', null],
  ['/about', 'about', 'about', null],
];

/// [group, [[place, hash, icon, scope]]]; the names are nav.{place} and nav.group_{group}.
export const NAVIGATION = [
  ['watch', [
    ['overview', '#/', 'overview', 'data:read'],
    ['devices', '#/devices', 'device', 'devices:read'],
    ['alarms', '#/alarms', 'bell', 'alarms:read'],
  ]],
  ['alarming', [
    ['rules', '#/rules', 'rule', 'alarms:read'],
    ['silences', '#/silences', 'bell-off', 'alarms:read'],
    ['targets', '#/admin/targets', 'target', 'alarms:write'],
  ]],
  ['admin', [
    ['quarantine', '#/admin/quarantine', 'quarantine', 'data:write'],
    ['users', '#/admin/users', 'users', 'users:write'],
    ['keys', '#/admin/keys', 'key', 'keys:write'],
    ['audit', '#/admin/audit', 'audit', 'audit:read'],
    ['jobs', '#/admin/jobs', 'clock', 'data:write'],
    ['configuration', '#/admin/configuration', 'config', 'admin'],
  ]],
];

const compiled = ROUTES.map(([pattern, module, place, scope]) => ({
  parts: pattern.split('/').slice(1),
  module,
  place,
  scope,
}));

function matched(route, parts) {
  if (route.parts.length !== parts.length) return null;
  const params = {};
  for (const [at, part] of route.parts.entries()) {
    if (part.startsWith(':')) params[part.slice(1)] = parts[at];
    else if (part !== parts[at]) return null;
  }
  return params;
}

/** `#/devices/esp-1?tab=chart` → the route, its params, and the query. */
export function resolve(hash) {
  const [path, query = ''] = hash.replace(/^#/, '').split('?');
  let parts;
  try {
    parts = (path || '/').split('/').slice(1).map(decodeURIComponent);
  } catch {
    parts = [];
  }
  for (const route of compiled) {
    const params = matched(route, parts);
    if (params) return { route, params, query: new URLSearchParams(query) };
  }
  return null;
}

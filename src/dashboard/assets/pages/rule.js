// One alarm rule: its form and its JSON, tried on the past before it is saved, and its versions.

import { levelList, scopeText } from '../alarming.js';
import { api, ApiError, seg } from '../api.js';
import { fill, h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { ruleForm } from '../rule-form.js';
import { ruleDifferences, tidy } from '../rule-model.js';
import { trial } from '../rule-trial.js';
import { exact, knownDeviceZone, viewerZone } from '../time.js';
import { act, badge, busy, button, card, code, confirm, facts, field, labelChips, linkButton, load, menu, moreButton, pageHead, problemText, segmented, toast } from '../ui.js';
import { presetLinks, presets } from './rules.js';

/// Devices and sensors that are read for suggestions, and to say what a scope means.
const KNOWN_MAX = 3_000;
const pretty = (rule) => JSON.stringify(tidy(rule), null, 2);

// --- Versions and what changed

function value(one) {
  return one === undefined || one === null ? '–' : typeof one === 'object' ? JSON.stringify(one) : String(one);
}

/** Each difference as a line: where, before, after. */
export function differenceList(list) {
  return h('ul', { class: 'diff' }, list.map(([path, before, after]) => h('li', {}, h('code', {}, path || '–'),
    h('span', { class: 'break' }, before !== undefined && before !== null && h('del', {}, value(before)), ' ', after !== undefined && after !== null && h('ins', {}, value(after))))));
}

function versionsCard({ id, current, mayEdit, onrestore, signal }) {
  const body = h('div', {});
  const path = `api/alarm-rules/${id}/versions`;
  load(body, () => api.get(path, { limit: 20 }, { signal }), (first) => {
    const items = [];
    const list = h('ol', { class: 'timeline' });
    const foot = h('div', {});
    const item = (one, before) => {
      const changes = before ? ruleDifferences(before.rule, one.rule) : null;
      return h('li', { class: ['event', one.version === current && 'ok'] }, h('span', { class: 'event-icon' }, icon(one.version === 1 ? 'plus' : 'edit')),
        h('div', { class: 'grow stack tight' },
          h('div', { class: 'row' }, h('strong', {}, t('rules.version', { version: one.version })), one.version === current && badge(t('rules.in_force'), 'ok'),
            h('span', { class: 'muted small-text' }, exact(one.created_at), one.author && ` · ${one.author}`)),
          changes === null ? (one.version === 1 && h('p', { class: 'muted small-text' }, t('rules.made'))) : changes.length ? differenceList(changes) : h('p', { class: 'muted small-text' }, t('rules.no_change')),
          h('details', { class: 'more' }, h('summary', {}, t('rules.whole')), code(pretty(one.rule), { label: t('rules.version', { version: one.version }) }))),
        mayEdit && one.version !== current && button(t('rules.restore'), { small: true, onclick: () => onrestore(one) }));
    };
    const add = (page) => {
      items.push(...page.items);
      fill(list, items.map((one, at) => item(one, items[at + 1])));
      fill(foot, page.next_cursor && moreButton(async () => add(await api.get(path, { limit: 20, cursor: page.next_cursor }, { signal }))));
    };
    add(first);
    return [list, foot];
  }, { signal });
  return card({ title: t('rules.versions'), sub: t('rules.versions_text') }, body);
}

// --- What the form suggests

function knownNames(signal, session) {
  const read = (allowed, path) => (allowed ? api.all(path, { limit: 1_000 }, { max: KNOWN_MAX, signal }) : Promise.resolve([])).catch(() => []);
  const names = (items, pick) => items.then((all) => [...new Set(all.map(pick).filter(Boolean))].sort());
  const mayLook = session.can('devices:read');
  const [devices, sensors] = [read(mayLook, 'api/devices'), read(mayLook, 'api/sensors')];
  return {
    devices: names(devices, (one) => one.device), sensors: names(sensors, (one) => one.name), types: names(sensors, (one) => one.type), gateways: names(devices, (one) => one.kind === 'gateway' && one.device),
    rules: names(read(true, 'api/alarm-rules'), (one) => one.rule.name), targets: names(read(session.can('alarms:write'), 'api/notification-targets'), (one) => one.target.name),
    // Of more than can be read, the form says nothing rather than something wrong.
    all: Promise.all([devices, sensors]).then(([one, other]) => (mayLook && one.length < KNOWN_MAX && other.length < KNOWN_MAX ? { devices: one, sensors: other } : null)),
  };
}

// --- For those who only look

function summary({ rule }) {
  return card({ title: t('rules.what_it_says') }, h('div', { class: 'stack' }, levelList(rule.levels), facts([
    [t('rules.section_where'), scopeText(rule.scope)], [t('rules.description'), rule.description], [t('rules.on_delay'), rule.on_delay !== '0s' && rule.on_delay], [t('rules.off_delay'), rule.off_delay !== '0s' && rule.off_delay],
    [t('rules.cooldown'), rule.cooldown], [t('rules.repeat'), rule.repeat], [t('rules.targets'), rule.targets?.length ? rule.targets.join(', ') : t('rules.targets_any')],
    [t('rules.latching'), rule.latching && t('rules.yes')], [t('rules.suppressed_by'), rule.suppressed_by?.join(', ')], [t('rules.labels'), Object.keys(rule.labels || {}).length ? labelChips(rule.labels) : null],
  ].map(([name, one]) => [name, one || null])), h('details', { class: 'more' }, h('summary', {}, t('rules.json')), code(pretty(rule), { label: t('rules.json') }))));
}

// --- The editor: the same rule as a form and as JSON

function editor({ start, known, zones }) {
  const problems = h('div', { class: 'notice bad', role: 'alert', hidden: true });
  const text = field({ label: t('rules.json'), type: 'textarea', mono: true, class: 'mono mono-area', hint: t('rules.json_hint') });
  const body = h('div', {});
  let rule = start;
  let form = null;
  let mode = 'form';
  let isChanged = false;
  const touched = () => { isChanged = true; };
  text.control.addEventListener('input', touched);
  text.control.addEventListener('keydown', (event) => {
    // Tab goes on to the next control, as everywhere; Ctrl+S would be the browser's.
    if (event.key === 'Escape') text.control.blur();
  });
  const modes = segmented([['form', t('rules.form')], ['json', 'JSON']], 'form', (next) => turn(next), t('rules.form_or_json'));

  function read() {
    if (mode === 'form' && form) return form.read();
    return JSON.parse(text.value);
  }

  function show() {
    problems.hidden = true;
    if (mode === 'json') {
      text.value = pretty(rule);
      fill(body, text.element);
      return;
    }
    form = ruleForm({ rule, known, zones, onchange: touched });
    fill(body, form ? form.element : h('div', { class: 'stack' }, h('div', { class: 'notice' }, icon('info'), h('div', {}, h('p', {}, t('rules.beyond_form')), h('p', { class: 'muted' }, levelList(rule.levels || [])))),
      h('div', { class: 'row' }, button(t('rules.to_json'), { onclick: () => press('json') }))));
  }

  function press(next) {
    [...modes.children][next === 'json' ? 1 : 0].click();
  }

  function turn(next) {
    if (next === mode) return;
    try {
      if (!(mode === 'form' && !form)) rule = read();
      mode = next;
      show();
    } catch (error) {
      fail(error);
      press(mode);
    }
  }

  function fail(error) {
    if (error instanceof SyntaxError) {
      text.fail(t('rules.json_wrong', { detail: error.message }));
      text.control.focus();
      return;
    }
    text.fail('');
    const errors = error instanceof ApiError ? error.errors : [];
    const rest = mode === 'form' && form ? form.fail(errors) : errors;
    problems.hidden = rest.length === 0 && errors.length > 0;
    if (!problems.hidden) fill(problems, icon('warning'), h('ul', { class: 'problems' }, rest.length ? rest.map((one) => h('li', {}, h('code', {}, one.pointer || '/'), ' ', one.detail)) : h('li', {}, problemText(error))));
    if (!problems.hidden) problems.scrollIntoView({ block: 'nearest' });
  }

  show();
  return {
    element: h('div', { class: 'stack' }, h('div', { class: 'toolbar' }, modes), problems, body), read, fail,
    isFilled: (options) => mode !== 'form' || !form || form.isFilled(options),
    clear() {
      problems.hidden = true;
      text.fail('');
      form?.fail([]);
    },
    replace(next) {
      rule = next;
      isChanged = true;
      show();
    },
    get isChanged() { return isChanged; },
    saved() { isChanged = false; },
  };
}

/** What is tried needs no name yet; null where something else is missing. */
function tryable(edit) {
  if (!edit.isFilled({ withName: false })) return null;
  const rule = edit.read();
  return { ...rule, name: rule.name || t('rules.new') };
}

/** Where a new rule begins: a preset, a copy, or a limit for one device. */
async function beginning(query, signal) {
  if (query.get('preset')) {
    const found = (await presets(signal)).find((one) => one.name === query.get('preset'));
    if (found) return found.rule;
  }
  if (query.get('copy')) {
    const { rule } = await api.get(`api/alarm-rules/${seg(query.get('copy'))}`, undefined, { signal });
    return { ...rule, name: t('rules.copy_of', { name: rule.name }) };
  }
  const scope = {};
  if (query.get('device')) scope.devices = [query.get('device')];
  if (query.get('sensor')) scope.sensors = [query.get('sensor')];
  return { name: '', scope, levels: [] };
}

/// What was not saved when the page was left; gone with the tab.
let draft = null;

export default async function page({ root, params, query, signal, setTitle, navigate, session }) {
  const place = location.hash.split('?')[0];
  const isNew = params.id === undefined;
  let stored = null;
  let etag = null;
  if (!isNew) ({ data: stored, etag } = await api.tagged(`api/alarm-rules/${seg(params.id)}`, undefined, { signal }));
  const mayWrite = session.can('alarms:write');
  const mayEdit = mayWrite && !stored?.provisioned;
  const start = stored ? stored.rule : await beginning(query, signal);
  if (signal.aborted) return;
  setTitle(stored ? stored.rule.name : t('rules.new'));

  async function remove() {
    if (!(await confirm({ title: t('rules.delete'), text: t('rules.delete_text', { name: stored.rule.name }), action: t('actions.delete') }))) return;
    await act(null, async () => {
      await api.del(`api/alarm-rules/${stored.id}`);
      edit?.saved();
      navigate('#/rules');
    }, t('rules.deleted'));
  }

  const head = h('div', {});
  const showHead = () => fill(head, pageHead(stored ? stored.rule.name : t('rules.new'), {
    back: { href: '#/rules', text: t('nav.rules') },
    sub: stored && [badge(t(stored.rule.enabled ? 'rules.is_on' : 'rules.is_off'), stored.rule.enabled ? 'ok' : 'mute'), stored.provisioned && badge(t('rules.provisioned'), 'mute'), h('span', {}, t('rules.version', { version: stored.version })), exact(stored.updated_at, 'minute')],
    actions: stored && [linkButton(t('rules.its_alarms'), `#/alarms?tab=history&rule=${stored.id}&range=30d`, { iconName: 'bell' }),
      mayWrite && menu(t('alarms.more'), [{ text: t('rules.copy'), iconName: 'copy', href: `#/rules/new?copy=${stored.id}` }, mayEdit && { text: `${t('actions.delete')}…`, iconName: 'trash', danger: true, onclick: remove }])],
  }));
  showHead();
  root.append(head);
  if (stored?.provisioned) root.append(h('div', { class: 'notice' }, icon('info'), h('p', {}, t('rules.provisioned_hint'))));

  let edit = null;
  const versions = h('div', { class: 'contents' });
  const showVersions = () => stored && fill(versions, versionsCard({ id: stored.id, current: stored.version, mayEdit, signal, onrestore: (one) => {
    edit.replace(one.rule);
    scrollTo({ top: 0, behavior: 'smooth' });
    toast(t('rules.restored', { version: one.version }), { tone: 'info' });
  } }));

  if (!mayEdit) {
    root.append(summary(stored));
    if (mayWrite) root.append(card({ title: t('rules.trial'), sub: t('rules.trial_sub') }, trial({ read: () => stored.rule, signal }).element));
    showVersions();
    root.append(versions);
    return;
  }

  edit = editor({ start, known: knownNames(signal, session), zones: [knownDeviceZone() || viewerZone()] });
  const tried = trial({ read: () => tryable(edit), inForce: stored?.id, signal, onproblem: (error) => edit.fail(error) });

  async function save(element) {
    await busy(element, async () => {
      edit.clear();
      if (!edit.isFilled()) return;
      try {
        const body = edit.read();
        const answer = stored
          ? await api.put(`api/alarm-rules/${stored.id}`, body, { headers: etag ? { 'If-Match': etag } : {} })
          : await api.post('api/alarm-rules', body);
        edit.saved();
        toast(t(stored ? 'rules.saved' : 'rules.created', { name: answer.rule.name }));
        if (!stored) {
          navigate(`#/rules/${answer.id}`);
          return;
        }
        ({ data: stored, etag } = await api.tagged(`api/alarm-rules/${stored.id}`, undefined, { signal }));
        showHead();
        showVersions();
      } catch (error) {
        if (error?.name === 'AbortError') return;
        edit.fail(error);
        if (!(error instanceof ApiError) && !(error instanceof SyntaxError)) console.error(error);
      }
    });
  }

  async function check(element) {
    await busy(element, async () => {
      edit.clear();
      if (!edit.isFilled()) return;
      try {
        const answer = await api.post('api/alarm-rules/validate', edit.read());
        if (answer.unknown_rules.length) toast(t('rules.unknown_rules', { names: answer.unknown_rules.join(', ') }), { tone: 'info' });
        else toast(t('rules.is_valid'));
      } catch (error) {
        edit.fail(error);
        if (!(error instanceof ApiError) && !(error instanceof SyntaxError)) console.error(error);
      }
    });
  }

  const main = h('form', { class: 'card', novalidate: true, 'aria-label': t('rules.rule'), onsubmit: (event) => {
    event.preventDefault();
    save(event.submitter);
  } }, edit.element, h('div', { class: 'save-bar' },
    h('button', { type: 'submit', class: 'button primary' }, icon('check'), h('span', {}, t(stored ? 'actions.save' : 'rules.create'))),
    button(t('rules.check'), { onclick: (event) => check(event.currentTarget) }),
    linkButton(t('actions.cancel'), '#/rules', { kind: 'plain' })));
  if (isNew && !query.get('preset') && !query.get('copy')) {
    const gallery = h('div', { class: 'contents' });
    root.append(gallery);
    presets(signal).then((items) => {
      if (!signal.aborted && items.length) fill(gallery, card({ title: t('rules.presets'), sub: t('rules.presets_text') }, presetLinks(items)));
    }).catch(() => {});
  }
  root.append(h('div', { class: 'rule-page split' }, main, h('div', { class: 'stack aside' }, card({ title: t('rules.trial'), sub: t('rules.trial_sub') }, tried.element), stored ? null : emptyHint())), versions);
  showVersions();

  // Shown anew in another language or theme, or come back to: what was typed is there again.
  if (draft?.place === place && (query.has('draft') || Date.now() - draft.at < 2_000)) edit.replace(draft.rule);
  draft = null;
  signal.addEventListener('abort', () => {
    if (!edit.isChanged) return;
    try {
      draft = { place, rule: edit.read(), at: Date.now() };
    } catch {
      // What is no JSON is not kept.
      return;
    }
    if (location.hash.split('?')[0] !== place) toast(t('rules.left'), { tone: 'info', action: { text: t('rules.back_to_draft'), onclick: () => navigate(`${place}?draft=1`) } });
  }, { once: true });

  const warn = (event) => {
    if (edit.isChanged) event.preventDefault();
  };
  addEventListener('beforeunload', warn, { signal });
}

function emptyHint() {
  return h('p', { class: 'muted small-text pad-inline' }, t('rules.new_hint'));
}


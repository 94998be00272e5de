// A chart over time. The server draws it (/api/data/chart.svg) and says what it has drawn; here are the
// values under the pointer, zooming and moving by asking for the new range, and what comes in live, drawn
// over it until the server draws anew.

import { ApiError, request } from './api.js';
import { fill, h, s } from './dom.js';
import { currentLanguage, t, word } from './i18n.js';
import { theme } from './settings.js';
import { dateTime, reading, zone } from './time.js';
import { button, debounce, errorState, iconButton, segmented, throttle } from './ui.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
export const PRESETS = [['15m', 15 * MINUTE], ['1h', HOUR], ['6h', 6 * HOUR], ['24h', DAY], ['7d', 7 * DAY], ['30d', 30 * DAY]];
const SPAN_MIN = 10_000;
const SPAN_MAX = 3_660 * DAY;
/// A live chart leaves so much room at its right for what comes in.
const AHEAD = 0.02;
const REDRAW_MIN_MS = 8_000;
const REDRAW_MAX_MS = 60_000;
const LIVE_POINTS_MAX = 600;

const spanOf = (preset) => PRESETS.find(([key]) => key === preset)?.[1] ?? DAY;

/**
 * `sensors`: numbers. `preset`: one of PRESETS, moving with the time; or `from` and `to` (ms).
 * `onRange(range)` is told of each change, `onDrawn(series)` of each drawing. Returns {element, setSensors, push(reading), range(), reload}.
 */
export function chart({ sensors, preset = '24h', from, to, height = 320, bands = true, markers = true, controls = true, signal, onRange, onDrawn, label }) {
  let shown = [...sensors];
  let range = from && to ? { from, to } : { preset };
  let drawn = null;
  let running = null;
  let timer = 0;
  let at = null;
  const live = new Map();

  const picture = h('div', { class: 'chart-picture' });
  const over = s('svg', { class: 'chart-over', 'aria-hidden': 'true' });
  const tip = h('div', { class: 'chart-tip', hidden: true });
  const told = h('div', { class: 'sr-only', 'aria-live': 'polite' });
  const note = h('div', { class: 'chart-note', hidden: true });
  const plot = h('div', {
    class: 'chart-plot', tabindex: '0', role: 'application', 'aria-roledescription': t('chart.role'), 'aria-label': label || t('chart.label'), style: { height: `${height}px` },
  }, picture, over, tip, note);
  const bar = h('div', { class: 'chart-bar' });
  const element = h('figure', { class: 'chart', 'aria-busy': 'true' }, controls && bar, plot, told);

  // --- The range

  const isLive = () => Boolean(range.preset);

  function bounds() {
    if (!isLive()) return range;
    const span = spanOf(range.preset);
    const now = Date.now();
    return { from: now - span, to: now + span * AHEAD };
  }

  function setRange(next, { isSoon = false } = {}) {
    range = next;
    live.clear();
    showBar();
    onRange?.(range);
    if (isSoon) {
      preview();
      later();
    } else {
      reload();
    }
  }

  function zoom(factor, centre = 0.5) {
    const { from: left, to: right } = bounds();
    const span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, (right - left) * factor));
    const middle = left + (right - left) * centre;
    setRange({ from: Math.round(middle - span * centre), to: Math.round(middle + span * (1 - centre)) }, { isSoon: true });
  }

  function move(share) {
    const { from: left, to: right } = bounds();
    const by = (right - left) * share;
    setRange({ from: Math.round(left + by), to: Math.round(right + by) }, { isSoon: true });
  }

  /** The picture that is there, stretched to the new range until the right one comes. */
  function preview() {
    const svg = picture.querySelector('svg');
    if (!svg || !drawn) return;
    const { from: left, to: right } = bounds();
    const scale = (drawn.to - drawn.from) / (right - left);
    const x = drawn.x - scale * (drawn.x + ((left - drawn.from) / (drawn.to - drawn.from)) * drawn.width);
    svg.style.transform = `matrix(${scale}, 0, 0, 1, ${x}, 0)`;
    over.replaceChildren();
    tip.hidden = true;
  }

  function showBar() {
    if (!controls) return;
    const focused = bar.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') || document.activeElement.textContent : null;
    fill(bar,
      segmented(PRESETS.map(([key]) => [key, t(`chart.preset_${key}`)]), range.preset ?? '', (key) => setRange({ preset: key }), t('chart.range')),
      h('span', { class: 'chart-steps' },
        iconButton('left', t('chart.earlier'), { kind: 'plain', onclick: () => move(-0.5) }),
        iconButton('right', t('chart.later'), { kind: 'plain', disabled: isLive(), onclick: () => move(0.5) }),
        iconButton('zoom-in', t('chart.zoom_in'), { kind: 'plain', onclick: () => zoom(0.5) }),
        iconButton('zoom-out', t('chart.zoom_out'), { kind: 'plain', onclick: () => zoom(2) })),
      h('span', { class: 'chart-range tabular muted' }, isLive() ? null : `${dateTime(range.from, 'minute')} – ${dateTime(range.to, 'minute')}`),
      !isLive() && button(t('chart.now'), { small: true, onclick: () => setRange({ preset }) }));
    if (focused) [...bar.querySelectorAll('button')].find((one) => (one.getAttribute('aria-label') || one.textContent) === focused)?.focus();
  }

  // --- Reading and showing

  async function reload() {
    running?.abort();
    clearTimeout(timer);
    later.cancel();
    if (signal?.aborted) return;
    if (shown.length === 0) {
      drawn = null;
      fill(picture);
      over.replaceChildren();
      say(t('chart.none'));
      return;
    }
    const mine = new AbortController();
    running = mine;
    const width = Math.max(240, Math.round(plot.clientWidth));
    const { from: left, to: right } = bounds();
    element.setAttribute('aria-busy', 'true');
    try {
      const answer = await request('GET', 'api/data/chart.svg', {
        signal: mine.signal,
        query: {
          sensors: shown.join(','), from: new Date(left).toISOString(), to: new Date(right).toISOString(), width, height,
          theme: theme(), bands, markers, locale: currentLanguage(), time_zone: zone(),
        },
      });
      const text = await answer.text();
      if (mine.signal.aborted) return;
      show(text);
    } catch (error) {
      if (mine.signal.aborted || signal?.aborted) return;
      if (error instanceof ApiError && error.status === 404) element.hidden = true;
      else if (error instanceof ApiError && error.status === 422) fail(t('chart.two_units'));
      else if (!drawn) fill(picture, errorState(error, reload));
    } finally {
      if (running === mine) {
        element.removeAttribute('aria-busy');
        plan();
      }
    }
  }

  const later = debounce(reload, 140);

  /** A live chart is drawn anew every so often; one of the past stays. */
  function plan() {
    clearTimeout(timer);
    if (!isLive() || signal?.aborted) return;
    const pause = Math.min(REDRAW_MAX_MS, Math.max(REDRAW_MIN_MS, spanOf(range.preset) * AHEAD * 0.5));
    timer = setTimeout(() => (document.hidden || isHeld ? plan() : reload()), pause);
  }

  function say(text) {
    note.hidden = !text;
    note.textContent = text || '';
  }

  function fail(text) {
    drawn = null;
    fill(picture);
    over.replaceChildren();
    say(text);
  }

  function show(text) {
    const svg = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
    if (svg.localName !== 'svg') throw new Error(t('chart.unreadable'));
    for (const odd of svg.querySelectorAll('script, foreignObject')) odd.remove();
    const data = svg.querySelector('metadata');
    const meta = JSON.parse(data?.textContent || '{}');
    data?.remove();
    const [x, y, width, tall] = (svg.dataset.plot || '0,0,0,0').split(',').map(Number);
    drawn = { x, y, width, height: tall, from: Number(svg.dataset.from), to: Number(svg.dataset.to), series: meta.series || [], axes: meta.axes || null, markers: meta.markers || [], bucket: meta.bucket_ms || 0 };
    svg.setAttribute('aria-hidden', 'true');
    svg.removeAttribute('role');
    const node = document.adoptNode(svg);
    picture.replaceChildren(node);
    // The plot is told in pixels; how fine the drawing's own units are is its affair.
    over.setAttribute('viewBox', `0 0 ${parseFloat(svg.getAttribute('width'))} ${parseFloat(svg.getAttribute('height'))}`);
    for (const [id, points] of live) live.set(id, points.filter(([when]) => when > lastAt(id)));
    say(drawn.series.some((one) => one.points.length) || [...live.values()].some((points) => points.length) ? '' : t('chart.empty'));
    draw();
    onDrawn?.(drawn.series);
  }

  function lastAt(id) {
    const points = drawn?.series.find((one) => one.sensor_id === id)?.points;
    return points?.length ? points[points.length - 1][0] : 0;
  }

  // --- What is drawn over it

  const px = (when) => drawn.x + ((when - drawn.from) / (drawn.to - drawn.from)) * drawn.width;

  function py(value, axis) {
    const scale = drawn.axes?.[axis];
    if (!scale || value === null || value === undefined) return null;
    return drawn.y + drawn.height - ((value - scale.low) / (scale.high - scale.low)) * drawn.height;
  }

  function draw() {
    over.replaceChildren();
    if (!drawn) return;
    for (const one of drawn.series) drawLive(one);
    if (at !== null) cross();
  }

  function drawLive(one) {
    const points = live.get(one.sensor_id) || [];
    if (points.length === 0 || !drawn.axes) return;
    const before = one.points[one.points.length - 1];
    const line = before && before[2] !== null && points[0][0] - before[0] < Math.max(5 * MINUTE, drawn.bucket * 3) ? [[before[0], before[2]], ...points] : points;
    const path = line.map(([when, value], index) => `${index ? 'L' : 'M'}${px(when).toFixed(1)} ${py(value, one.axis).toFixed(1)}`).join('');
    const [when, value] = points[points.length - 1];
    over.append(s('path', { d: path, fill: 'none', stroke: one.color, 'stroke-width': 1.6, 'stroke-linejoin': 'round' }));
    over.append(s('circle', { class: 'chart-head', cx: px(when), cy: py(value, one.axis), r: 3.5, fill: one.color }));
  }

  /** A reading from the stream. */
  function push(data) {
    if (!isLive() || !shown.includes(data.sensor_id) || data.value === null || data.value === undefined) return;
    const when = Date.parse(data.event_time);
    const points = live.get(data.sensor_id) || [];
    if (when <= lastAt(data.sensor_id) || (points.length && when <= points[points.length - 1][0])) return;
    points.push([when, data.value]);
    if (points.length > LIVE_POINTS_MAX) points.shift();
    live.set(data.sensor_id, points);
    if (!drawn) return;
    const scale = drawn.axes?.[drawn.series.find((one) => one.sensor_id === data.sensor_id)?.axis];
    if (!scale || when > drawn.to || data.value < scale.low || data.value > scale.high) redraw();
    else {
      say('');
      draw();
    }
  }

  const redraw = throttle(() => {
    if (!document.hidden && !isHeld) reload();
  }, 3_000);

  // --- The values under the pointer

  function nearest(points, when) {
    let [low, high] = [0, points.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < when) low = middle + 1;
      else high = middle;
    }
    const [after, before] = [points[low], points[low - 1]];
    if (before && after && when - before[0] < after[0] - when) return before;
    return after;
  }

  function valuesAt(when) {
    const reach = Math.max(drawn.bucket * 2, ((drawn.to - drawn.from) / drawn.width) * 12);
    return drawn.series.map((one) => {
      const extra = (live.get(one.sensor_id) || []).map(([time, value]) => [time, value, value, value, 'good']);
      const all = extra.length ? [...one.points, ...extra] : one.points;
      const point = all.length ? nearest(all, when) : null;
      return { one, point: point && Math.abs(point[0] - when) <= reach ? point : null };
    });
  }

  function valueText(point, unit) {
    if (!point || point[2] === null) return '–';
    const [, low, mean, high, quality] = point;
    const spread = low !== null && high !== null && low !== high ? ` (${reading(low)} – ${reading(high)})` : '';
    return `${reading(mean)} ${unit || ''}${spread}${quality && quality !== 'good' ? ` · ${word('quality', quality)}` : ''}`;
  }

  function cross() {
    over.querySelector('.chart-cross')?.remove();
    if (!drawn || at === null || at < drawn.from || at > drawn.to) {
      tip.hidden = true;
      return;
    }
    const found = valuesAt(at);
    const first = found.find(({ point }) => point)?.point;
    const x = px(first ? first[0] : at);
    const group = s('g', { class: 'chart-cross' }, s('line', { x1: x, x2: x, y1: drawn.y, y2: drawn.y + drawn.height }));
    for (const { one, point } of found) {
      const y = point && py(point[2], one.axis);
      if (y !== null && y !== undefined) group.append(s('circle', { cx: px(point[0]), cy: y, r: 4, fill: one.color }));
    }
    over.append(group);
    const near = drawn.markers.filter((one) => Math.abs(px(one.at) - x) < 8).slice(0, 3);
    const names = new Set(drawn.series.map((one) => one.device));
    fill(tip, h('div', { class: 'chart-tip-time tabular' }, dateTime(new Date(first ? first[0] : at), drawn.to - drawn.from > 300 * DAY ? 'day' : 'full')),
      found.map(({ one, point }) => h('div', { class: 'chart-tip-row' }, h('span', { class: 'swatch', style: { background: one.color } }),
        h('span', { class: 'chart-tip-name' }, names.size > 1 ? `${one.device} · ${one.sensor}` : one.sensor), h('b', { class: 'tabular' }, valueText(point, one.unit)))),
      near.map((one) => h('div', { class: 'chart-tip-row muted' }, `${t(`chart.marker_${one.kind}`)}: ${word('severity', one.severity)}`)));
    tip.hidden = false;
    const box = plot.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const scale = box.width / (over.viewBox.baseVal.width || box.width);
    const left = x * scale + 12 + size.width > box.width ? x * scale - 12 - size.width : x * scale + 12;
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${drawn.y}px`;
  }

  const speak = debounce(() => {
    if (at === null || !drawn) return;
    told.textContent = [dateTime(new Date(at), 'full'), ...valuesAt(at).map(({ one, point }) => `${one.sensor} ${valueText(point, one.unit)}`)].join('; ');
  }, 400);

  function hide() {
    at = null;
    tip.hidden = true;
    over.querySelector('.chart-cross')?.remove();
  }

  // --- Pointer, wheel, fingers, keys

  const pointers = new Map();
  let drag = null;
  let pinch = null;
  let isHeld = false;

  /** Where in the plot, from 0 to 1. */
  function shareOf(event) {
    const box = plot.getBoundingClientRect();
    const scale = (over.viewBox.baseVal.width || box.width) / box.width;
    return ((event.clientX - box.left) * scale - drawn.x) / drawn.width;
  }

  const inside = (share) => Math.min(1, Math.max(0, share));

  plot.addEventListener('pointerdown', (event) => {
    if (!drawn || event.target.closest('button') || (event.pointerType === 'mouse' && event.button !== 0)) return;
    pointers.set(event.pointerId, event);
    plot.setPointerCapture(event.pointerId);
    isHeld = true;
    if (pointers.size === 2) {
      const [one, two] = [...pointers.values()].map(shareOf);
      pinch = { one, two, ...bounds() };
      drag = null;
      hide();
    } else if (event.pointerType === 'mouse') {
      drag = { start: inside(shareOf(event)), isMove: event.shiftKey, ...bounds() };
    } else {
      point(event);
    }
  });

  plot.addEventListener('pointermove', (event) => {
    if (!drawn) return;
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, event);
    if (pinch && pointers.size === 2) {
      const [one, two] = [...pointers.values()].map(shareOf);
      const span = pinch.to - pinch.from;
      const [first, second] = [pinch.from + pinch.one * span, pinch.from + pinch.two * span];
      const next = Math.min(SPAN_MAX, Math.max(SPAN_MIN, (second - first) / (two - one || 0.001)));
      if (next > 0) {
        range = { from: Math.round(first - one * next), to: Math.round(first - one * next + next) };
        preview();
      }
    } else if (drag?.isMove) {
      const by = (drag.start - shareOf(event)) * (drag.to - drag.from);
      range = { from: Math.round(drag.from + by), to: Math.round(drag.to + by) };
      preview();
    } else if (drag) {
      drag.end = inside(shareOf(event));
      select();
    } else if (event.pointerType === 'mouse' || pointers.has(event.pointerId)) {
      point(event);
    }
  });

  function point(event) {
    const share = shareOf(event);
    if (share < 0 || share > 1) return hide();
    at = drawn.from + share * (drawn.to - drawn.from);
    return cross();
  }

  function select() {
    over.querySelector('.chart-selection')?.remove();
    hide();
    const [left, right] = [Math.min(drag.start, drag.end), Math.max(drag.start, drag.end)];
    over.append(s('rect', { class: 'chart-selection', x: drawn.x + left * drawn.width, y: drawn.y, width: (right - left) * drawn.width, height: drawn.height }));
  }

  function release(event) {
    pointers.delete(event.pointerId);
    if (pointers.size > 0) return;
    isHeld = false;
    over.querySelector('.chart-selection')?.remove();
    const [wasDrag, wasPinch] = [drag, pinch];
    drag = null;
    pinch = null;
    if (!drawn) return;
    if (wasPinch || (wasDrag?.isMove && !isLive())) setRange(range);
    else if (wasDrag?.end !== undefined && Math.abs(wasDrag.end - wasDrag.start) * drawn.width > 6) {
      const [left, right] = [Math.min(wasDrag.start, wasDrag.end), Math.max(wasDrag.start, wasDrag.end)];
      const span = drawn.to - drawn.from;
      const wide = Math.max(SPAN_MIN, (right - left) * span);
      setRange({ from: Math.round(drawn.from + left * span), to: Math.round(drawn.from + left * span + wide) }, { isSoon: true });
    }
  }

  plot.addEventListener('pointerup', release);
  plot.addEventListener('pointercancel', release);
  plot.addEventListener('pointerleave', (event) => {
    if (event.pointerType === 'mouse' && !drag) hide();
  });
  plot.addEventListener('dblclick', () => setRange({ preset }));
  plot.addEventListener('wheel', (event) => {
    if (!drawn) return;
    const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    // The page goes on scrolling, unless the chart was chosen or a key says what is meant.
    if (!isSideways && !event.ctrlKey && !event.metaKey && document.activeElement !== plot) return;
    event.preventDefault();
    if (isSideways) move(event.deltaX / 1_200);
    else zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) * 0.003), inside(shareOf(event)));
  }, { passive: false });
  plot.addEventListener('keydown', (event) => {
    if (!drawn) return;
    const step = Math.max(drawn.bucket, (drawn.to - drawn.from) / 200);
    const keys = {
      ArrowLeft: () => (event.shiftKey ? move(-0.25) : walk(-step)), ArrowRight: () => (event.shiftKey ? move(0.25) : walk(step)),
      Home: () => walk(-Infinity), End: () => walk(Infinity), '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), 0: () => setRange({ preset }), Escape: hide,
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  plot.addEventListener('blur', hide);

  function walk(by) {
    at = Math.min(drawn.to, Math.max(drawn.from, (at ?? drawn.to) + by));
    cross();
    speak();
  }

  let widthBefore = 0;
  const sized = new ResizeObserver(() => {
    const width = plot.clientWidth;
    if (!width || Math.abs(width - widthBefore) < 8) return;
    const isFirst = widthBefore === 0;
    widthBefore = width;
    if (isFirst) reload();
    else later();
  });
  sized.observe(plot);
  const onVisible = () => {
    if (!document.hidden && isLive()) reload();
  };
  document.addEventListener('visibilitychange', onVisible);
  signal?.addEventListener('abort', () => {
    clearTimeout(timer);
    later.cancel();
    sized.disconnect();
    running?.abort();
    document.removeEventListener('visibilitychange', onVisible);
  }, { once: true });
  showBar();

  return {
    element,
    push,
    reload,
    range: () => range,
    bounds,
    setSensors(next) {
      shown = [...next];
      live.clear();
      reload();
    },
  };
}

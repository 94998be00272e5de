// Small drawings made here, of few points: lines, stacked bars, a share of a whole.

import { s } from './dom.js';

/** `points`: [[x, y|null], …] in the order of x; a null, or a step over `gap`, breaks the line. */
export function sparkline(points, { width = 120, height = 32, label, gap = Infinity, from, to } = {}) {
  const values = points.map(([, y]) => y).filter((y) => y !== null && y !== undefined);
  const svg = s('svg', { class: 'spark', viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
  if (values.length === 0) return svg;
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = [low - 1, high + 1];
  const [first, last] = [from ?? points[0][0], to ?? points[points.length - 1][0]];
  const x = (at) => (last === first ? width / 2 : 2 + ((at - first) / (last - first)) * (width - 4));
  const y = (value) => height - 3 - ((value - low) / (high - low)) * (height - 6);
  let path = '';
  let before = null;
  let run = 0;
  const lone = [];
  const end = () => {
    if (run === 1) lone.push(before);
  };
  for (const [at, value] of points) {
    if (value === null || value === undefined) {
      end();
      run = 0;
      before = null;
      continue;
    }
    const isNew = before === null || at - before[0] > gap;
    if (isNew) {
      end();
      run = 0;
    }
    path += `${isNew ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    run += 1;
    before = [at, value];
  }
  end();
  svg.append(s('path', { d: path, 'vector-effect': 'non-scaling-stroke' }));
  for (const [at, value] of lone) svg.append(s('circle', { cx: x(at).toFixed(1), cy: y(value).toFixed(1), r: 1.5 }));
  return svg;
}

/** Bars side by side, each stacked of parts: `bars`: [[accepted, refused], …]. */
export function bars(list, { width = 600, height = 96, label, classes = ['a', 'b'] } = {}) {
  const svg = s('svg', { class: 'bars', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
  const top = Math.max(1, ...list.map((parts) => parts.reduce((sum, part) => sum + part, 0)));
  const step = width / Math.max(1, list.length);
  list.forEach((parts, at) => {
    let y = height;
    parts.forEach((part, kind) => {
      if (!part) return;
      const size = Math.max(1, (part / top) * (height - 2));
      y -= size;
      svg.append(s('rect', { class: classes[kind], x: (at * step).toFixed(2), y: y.toFixed(2), width: Math.max(0.5, step * 0.78).toFixed(2), height: size.toFixed(2) }));
    });
  });
  return svg;
}

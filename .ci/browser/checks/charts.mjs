// Charts as images and as parts of a page.

import assert from 'node:assert/strict';

const MINUTE_MS = 60_000;

/** Readings of the last minutes, with a gap in the middle. */
async function fill(server) {
  const now = Date.now();
  const sensors = [];
  for (let minute = 60; minute > 0; minute -= 1) {
    if (minute > 25 && minute < 35) continue;
    const timestamp = new Date(now - minute * MINUTE_MS).toISOString();
    sensors.push({ sensor_name: 'temperature', value: 20 + Math.sin(minute / 9) * 4, unit: '°C', timestamp });
    sensors.push({ sensor_name: 'humidity', value: 50 + minute / 4, unit: '%', timestamp });
  }
  await server.upload('boiler-3', sensors);
}

const URL_OF_CHART = '/api/data/chart.svg?device_id=boiler-3&last=1h&width=800&height=300';

export default [
  {
    name: 'an img shows it',
    async run(t) {
      await fill(t.server);
      await t.open();
      const size = await t.page.evaluate(async (url) => {
        const image = document.createElement('img');
        image.alt = '';
        image.src = url;
        document.body.replaceChildren(image);
        await image.decode();
        return [image.naturalWidth, image.naturalHeight];
      }, URL_OF_CHART);
      assert.deepEqual(size, [800, 300]);
    },
  },
  {
    name: 'inline it breaks no policy, and tells what it draws',
    async run(t) {
      await fill(t.server);
      await t.open();
      const drawn = await t.page.evaluate(async (url) => {
        const text = await (await fetch(url)).text();
        const { documentElement: svg } = new DOMParser().parseFromString(text, 'image/svg+xml');
        document.body.replaceChildren(document.importNode(svg, true));
        const shown = document.querySelector('svg');
        const [x, y, width, height] = shown.dataset.plot.split(',').map(Number);
        const { left, top } = shown.getBoundingClientRect();
        const lines = [...shown.querySelectorAll('polyline')].map((line) => line.getBoundingClientRect());
        const inside = lines.filter((box) =>
          box.left >= left + x - 1 && box.right <= left + x + width + 1
          && box.top >= top + y - 1 && box.bottom <= top + y + height + 1);
        return {
          data: JSON.parse(shown.querySelector('#series').textContent),
          lines: lines.length,
          inside: inside.length,
          labels: [...shown.querySelectorAll('text')].map((label) => label.textContent.trim()),
        };
      }, URL_OF_CHART);
      const [humidity, temperature] = drawn.data.series;
      assert.deepEqual([humidity.unit, humidity.axis], ['%', 'left']);
      assert.deepEqual([temperature.unit, temperature.axis], ['°C', 'right']);
      assert.ok(temperature.points.length > 40, `${temperature.points.length} points`);
      // Two series, each in two parts, and grid and axes.
      assert.ok(drawn.inside >= 4, `${drawn.inside} of ${drawn.lines} lines are inside the plot`);
      assert.ok(drawn.labels.includes('temperature'), drawn.labels.join(' '));
    },
  },
  {
    name: 'names can hold no script, shown inline or alone',
    async run(t) {
      await fill(t.server);
      const [{ sensor_id: id }] = (await t.server.api('GET', '/api/data/latest?device_id=boiler-3')).items;
      const display_name = '</text><script>globalThis.ran = true</script>';
      await t.server.api('PATCH', `/api/sensors/${id}`, { display_name });
      await t.open();
      const ran = await t.page.evaluate(async (url) => {
        const holder = document.createElement('div');
        holder.innerHTML = await (await fetch(url)).text();
        document.body.replaceChildren(holder);
        await new Promise((done) => setTimeout(done, 100));
        return [globalThis.ran, holder.querySelectorAll('script').length];
      }, URL_OF_CHART);
      assert.deepEqual(ran, [undefined, 0]);
      await t.page.goto(URL_OF_CHART);
      assert.equal(await t.page.evaluate(() => document.querySelectorAll('script').length), 0);
    },
  },
  {
    name: 'a chart that has not changed is not sent again',
    async run(t) {
      await fill(t.server);
      await t.open();
      const statuses = await t.page.evaluate(async (url) => {
        const from = new Date(Date.now() - 7_200_000).toISOString();
        const to = new Date().toISOString();
        const whole = `${url.replace('last=1h', `from=${from}&to=${to}`)}`;
        const first = await fetch(whole, { cache: 'no-store' });
        const tag = first.headers.get('etag');
        const second = await fetch(whole, { cache: 'no-store', headers: { 'If-None-Match': tag } });
        return [first.status, second.status, first.headers.get('cache-control')];
      }, URL_OF_CHART);
      assert.deepEqual(statuses, [200, 304, 'private, no-cache']);
    },
  },
];

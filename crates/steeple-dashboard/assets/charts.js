'use strict';
// The four charts: one crosshair, one zoom, lines where the service began, dots for single requests.
const charts = (() => {
  const { plain, seconds, percent, clock, el, isNumber } = format;
  const TIERS = [['seconds', 1000, 300], ['tens', 10000, 360], ['minutes', 60000, 1440]];
  const whole = (value) => plain(isNumber(value) ? Math.round(value) : value);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

  const DEFINITIONS = [
    {
      id: 'chart-requests', title: 'Requests a second', format: plain, unit: 'count', stacked: true, feed: 'app.layer(steeple.layer())',
      series: [['ok', '2xx, 3xx', 'ok'], ['client_errors', '4xx', 'warn'], ['server_errors', '5xx', 'bad'], ['aborted', 'aborted', 'abort']],
    },
    {
      id: 'chart-times', title: 'Response time', format: seconds, dots: true, feed: 'app.layer(steeple.layer())',
      series: [['p50', 'p50', 'good'], ['p95', 'p95', 'ok'], ['p99', 'p99', 'warn']],
    },
    {
      id: 'chart-users', title: 'Active users and requests in flight', format: whole, unit: 'count', atLeast: 4, feed: 'exchange.set_user(User::new("42"))',
      series: [['users', 'users', 'ok'], ['in_flight', 'in flight', 'warn']],
    },
    {
      id: 'chart-system', title: 'Of the limits', format: percent, atLeast: 1, feed: '/proc and control groups, on Linux',
      series: [['cpu', 'CPU', 'ok'], ['throttled', 'throttled', 'bad'], ['memory', 'memory', 'good'], ['disk', 'disk', 'abort']],
    },
  ];

  let store = {};
  let instead = null;
  let drawn = [];
  let marks = { deploys: [], dots: [] };
  const on = { zoom: () => {}, open: () => {} };

  /** Takes a frame's columns: all of them, or those that are newer. */
  const take = (frame) => {
    if (frame.whole) store = {};
    for (const [name, , room] of TIERS) {
      const more = frame[name];
      if (!more) continue;
      const kept = store[name] || (store[name] = {});
      const last = kept.t && kept.t.length ? kept.t[kept.t.length - 1] : 0;
      const from = more.t.findIndex((t) => t > last);
      if (from < 0) continue;
      for (const key of Object.keys(more)) {
        const joined = (kept[key] || []).concat(more[key].slice(from));
        kept[key] = joined.length > room ? joined.slice(joined.length - room) : joined;
      }
    }
  };

  /** Draws these columns in place of the frames; `null`: the frames again. */
  const show = (columns, step) => { instead = columns && { columns, step: step * 1000 }; };

  /** The columns between two times, at each moment from the finest tier that has it; a gap is a gap. */
  const between = (from, to, keys) => {
    const span = to - from;
    const points = [];
    let covered = [];
    for (const [name, step] of instead ? [['instead', instead.step]] : TIERS) {
      const columns = instead ? instead.columns : store[name];
      if (!columns || (!instead && name !== 'minutes' && span > step * 760)) continue;
      const runs = [];
      columns.t.forEach((t, i) => {
        const run = runs[runs.length - 1];
        if (run && t - run[1] <= 3.5 * step) run[1] = t;
        else runs.push([t, t]);
        if (t >= from - step && t <= to + step && !covered.some(([begin, end]) => t > begin && t - step < end)) points.push({ t, i, columns, step });
      });
      covered = covered.concat(runs);
    }
    points.sort((one, other) => one.t - other.t);
    const out = { t: [] };
    for (const key of keys) out[key] = [];
    points.forEach((point, place) => {
      const before = points[place - 1];
      if (before && point.t - before.t > 3.5 * Math.max(point.step, before.step)) {
        out.t.push((before.t + 1) / 1000);
        for (const key of keys) out[key].push(null);
      }
      out.t.push(point.t / 1000);
      for (const key of keys) out[key].push(point.columns[key] ? point.columns[key][point.i] : null);
    });
    return out;
  };

  /** Numbers at an axis have the same digits, and not more than they need. */
  const ticks = (splits, { format, unit }) => {
    if (unit !== 'count') return splits.map((value) => format(value));
    const step = splits.length > 1 ? splits[1] - splits[0] : 1;
    const digits = [0, 1, 2].find((digits) => Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) < 1e-6) ?? 3;
    return splits.map((value) => (value >= 1e4 ? format(value) : value.toFixed(digits)));
  };

  const stack = (columns, keys) => {
    const sums = new Array(columns.t.length).fill(0);
    const stacked = {};
    // Errors are at the bottom, where they are seen.
    for (const key of [...keys].reverse()) {
      stacked[key] = columns[key].map((value, i) => (value === null ? null : (sums[i] += value)));
    }
    return stacked;
  };

  const draw = (definition) => {
    const figure = document.getElementById(definition.id);
    const keys = definition.series.map(([key]) => key);
    const values = definition.series.map(([, label, tone]) => {
      const mark = el('i');
      mark.style.background = color(tone);
      const value = el('b', {}, '–');
      return { value, key: el('span', { class: 'key' }, mark, label + ' ', value) };
    });
    const body = el('div', {});
    const none = el('p', { class: 'empty', hidden: true }, 'Nothing in this range. Fed by ', el('code', {}, definition.feed));
    const table = el('div', { class: 'scroll' });
    const details = el('details', { ontoggle: () => fill() }, el('summary', {}, 'as a table'), table);
    figure.replaceChildren(
      el('figcaption', {}, el('h2', {}, definition.title), ...values.map((value) => value.key)),
      body,
      none,
      details,
    );
    figure.setAttribute('aria-label', definition.title + '. Arrow keys move, plus and minus zoom, Escape resets.');

    let columns = { t: [] };
    const show = (at) => {
      const place = at === null || at === undefined ? columns.t.length - 1 : at;
      values.forEach(({ value }, i) => {
        const read = place >= 0 ? columns[keys[i]][place] : null;
        value.textContent = definition.format(read);
      });
    };
    const fill = () => {
      if (!details.open) return;
      const head = el('tr', {}, el('th', { scope: 'col', class: 'text' }, 'time'), ...definition.series.map(([, label]) => el('th', { scope: 'col' }, label)));
      const rows = columns.t.map((t, i) => [t, i]).reverse().slice(0, 120).map(([t, i]) =>
        el('tr', {}, el('th', { scope: 'row', class: 'text' }, clock(t * 1000)), ...keys.map((key) => el('td', {}, definition.format(columns[key][i])))));
      table.replaceChildren(el('table', {}, el('caption', { class: 'quiet' }, definition.title + ', the newest first'), el('thead', {}, head), el('tbody', {}, ...rows)));
    };

    const axis = { stroke: color('quiet'), font: '11px system-ui, sans-serif', grid: { stroke: color('grid'), width: 1 }, ticks: { show: false } };
    const lines = (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.font = 11 * devicePixelRatio + 'px system-ui, sans-serif';
      // The latest is named; those before, where there is room.
      let room = Infinity;
      for (const deploy of [...marks.deploys].reverse()) {
        const x = Math.round(u.valToPos(deploy.t / 1000, 'x', true));
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.strokeStyle = ctx.fillStyle = color('quiet');
        ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const right = x > bbox.left + bbox.width * 0.75;
        ctx.textAlign = right ? 'right' : 'left';
        const width = ctx.measureText(deploy.label).width + 8 * devicePixelRatio;
        if ((right ? x : x + width) > room) continue;
        room = right ? x - width : x;
        ctx.fillText(deploy.label, x + (right ? -5 : 5) * devicePixelRatio, bbox.top + 11 * devicePixelRatio);
      }
      if (definition.dots) {
        ctx.setLineDash([]);
        for (const dot of marks.dots) {
          const place = placed(u, dot);
          if (!place) continue;
          ctx.strokeStyle = color(dot.failed ? 'bad' : 'accent');
          ctx.lineWidth = 1.5 * devicePixelRatio;
          ctx.beginPath();
          ctx.arc(place.x, place.y, 3 * devicePixelRatio, 0, 7);
          ctx.stroke();
        }
      }
      ctx.restore();
    };
    const placed = (u, dot) => {
      const x = u.valToPos(dot.t / 1000, 'x', true);
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return null;
      // What is above the scale is at its top.
      return { x, y: Math.max(u.bbox.top + 4 * devicePixelRatio, u.valToPos(dot.value, 'y', true)) };
    };
    const plot = new uPlot({
      width: Math.max(200, figure.clientWidth - 30),
      height: 190,
      pxAlign: 0,
      cursor: { sync: { key: 'steeple' }, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, y: false },
      select: { show: true },
      legend: { show: false },
      scales: {
        x: { time: true, auto: false },
        y: { range: (_, min, max) => [0, Math.max(isNumber(max) ? max * 1.12 : 0, definition.atLeast || 0) || 1] },
      },
      axes: [
        { ...axis, space: 70, size: 26, values: (u, splits) => splits.map((t) => clock(t * 1000).slice(0, u.scales.x.max - u.scales.x.min < 400 ? 8 : 5)) },
        { ...axis, size: 62, space: 34, values: (_, splits) => ticks(splits, definition) },
      ],
      series: [{}, ...definition.series.map(([, label, tone]) => ({
        label, stroke: color(tone), width: 1.5, spanGaps: false, points: { show: false },
        fill: definition.stacked ? color(tone) + color('fill') : undefined,
      }))],
      hooks: {
        draw: [lines],
        setCursor: [(u) => show(u.cursor.idx)],
        setSelect: [(u) => {
          if (u.select.width > 4) {
            const [from, to] = [u.select.left, u.select.left + u.select.width].map((x) => u.posToVal(x, 'x') * 1000);
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            on.zoom(from, to);
          }
        }],
      },
    }, [[], ...keys.map(() => [])], body);
    plot.over.addEventListener('dblclick', () => on.zoom(null, null));
    if (definition.dots) {
      plot.over.addEventListener('click', (event) => {
        const box = plot.over.getBoundingClientRect();
        let nearest = null;
        for (const dot of marks.dots) {
          const place = placed(plot, dot);
          if (!place) continue;
          const dx = place.x / devicePixelRatio - plot.bbox.left / devicePixelRatio - (event.clientX - box.left);
          const dy = place.y / devicePixelRatio - plot.bbox.top / devicePixelRatio - (event.clientY - box.top);
          const distance = Math.hypot(dx, dy);
          if (distance < 12 && (!nearest || distance < nearest.distance)) nearest = { distance, dot };
        }
        if (nearest) on.open(nearest.dot.id);
      });
    }
    figure.onkeydown = (event) => {
      const { min, max } = plot.scales.x;
      const span = (max - min) * 1000;
      const move = { ArrowLeft: [-0.25, -0.25], ArrowRight: [0.25, 0.25], '+': [0.25, -0.25], '=': [0.25, -0.25], '-': [-0.5, 0.5] }[event.key];
      if (event.key === 'Escape') on.zoom(null, null);
      else if (move && event.target === figure) on.zoom(min * 1000 + move[0] * span, max * 1000 + move[1] * span);
      else return;
      event.preventDefault();
    };
    const update = (from, to) => {
      columns = between(from, to, keys);
      none.hidden = keys.some((key) => columns[key].some((value) => value));
      const shown = definition.stacked ? stack(columns, keys) : columns;
      plot.batch(() => {
        plot.setData([columns.t, ...keys.map((key) => shown[key])], false);
        plot.setScale('x', { min: from / 1000, max: to / 1000 });
      });
      if (plot.cursor.idx === null || plot.cursor.left < 0) show(null);
      fill();
    };
    const resize = () => plot.setSize({ width: Math.max(200, figure.clientWidth - 30), height: 190 });
    return { update, resize, destroy: () => plot.destroy() };
  };

  const build = () => {
    drawn.forEach((chart) => chart.destroy());
    drawn = DEFINITIONS.map(draw);
  };
  const update = (from, to) => drawn.forEach((chart) => chart.update(from, to));
  let pending = 0;
  addEventListener('resize', () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => drawn.forEach((chart) => chart.resize()));
  });
  const mark = (deploys, dots) => {
    marks = { deploys: deploys || [], dots };
    // The lines are pixels: who cannot see them has their texts.
    for (const { id } of DEFINITIONS) document.getElementById(id).dataset.marks = marks.deploys.map((deploy) => deploy.label + ' ' + clock(deploy.t)).join(', ');
  };
  /** The values of one column in the last while: for a sparkline. */
  const lately = (key, ms, now) => between(now - ms, now, [key])[key];
  return { take, show, build, update, mark, lately, on };
})();

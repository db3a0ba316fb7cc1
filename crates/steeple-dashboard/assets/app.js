'use strict';
// The page: what a frame says is put where it belongs. Nothing here makes markup from text.
(() => {
  const { plain, seconds, percent, bytes, span, clock, unit, el, isNumber } = format;
  const $ = (id) => document.getElementById(id);
  const RANGES = { '5m': 300e3, '1h': 3600e3, '24h': 86400e3 };
  const data = {};
  let offset = 0;
  let received = 0;
  let live = true;
  let boots = [];
  let view = read();

  /* The address keeps what is looked at. */
  function read() {
    const hash = new URLSearchParams(location.hash.slice(1));
    const time = (name) => (Number.isFinite(Number(hash.get(name))) && hash.get(name) ? Number(hash.get(name)) : null);
    return {
      range: RANGES[hash.get('range')] ? hash.get('range') : '', from: time('from'), to: time('to'),
      replica: hash.get('replica') || '', route: hash.get('route') || '', sort: hash.get('sort') || 'requests', request: hash.get('request') || '', list: hash.get('list') === 'slow' ? 'slow' : 'failed',
    };
  }
  function write(change) {
    Object.assign(view, change);
    const hash = new URLSearchParams();
    for (const [name, value] of Object.entries(view)) {
      if (value !== null && value !== '') hash.set(name, value);
    }
    history.replaceState(null, '', '#' + hash);
    draw();
    askFleet();
  }
  addEventListener('hashchange', () => {
    if (!location.hash.includes('=')) {
      // A link to a part of the page: it was followed, the view stays.
      const target = $(location.hash.slice(1));
      if (location.hash === '#failed') view.list = 'failed';
      write({});
      if (target) target.scrollIntoView();
      return;
    }
    view = read();
    draw();
    askFleet();
  });

  /* Frames. */
  function take(frame) {
    ended = ended && frame.boot === data.boot;
    received = Date.now();
    offset = frame.now - received;
    if (frame.boot !== data.boot) {
      // One that was here before: there are several, and each answer may be of another one.
      if (boots.includes(frame.boot)) data.replicas = true;
      boots = boots.concat(frame.boot).slice(-8);
      if (data.boot && !frame.whole) return connect();
    }
    Object.assign(data, frame, { slow: frame.slow || data.slow, requests: frame.requests || data.requests });
    if (frame.slow) data.routes = frame.real_time.routes;
    charts.take(frame);
    if (live) draw();
    if (frame.whole) askFleet();
  }

  /* All instances: the server asks Prometheus, this page asks the server. */
  const fleetOn = () => Boolean(data.has_fleet) && view.replica !== 'self';
  let fleet = {};
  let asking = 0;
  let asked = '';
  function fleetQuery() {
    const query = new URLSearchParams(view.from && view.to ? { from: view.from, to: view.to } : { range: RANGES[shown()] / 1000 });
    if (view.replica) query.set('replica', view.replica);
    return String(query);
  }
  function askFleet(again) {
    if (!fleetOn() || document.hidden) return clearTimeout(asking);
    const query = fleetQuery();
    if (query === asked && !again) return undefined;
    clearTimeout(asking);
    asked = query;
    return fetch('fleet?' + query, { cache: 'no-store' })
      .then((response) => {
        if (!response.ok) throw new Error(String(response.status));
        return response.json();
      })
      .then((answer) => {
        if (query !== asked) return;
        fleet = { ...(answer.columns ? {} : fleet), ...answer };
        if (live) draw();
      }, () => tick())
      .then(() => { if (query === asked) asking = setTimeout(() => askFleet(true), Math.min(60, Math.max(5, fleet.step || 10)) * 1000); });
  }
  /* What the numbers are of: this process, or all that Prometheus knows. */
  const UNKNOWN = { real_time: {}, routes: [], system: {} };
  function numbers() {
    if (!fleetOn()) return { real_time: data.real_time, routes: data.routes || [], system: data.system, hour: (data.slow || {}).hour, day: (data.slow || {}).day };
    return fleet.columns ? { ...fleet, routes: fleet.real_time.routes } : UNKNOWN;
  }

  let source = null;
  let polling = 0;
  let failures = 0;
  let ended = false;
  function disconnect() {
    clearTimeout(polling);
    if (source) source.close();
    source = null;
  }
  function connect() {
    disconnect();
    if (document.hidden) return;
    source = new EventSource('stream');
    source.onmessage = (event) => {
      failures = 0;
      ended = false;
      take(JSON.parse(event.data));
    };
    source.addEventListener('end', () => {
      ended = true;
      tick();
    });
    source.onerror = () => {
      failures += 1;
      // No room for a stream, or a proxy that has none: ask every few seconds, and try again once in a while.
      disconnect();
      poll(failures);
    };
  }
  function poll(times) {
    const wait = data.boot ? 5000 : 1000;
    fetch('frame' + (data.cursor ? '?since=' + encodeURIComponent(data.cursor) : ''), { cache: 'no-store' })
      .then((response) => {
        if (response.status === 401 || response.status === 403) data.signed_out = true;
        if (!response.ok) throw new Error(String(response.status));
        return response.json();
      })
      .then(take, () => tick())
      .then(() => { polling = setTimeout(() => (times % 12 === 0 ? connect() : poll(times + 1)), wait); });
  }
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return disconnect();
    askFleet(true);
    return connect();
  });
  // Streams stay with one instance. A few questions beside it find out whether there are others.
  for (const wait of [2000, 5000, 9000, 30000]) {
    setTimeout(() => {
      if (!data.cursor || document.hidden) return;
      fetch('frame?since=' + encodeURIComponent(data.cursor), { cache: 'no-store' })
        .then((response) => response.json())
        .then((frame) => {
          if (frame.boot !== data.boot && frame.instance !== data.instance) data.replicas = true;
          tick();
        })
        .catch(() => {});
    }, wait);
  }

  /* Once a second: ages. */
  function tick() {
    const age = Date.now() - received;
    const lost = received > 0 && age > 25000;
    const fleetAge = fleet.asked ? Date.now() + offset - fleet.asked : 0;
    const old = fleetOn() && (Boolean(fleet.error) || fleetAge > Math.max(60000, 3000 * (fleet.step || 0)));
    // What is late is grey: all of the page, or what is asked of Prometheus.
    document.body.classList.toggle('late', lost || old);
    document.body.classList.toggle('lost', lost);
    const state = !received ? 'connecting' : lost ? 'lost' : live ? 'live' : 'paused';
    $('dot').className = 'dot ' + { live: 'live', lost: 'lost', paused: 'late' }[state];
    $('state').textContent = { connecting: 'connecting', live: source ? 'live' : 'every 5 s', paused: 'paused', lost: 'data is ' + span(age) + ' old' }[state];
    if (data.started) $('uptime').textContent = span(Date.now() + offset - data.started);
    const notices = [];
    if (data.signed_out) notices.push('The sign-in has ended. Load the page again to sign in.');
    if (data.replicas) notices.push('Several instances answer at this address, and this page shows one of them: ' + data.instance + '. Use an address of one instance, a balancer with affinity, or Grafana with the file from grafana.json.');
    if (old) notices.push('Prometheus does not answer' + (fleet.error ? ' (' + fleet.error + ')' : '') + (fleet.asked ? '. What is shown of all instances is ' + span(fleetAge) + ' old.' : '. Nothing is known of all instances yet.'));
    if (ended && !lost) notices.push('This instance is shutting down. The page goes on with the next one at this address.');
    if (lost && !data.signed_out) notices.push('The service does not answer. What is shown is ' + span(age) + ' old.');
    $('notice').hidden = notices.length === 0;
    $('notice').textContent = notices.join(' ');
  }
  setInterval(tick, 1000);

  /* Drawing. */
  const now = () => received + offset;
  // Without a choice: what a young process has, else an hour.
  const shown = () => view.range || (now() - data.started < 900e3 ? '5m' : '1h');
  function interval() {
    if (view.from && view.to) return [view.from, view.to];
    return [now() - RANGES[shown()], now()];
  }
  const put = (id, ...children) => {
    const place = $(id);
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    place.replaceChildren(...children.filter(Boolean));
    if (focused) {
      const again = place.querySelector('[data-key="' + CSS.escape(focused) + '"]');
      if (again) again.focus();
    }
  };
  const head = (title, ...more) => el('div', { class: 'head' }, el('h2', {}, title), ...more);
  /* What Prometheus cannot know. */
  const own = () => (fleetOn() ? el('span', { class: 'chip', title: 'Prometheus does not know this' }, 'this replica: ' + data.instance) : null);
  const empty = (text, code) => el('p', { class: 'empty' }, text, code ? ' ' : '', code ? el('code', {}, code) : null);

  function draw() {
    if (!data.boot) return;
    document.title = data.service + (data.environment ? ' · ' + data.environment : '');
    $('service').textContent = data.service;
    $('version').textContent = data.version || '';
    $('instance').textContent = data.instance;
    $('environment').hidden = !data.environment;
    $('environment').textContent = data.environment || '';
    for (const button of document.querySelectorAll('[data-range]')) {
      button.classList.toggle('on', !view.from && button.dataset.range === shown());
      button.setAttribute('aria-pressed', String(!view.from && button.dataset.range === shown()));
    }
    $('zoom').hidden = !view.from;
    replicas();
    const all = fleetOn();
    charts.show(all ? fleet.columns || { t: [] } : null, fleet.step || 15);
    const lists = data.requests || { slow: [], failed: [], activity: [] };
    const dots = new Map();
    for (const [list, failed] of [[lists.slow.slice(0, 30), false], [lists.failed.slice(0, 30), true]]) {
      for (const request of list) dots.set(key(request), { t: request.unix_ms, value: request.seconds, failed: failed || request.status >= 500, id: key(request) });
    }
    // Single requests are known of this process alone.
    charts.mark(all ? fleet.deploys || [] : data.deploys, all ? [] : [...dots.values()]);
    charts.update(...interval());
    tick();
    tiles();
    alerts();
    routes();
    groups(lists);
    requests(lists);
    activity(lists);
    business();
    system();
    sinks();
    settings();
  }

  function replicas() {
    const select = $('replica');
    select.hidden = !data.has_fleet;
    if (!data.has_fleet) return;
    const there = fleet.replicas || [];
    const title = (replica) => replica.instance + (replica.version ? ', ' + replica.version : '');
    const options = [['', there.length ? 'all ' + there.length + ' instances' : 'all instances'], ...there.map((replica) => [replica.instance, title(replica)]), ['self', 'this process']];
    // One that is gone stays chosen.
    if (!options.some(([value]) => value === view.replica)) options.push([view.replica, view.replica]);
    if (JSON.stringify(options) !== select.dataset.options) {
      select.dataset.options = JSON.stringify(options);
      select.replaceChildren(...options.map(([value, text]) => el('option', { value }, text)));
    }
    select.value = view.replica;
  }

  function tiles() {
    const { real_time } = numbers();
    const compare = (trend, show) => {
      if (!trend) return 'not known yet';
      if (!isNumber(trend.hour_ago)) return 'an hour ago: not known';
      if (!isNumber(trend.now)) return 'an hour ago: ' + show(trend.hour_ago);
      const change = trend.hour_ago > 0 ? (trend.now / trend.hour_ago - 1) * 100 : 0;
      const sign = change >= 0 ? '+' : '−';
      return 'an hour ago: ' + show(trend.hour_ago) + (trend.hour_ago > 0 && Math.abs(change) < 1000 ? ' (' + sign + Math.abs(change).toFixed(0) + ' %)' : '');
    };
    const rule = (name) => (fleetOn() ? (fleet.firing || []).find((alert) => alert.name === name) : data.alerts.rules.find((rule) => rule.name === name && rule.is_firing));
    const all = [
      ['active_users', real_time.active_users, (value) => plain(isNumber(value) ? Math.round(value) : value), 'users', rule('low_user_activity')],
      ['requests_per_minute', real_time.requests_per_minute, plain, 'requests'],
      ['error_ratio', real_time.error_ratio, percent, 'error_ratio', rule('high_error_rate')],
      ['response_time', real_time.p95, seconds, 'p95', rule('slow_response_time')],
      ['in_flight', real_time.in_flight, plain, 'in_flight'],
    ];
    for (const [panel, trend, show, column, firing] of all) {
      const tile = document.querySelector('.tile[data-panel="' + panel + '"]');
      tile.classList.toggle('over', Boolean(firing));
      tile.querySelector('b').textContent = show(trend && trend.now);
      let text = compare(trend, show);
      if (panel === 'active_users' && trend && !trend.now && !trend.hour_ago) text = 'fed by exchange.set_user(User::new(…))';
      const more = panel === 'response_time' && trend ? 'mean ' + seconds(real_time.mean.now) + ', p50 ' + seconds(real_time.p50.now) : '';
      tile.querySelector('small').replaceChildren(el('span', {}, text), ' ', more ? el('span', {}, more) : '');
      spark(tile.querySelector('svg'), charts.lately(column, fleetOn() ? 3600e3 : Math.min(3600e3, Math.max(60e3, now() - data.started)), now()));
    }
  }
  function spark(svg, values) {
    const known = values.filter(isNumber);
    const max = Math.max(...known, 1e-9);
    svg.setAttribute('viewBox', '0 0 100 30');
    svg.setAttribute('preserveAspectRatio', 'none');
    let path = '';
    let pen = 'M';
    values.forEach((value, i) => {
      if (!isNumber(value)) { pen = 'M'; return; }
      path += pen + ((i * 100) / Math.max(1, values.length - 1)).toFixed(1) + ' ' + (29 - (value / max) * 27).toFixed(1);
      pen = 'L';
    });
    let line = svg.firstElementChild;
    if (!line) {
      line = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      line.setAttribute('class', 'spark');
      svg.append(line);
    }
    line.setAttribute('d', known.length > 1 ? path : '');
  }

  /* Actions. */
  function act(path, body, button) {
    button.disabled = true;
    fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      .then((response) => { button.textContent = response.ok ? 'done' : 'refused (' + response.status + ')'; })
      .catch(() => { button.textContent = 'not sent'; });
  }
  function alerts() {
    const { rules, silences, has_rules } = data.alerts;
    const firing = rules.filter((rule) => rule.is_firing);
    const elsewhere = fleetOn() ? (fleet.firing || []).map((alert) => el('div', { class: 'alert ' + alert.severity },
      el('span', { class: 'badge bad' }, alert.severity || 'fires'), el('b', {}, alert.name), el('span', {}, alert.instance),
      el('span', { class: 'quiet' }, 'fires in Prometheus: acknowledge and silence it in Alertmanager'))) : [];
    const cards = firing.map((rule) => {
      const silence = silences.find((silence) => silence.rule === rule.name);
      const state = silence ? 'silenced until ' + clock(silence.until).slice(0, 5) + ' by ' + silence.author : rule.is_acknowledged ? 'acknowledged' : '';
      return el('div', { class: 'alert ' + rule.severity + (silence ? ' silenced' : rule.is_acknowledged ? ' acked' : '') },
        el('span', { class: 'badge bad' }, rule.severity),
        el('b', {}, rule.name),
        el('span', {}, unit(rule.value, rule.unit), el('span', { class: 'quiet' }, ' threshold ' + unit(rule.threshold, rule.unit))),
        el('span', { class: 'quiet' }, rule.since ? 'since ' + clock(rule.since).slice(0, 5) + ', ' + span(Date.now() + offset - rule.since) : ''),
        evidence(rule),
        el('span', { class: 'grow' }),
        state ? el('span', { class: 'quiet' }, state) : null,
        rule.is_acknowledged || silence ? null : el('button', { type: 'button', 'data-key': 'ack ' + rule.name, onclick: (event) => act('acknowledge', { rule: rule.name }, event.target) }, 'acknowledge'),
        silence ? null : el('button', { type: 'button', 'data-key': 'silence ' + rule.name, onclick: (event) => act('silence', { rule: rule.name, minutes: 60 }, event.target) }, 'silence 1 h'));
    });
    if (!has_rules) return put('alerts', ...elsewhere, empty('No alert rule is set.', 'steeple.alerts(|alerts| alerts.rules(Rules::mission().guarded()))'));
    const open = $('alerts').querySelector('details[open]');
    const pending = rules.filter((rule) => rule.phase === 'pending').length;
    const list = el('details', { class: 'calm', open: Boolean(open) },
      el('summary', {}, (firing.length ? firing.length + ' of ' : 'None of ') + rules.length + (rules.length === 1 ? ' alert fires' : ' alerts fire') + (pending ? ', ' + pending + ' pending' : '')),
      el('table', {}, el('tbody', {}, ...rules.map((rule) => el('tr', {},
        el('th', { scope: 'row', class: 'text' }, rule.name), el('td', {}, rule.phase), el('td', {}, rule.has_data ? unit(rule.value, rule.unit) : 'no data'), el('td', { class: 'quiet optional' }, 'threshold ' + unit(rule.threshold, rule.unit)), el('td', {}, evidence(rule)))))));
    put('alerts', ...elsewhere, ...cards, list);
  }
  /* What explains a rule's number. */
  const ABOUT = { failed: 'failed requests', slow: 'slowest requests', business: 'business', sinks: 'sinks', system: 'system', tiles: 'numbers', 'chart-requests': 'requests', 'chart-users': 'users', 'chart-system': 'limits' };
  function evidence(rule) {
    const list = { failed: 'failed', slow: 'slow' }[rule.about];
    return el('a', { href: list ? '#failed' : '#' + rule.about, 'data-key': 'about ' + rule.name, onclick: list && ((event) => {
      event.preventDefault();
      write({ list, route: rule.route || '' });
      $('requests').scrollIntoView();
    }) }, ABOUT[rule.about]);
  }

  const COLUMNS = [
    ['route', 'route', (row) => row.route], ['requests', 'req/s', (row) => row.rate], ['error_ratio', 'errors', (row) => row.error_ratio],
    ['client', '4xx', (row) => row.client_error_ratio], ['p50', 'p50', (row) => row.p50], ['p95', 'p95', (row) => row.p95], ['change', 'p95 vs 1 h ago', (row) => (row.p95_hour_ago ? row.p95 / row.p95_hour_ago - 1 : null)],
  ];
  const name = (row) => (row.method ? row.method + ' ' : '') + row.route;
  const label = (row) => [el('span', { class: 'method' }, row.method || 'gRPC'), row.route];
  let filter = '';
  const open = new Set();
  function routes() {
    const known = numbers().routes;
    const rows = known.filter((row) => name(row).toLowerCase().includes(filter.toLowerCase()));
    const descending = view.sort !== 'route';
    const by = COLUMNS.find(([id]) => id === view.sort) || COLUMNS[1];
    rows.sort((one, other) => {
      const [a, b] = [by[2](one), by[2](other)];
      if (!descending) return String(a).localeCompare(String(b));
      return (isNumber(b) ? b : -1) - (isNumber(a) ? a : -1);
    });
    let input = $('routes').querySelector('input');
    if (!input) {
      input = el('input', { type: 'search', placeholder: 'filter', 'aria-label': 'Filter routes', oninput: (event) => { filter = event.target.value; routes(); } });
      put('routes', head('Top routes, last 5 minutes', input), el('div', { class: 'scroll tall' }));
    }
    const change = (row) => {
      const value = COLUMNS[6][2](row);
      if (!isNumber(value)) return el('td', { class: 'optional quiet' }, '–');
      return el('td', { class: 'optional ' + (value > 0.25 ? 'up' : value < -0.25 ? 'down' : '') }, (value >= 0 ? '+' : '−') + Math.abs(value * 100).toFixed(0) + ' %');
    };
    const body = rows.slice(0, 50).map((row) => el('tr', { class: 'link', onclick: () => select(row) },
      el('th', { scope: 'row', class: 'text' }, el('a', { href: '#requests', 'data-key': 'route ' + name(row), onclick: (event) => { event.preventDefault(); event.stopPropagation(); select(row); } }, ...label(row))),
      el('td', { title: isNumber(row.requests) ? row.requests + ' requests in 5 minutes' : null }, plain(row.rate)),
      el('td', { class: row.error_ratio > 0.01 ? 'over' : '' }, percent(row.error_ratio)),
      el('td', { class: 'optional' }, percent(row.client_error_ratio)),
      el('td', { class: 'optional' }, seconds(row.p50)),
      el('td', {}, seconds(row.p95)),
      change(row)));
    const heads = COLUMNS.map(([id, title], i) => el('th', {
      scope: 'col', class: (i === 0 ? 'text' : '') + ([3, 4, 6].includes(i) ? ' optional' : ''), 'aria-sort': id === by[0] ? (descending ? 'descending' : 'ascending') : null,
    }, el('button', { type: 'button', 'data-key': 'sort ' + id, onclick: () => write({ sort: id }) }, title)));
    const place = $('routes').lastElementChild;
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const at = place.scrollTop;
    place.replaceChildren(rows.length
      ? el('table', {}, el('thead', {}, el('tr', {}, ...heads)), el('tbody', {}, ...body))
      : empty(filter ? 'No route is called so.' : 'No request yet.', filter || known.length ? null : 'app.layer(steeple.layer())'));
    if (rows.length > 50) place.append(el('p', { class: 'empty' }, 'and ' + (rows.length - 50) + ' more: filter to see them'));
    place.scrollTop = at;
    const again = focused && place.querySelector('[data-key="' + CSS.escape(focused) + '"]');
    if (again) again.focus({ preventScroll: true });
  }
  function select(row) {
    write({ route: view.route === name(row) ? '' : name(row) });
    $('requests').scrollIntoView({ block: 'nearest' });
  }

  function trace(id) {
    if (!id) return null;
    const template = data.slow && data.slow.trace_url;
    return template ? el('a', { href: template.replace('{trace_id}', encodeURIComponent(id)), target: '_blank', rel: 'noopener noreferrer' }, id.slice(0, 8)) : el('code', { title: id }, id.slice(0, 8));
  }
  /* Leads to the failed requests of a route. */
  const only = (route) => el('a', { href: '#failed', 'data-key': 'only ' + route, onclick: (event) => { event.preventDefault(); write({ route, list: 'failed' }); $('requests').scrollIntoView(); } }, route);
  /* What the latest error of a group was caused by. */
  const chain = (of) => (of.length ? of[0].errors.slice(1, 4) : []);
  function groups(lists) {
    const all = (data.slow && data.slow.groups) || [];
    const rows = all.slice(0, 20).map((group) => {
      const of = lists.failed.filter((request) => request.errors.length ? request.errors[0].startsWith(group.kind) : group.route.endsWith(request.route));
      const traces = of.filter((request) => request.trace_id).slice(0, 3).map((request) => trace(request.trace_id));
      return el('li', {},
        el('span', {}, el('b', {}, plain(group.count)), '×'),
        el('span', { class: 'text' },
          group.is_new ? el('span', { class: 'badge new' }, data.version ? 'new since ' + data.version : 'new since start') : null, group.is_new ? ' ' : '',
          el('b', {}, group.kind), group.message ? ': ' + group.message : '',
          ...chain(of).map((cause) => el('span', { class: 'cause quiet' }, 'caused by ' + cause)),
          el('br', {}), only(group.route), el('span', { class: 'quiet' }, ' · first ' + when(group.first_seen) + (group.first_version && !group.is_new ? ' in ' + group.first_version : '') + ', last ' + when(group.last_seen)),
          ...traces.flatMap((link) => [' ', link])));
    });
    put('groups', head('Errors', own()), rows.length ? el('ol', { class: 'lines tall' }, ...rows)
      : data.alerts.has_rules ? empty('No error yet.') : empty('Errors are grouped by the alerts.', 'steeple.alerts(…)'));
  }
  const when = (ms) => (Date.now() + offset - ms < 60e3 ? 'just now' : Date.now() + offset - ms < 86400e3 ? clock(ms).slice(0, 5) : span(Date.now() + offset - ms) + ' ago');

  /* The spans of a trace: asked for once a request is opened, and again until there are some. */
  const spans = new Map();
  function spansOf(trace) {
    const known = spans.get(trace);
    if (known && (known.length || Date.now() - known.at < 3000)) return known;
    const none = Object.assign([], { at: Date.now() });
    spans.set(trace, known || none);
    (known || none).at = Date.now();
    fetch('spans?trace=' + trace, { cache: 'no-store' })
      .then((response) => (response.ok ? response.json() : []))
      .then((found) => {
        if (spans.size > 50) spans.delete(spans.keys().next().value);
        spans.set(trace, Object.assign(found, { at: Date.now() }));
        if (found.length) draw();
      })
      .catch(() => {});
    return known || none;
  }
  function waterfall(request) {
    if (!request.trace_id) return el('p', { class: 'empty' }, 'This request has no trace. ', el('code', {}, 'OTEL_EXPORTER_OTLP_ENDPOINT'));
    if (!data.slow || !data.slow.has_spans) return el('p', { class: 'empty' }, 'Spans are not kept in this process.');
    const found = spansOf(request.trace_id);
    if (!found.length) return el('p', { class: 'empty' }, 'The spans of this trace are not here: not yet, or no longer.');
    const from = Math.min(...found.map((span) => span.start_us));
    const length = Math.max(1, ...found.map((span) => span.start_us + span.micros - from));
    const rows = [];
    const add = (span, depth) => {
      const bar = el('i', { class: span.failed ? 'full' : span.kind === 'client' ? 'high' : '' });
      bar.style.marginLeft = Math.min(99.5, ((span.start_us - from) / length) * 100).toFixed(2) + '%';
      bar.style.width = Math.max(0.5, (span.micros / length) * 100).toFixed(2) + '%';
      const title = el('span', { class: 'text', title: span.attributes.map((pair) => pair.join(' = ')).join('\n') }, span.name, ' ', el('span', { class: 'quiet' }, span.kind));
      title.style.paddingLeft = Math.min(8, depth) + 'em';
      rows.push(el('li', { class: 'span' }, title, el('span', { class: 'bar' }, bar), el('span', { class: span.failed ? 'over' : '' }, seconds(span.micros / 1e6))));
      if (depth < 20) found.filter((child) => child.parent === span.id && child !== span).sort((one, other) => one.start_us - other.start_us).forEach((child) => add(child, depth + 1));
    };
    found.filter((span) => !found.some((parent) => parent.id === span.parent)).sort((one, other) => one.start_us - other.start_us).forEach((span) => add(span, 0));
    return el('ol', { class: 'lines waterfall', 'aria-label': 'Spans of the trace' }, ...rows.slice(0, 100));
  }

  const state = (request) => request.grpc_status || (request.outcome === 'completed' ? String(request.status) : request.outcome);
  const failed = (request) => request.status >= 500 || Boolean(request.grpc_status && request.failed) || ['panicked', 'body_error', 'service_error'].includes(request.outcome);
  const key = (request) => request.request_id || request.unix_ms + ' ' + request.route;
  function requests(lists) {
    const list = lists[view.list].filter((request) => !view.route || name(request) === view.route);
    const tab = (id, title) => el('button', { type: 'button', 'data-key': 'list ' + id, 'aria-pressed': String(view.list === id), onclick: () => write({ list: id }) }, title);
    const rows = list.flatMap((request) => {
      const open = view.request === key(request);
      const toggle = () => write({ request: open ? '' : key(request) });
      const row = el('tr', { class: 'link' + (open ? ' open' : ''), onclick: toggle },
        el('td', { class: 'when left' }, clock(request.unix_ms)),
        el('th', { scope: 'row', class: 'text' }, el('a', { href: '#requests', 'data-key': 'request ' + key(request), 'aria-expanded': String(open), onclick: (event) => { event.preventDefault(); event.stopPropagation(); toggle(); } }, ...label(request))),
        el('td', { class: failed(request) ? 'over' : '' }, state(request)),
        el('td', {}, seconds(request.seconds)),
        el('td', { class: 'optional text' }, request.user || '–'),
        el('td', { class: 'optional left' }, trace(request.trace_id) || '–'));
      if (!open) return [row];
      const pair = (title, value) => (value ? [el('dt', {}, title), el('dd', {}, value)] : []);
      return [row, el('tr', { class: 'detail' }, el('td', { colspan: '6' }, el('dl', {},
        ...pair('ended', new Date(request.unix_ms).toISOString()), ...pair('status', request.status + ', ' + request.outcome), ...pair('took', seconds(request.seconds)), ...pair('user', request.user),
        ...pair('request id', request.request_id && el('code', {}, request.request_id)), ...pair('trace id', request.trace_id && el('code', {}, request.trace_id)),
        ...request.errors.flatMap((error, i) => pair(i ? 'caused by' : 'error', error))), waterfall(request)))];
    });
    const text = view.list === 'failed' ? 'No request has failed.' : 'No slow request in the last hour.';
    const at = $('requests').lastElementChild ? $('requests').lastElementChild.scrollTop : 0;
    put('requests',
      el('div', { class: 'head', id: 'failed' }, el('h2', {}, view.list === 'failed' ? 'Latest failed requests' : 'Slowest requests of the last hour'),
        own(),
        view.route ? el('button', { type: 'button', 'data-key': 'route', onclick: () => write({ route: '' }) }, view.route + ' ×') : null,
        el('div', { class: 'buttons' }, tab('failed', 'failed'), tab('slow', 'slowest'))),
      el('div', { class: 'scroll tall' }, !data.has_requests ? empty('Nothing collects requests.', 'ObserveLayer::new((metrics, requests))')
        : rows.length ? el('table', {}, el('thead', {}, el('tr', {}, ...[['ended', 'left'], ['route', 'text'], ['status', ''], ['took', ''], ['user', 'optional text'], ['trace', 'optional left']].map(([title, style]) => el('th', { scope: 'col', class: style }, title)))), el('tbody', {}, ...rows)) : empty(text)));
    $('requests').lastElementChild.scrollTop = at;
  }
  charts.on.open = (id) => {
    const lists = data.requests || { slow: [], failed: [] };
    write({ request: id, route: '', list: lists.failed.some((request) => key(request) === id) ? 'failed' : 'slow' });
    $('requests').scrollIntoView();
  };
  charts.on.zoom = (from, to) => write(from ? { from: Math.round(from), to: Math.round(to) } : { from: null, to: null });

  function activity(lists) {
    const rows = lists.activity.slice(0, 25).map((request) => el('li', {}, el('span', { class: 'when' }, clock(request.unix_ms)), el('span', { class: 'text' }, ...label(request)), el('span', { class: failed(request) ? 'over' : 'quiet' }, state(request)), el('span', {}, request.user)));
    put('activity', head('User activity', own(), el('span', { class: 'quiet' }, 'a part, while you look')), rows.length ? el('ol', { class: 'lines tall' }, ...rows) : empty('No request of a known user yet.', 'exchange.set_user(User::new("42"))'));
  }

  const money = (minor, currency) => {
    try {
      const shown = new Intl.NumberFormat('en', { style: 'currency', currency });
      return shown.format(minor / 10 ** shown.resolvedOptions().maximumFractionDigits);
    } catch {
      return plain(minor) + ' ' + currency;
    }
  };
  /* A number that says what counts it, when it is opened. */
  const explained = (number, feed) => el('details', { class: 'explained', open: open.has(feed), ontoggle: (event) => (event.target.open ? open.add(feed) : open.delete(feed)) },
    el('summary', { 'data-key': 'why ' + feed }, number), el('small', {}, 'counted by '), el('code', {}, feed));
  function business() {
    const { hour, day } = numbers();
    if (!day || !data.slow) return;
    const figure = (title, of, show) => el('div', {}, el('h3', {}, title),
      ...(isNumber(of(day).value) ? [explained(el('b', {}, show(of(day).value)), of(data.slow.day).feed), ' ', el('small', {}, show(of(hour).value) + ' in 1 h')]
        : [el('span', { class: 'feed' }, el('code', {}, of(day).feed || of(data.slow.day).feed || 'Prometheus has no series'))]));
    const currencies = Object.keys(day.revenue || {});
    const revenue = currencies.length
      ? currencies.map((currency) => el('div', {}, el('h3', {}, 'Revenue'), explained(el('b', {}, money(day.revenue[currency], currency)), data.slow.day.revenue_feed), ' ', el('small', {}, money((hour.revenue || {})[currency] || 0, currency) + ' in 1 h')))
      : [el('div', {}, el('h3', {}, 'Revenue'), el('span', { class: 'feed' }, el('code', {}, data.slow.day.revenue_feed)))];
    put('business', head('Business', el('span', { class: 'quiet' }, day.covers >= 86340 ? 'last 24 h' : 'last ' + span(day.covers * 1000))), el('div', { class: 'figures' },
      figure('New users', (of) => of.new_users, plain), figure('Projects created', (of) => of.projects_created, plain), figure('Tasks completed', (of) => of.tasks_completed, plain),
      ...revenue, figure('Failed payments', (of) => of.payments_failed, plain), figure('Conversion', (of) => of.conversion, percent)));
  }

  function system() {
    const { system } = numbers();
    const meter = (title, ratio, text, feed) => {
      if (!isNumber(ratio)) return el('div', { class: 'meter' }, title, el('span', { class: 'feed' }, feed ? el('code', {}, feed) : 'not known here'), '');
      const bar = el('i', { class: ratio > 0.9 ? 'full' : ratio > 0.75 ? 'high' : '' });
      bar.style.width = Math.min(100, ratio * 100).toFixed(1) + '%';
      return el('div', { class: 'meter' }, feed ? explained(title, feed) : el('a', { href: '#chart-system', 'data-key': 'meter ' + title }, title), el('span', { class: 'bar' }, bar), el('span', { class: 'value' }, text));
    };
    const of = (level, show) => (level ? [level.ratio, isNumber(level.used) ? show(level.used) + ' of ' + show(level.limit) : percent(level.ratio)] : [null, '']);
    put('system', head('System', el('span', { class: 'quiet' }, fleetOn() ? 'the fullest instance' : system.is_limited ? 'limits of the container' : 'limits of the machine')), el('div', { class: 'meters' },
      meter('CPU', ...of(system.cpu, (cores) => cores.toFixed(cores < 10 ? 2 : 1)), null),
      meter('throttled', system.throttled, percent(system.throttled)),
      meter('memory', ...of(system.memory, bytes)), meter('disk', ...of(system.disk, bytes)),
      meter('connections', ...of(system.connections, plain), 'metrics.watch_connections(|| …)'),
      (() => { const row = meter('cache hits', system.cache_hit_ratio, percent(system.cache_hit_ratio), 'metrics.cache()'); const bar = row.querySelector('i'); if (bar) bar.className = ''; return row; })()));
  }

  let outbox = null;
  function askOutbox() {
    if (document.hidden || !data.slow || !data.slow.has_outbox) return;
    fetch('outbox', { cache: 'no-store' })
      .then((response) => (response.ok ? response.json() : null))
      .then((found) => { outbox = found; })
      .catch(() => {});
  }
  setInterval(askOutbox, 10000);
  function letters() {
    const letters = (outbox && outbox.dead_letters) || [];
    const closed = !$('sinks').querySelector('details.dead[open]');
    return letters.length ? el('details', { class: 'dead', open: !closed }, el('summary', { 'data-key': 'dead' }, 'the latest ' + letters.length + ' dead letters'),
      el('ol', { class: 'lines tall' }, ...letters.map((letter) => el('li', {}, el('span', { class: 'when' }, when(letter.at)), el('span', { class: 'text' }, el('b', {}, letter.event), ' ', el('span', { class: 'quiet' }, 'to ' + letter.sink), el('br', {}), el('code', {}, letter.id), el('br', {}), letter.why))))) : null;
  }
  /* A sink's numbers: what waits for it in memory or on disk, what arrived, what did not. */
  function sinks() {
    const { sinks, dropped, has_outbox } = data.slow || { sinks: [], dropped: [] };
    if (has_outbox && !outbox) askOutbox();
    const kept = new Map((has_outbox && outbox ? outbox.sinks : []).map((sink) => [sink.sink, sink]));
    const rows = sinks.map((sink) => {
      const of = kept.get(sink.name);
      const waiting = of ? of.waiting : sink.queued_items;
      const lost = of ? Math.max(of.dead, sink.dropped) : sink.dropped;
      const key = 'steeple_export_items_total{sink="' + sink.name + '"}';
      const why = el('details', { class: 'explained', open: open.has(key), ontoggle: (event) => (event.target.open ? open.add(key) : open.delete(key)) },
        el('summary', { 'data-key': key }, sink.name),
        sink.reason ? el('small', { class: 'over' }, sink.reason, el('br', {})) : null,
        of ? el('small', {}, (outbox.is_durable ? 'events wait on disk' : 'events wait in memory') + (of.dead ? ', ' + plain(of.dead) + ' became dead letters' : '') + (of.in_doubt ? ', ' + plain(of.in_doubt) + ' were sent without an answer' : '') + (of.skipped ? ', ' + plain(of.skipped) + ' were not for it' : ''), el('br', {})) : null,
        el('small', {}, 'counted by '), el('code', {}, key));
      return el('tr', {}, el('th', { scope: 'row', class: 'text' }, why),
        el('td', { class: 'left' }, el('span', { class: 'badge ' + (sink.health === 'ok' ? 'good' : 'bad') }, sink.health)),
        el('td', { title: bytes(of ? of.bytes : sink.queued_bytes) }, plain(waiting), of && of.oldest && waiting ? el('small', {}, el('br', {}), 'since ' + when(of.oldest)) : null),
        el('td', {}, plain(of ? of.delivered : sink.exported)), el('td', { class: lost ? 'over' : '' }, plain(lost)));
    });
    const titles = ['sink', 'state', 'waiting', 'sent', 'lost'].map((title, i) => el('th', { scope: 'col', class: ['text', 'left'][i] }, title));
    put('sinks', head('Sinks and losses', own()), rows.length ? el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, ...titles)), el('tbody', {}, ...rows))) : empty('Nothing is sent anywhere.', 'OTEL_EXPORTER_OTLP_ENDPOINT=…, SENTRY_DSN=…'),
      letters(),
      dropped.length ? el('div', {}, el('h3', {}, 'Lost since the start'), el('ol', { class: 'lines' }, ...dropped.map((loss) => el('li', {}, el('span', { class: 'text' }, loss.sink), explained(el('span', { class: 'over' }, plain(loss.count) + (loss.reason ? ' ' + loss.reason.replaceAll('_', ' ') : '')), 'steeple_…_dropped_total, ' + loss.sink + (loss.reason ? ', ' + loss.reason : '')))))) : rows.length ? el('p', { class: 'empty' }, 'Nothing was lost.') : null);
  }

  /* What is logged: changed for some minutes, by who may act. */
  let typed = null;
  function logged() {
    const log = data.slow && data.slow.log;
    if (!log) return null;
    const change = (body) => fetch('log', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      .then((response) => (response.ok ? response.json().then((log) => { data.slow.log = log; typed = null; draw(); }) : response.text().then((why) => { $('log-answer').textContent = why || 'refused (' + response.status + ')'; })))
      .catch(() => { $('log-answer').textContent = 'not sent'; });
    const input = el('input', { id: 'log-filter', 'data-key': 'log filter', 'aria-label': 'What is logged', value: typed === null ? log.filter : typed, oninput: (event) => { typed = event.target.value; } });
    const set = (minutes) => el('button', { type: 'button', 'data-key': 'log ' + minutes, onclick: () => change({ filter: $('log-filter').value, minutes }) }, minutes + ' min');
    return el('div', { class: 'log' }, el('span', { class: 'quiet' }, log.until ? 'logs until ' + clock(log.until).slice(0, 5) + ', then as before' : 'logs'), input, el('span', { class: 'quiet' }, 'for'), set(5), set(15), set(60),
      log.until ? el('button', { type: 'button', 'data-key': 'log reset', onclick: () => change({}) }, 'as before') : null, el('span', { id: 'log-answer', role: 'status', class: 'over' }));
  }
  function settings() {
    // While somebody types, nothing is taken away.
    if (document.activeElement && document.activeElement.id === 'log-filter' && $('settings').childElementCount) return;
    const all = (data.slow && data.slow.settings) || [];
    put('settings', head('Settings in force', own()), logged(), all.length ? el('dl', { class: 'pairs' }, ...all.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])) : empty('None was given.', '.setting("log level", "info")'));
  }

  /* Controls. */
  for (const button of document.querySelectorAll('[data-range]')) {
    button.addEventListener('click', () => write({ range: button.dataset.range, from: null, to: null }));
  }
  $('replica').addEventListener('change', (event) => write({ replica: event.target.value }));
  $('zoom').addEventListener('click', () => write({ from: null, to: null }));
  $('live').addEventListener('click', () => {
    live = !live;
    $('live').setAttribute('aria-pressed', String(live));
    tick();
    if (live) draw();
  });
  const stored = (value) => {
    try { return value === undefined ? localStorage.getItem('steeple-theme') : localStorage.setItem('steeple-theme', value); } catch { return null; }
  };
  const prefers = matchMedia('(prefers-color-scheme: light)');
  const paint = () => {
    document.documentElement.dataset.theme = stored() || (prefers.matches ? 'light' : 'dark');
    charts.build();
    draw();
  };
  prefers.addEventListener('change', paint);
  $('theme').addEventListener('click', () => {
    stored(document.documentElement.dataset.theme === 'light' ? 'dark' : 'light');
    paint();
  });
  addEventListener('keydown', (event) => {
    if (event.target.closest('input, select') || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'p') $('live').click();
    if (event.key === 't') $('theme').click();
    if (['1', '2', '3'].includes(event.key)) write({ range: Object.keys(RANGES)[event.key - 1], from: null, to: null });
  });
  paint();
  connect();
})();

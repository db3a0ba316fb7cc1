'use strict';
// Looks at the dashboard as people do: one browser for all checks. Prints a line for each: `ok NAME` or `FAILED NAME: why`.
// Arguments: a JSON object with the addresses, and a directory for pictures.
const { chromium } = require('playwright-core');

const targets = JSON.parse(process.argv[2]);
const pictures = process.argv[3];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const assert = (holds, why) => {
  if (!holds) throw new Error(why);
};
/** Waits until this holds, as long as a slow machine needs. */
const until = async (page, what, read, argument) => {
  for (let i = 0; i < 600; i++) {
    const found = await page.evaluate(read, argument).catch(() => null);
    if (found) return found;
    await sleep(100);
  }
  throw new Error('never: ' + what);
};
const drawn = (page) => until(page, 'drawn charts', () => [...document.querySelectorAll('figure canvas')].length === 4 &&
  document.querySelector('#service').textContent !== '…' && document.querySelectorAll('#routes tbody tr').length > 0);

(async () => {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-background-networking', '--no-proxy-server'] });
  let failed = false;
  const check = async (name, run, options) => {
    const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, colorScheme: 'dark', ...options });
    const page = await context.newPage();
    const said = [];
    const asked = [];
    page.on('console', (message) => said.push(message.type() + ': ' + message.text()));
    page.on('pageerror', (error) => said.push('error: ' + error.message));
    page.on('request', (request) => asked.push(request.url()));
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective + ' ' + event.blockedURI));
    });
    try {
      await run(page, { said, asked, context });
      console.log('ok ' + name);
    } catch (error) {
      failed = true;
      console.log('FAILED ' + name + ': ' + error.message + (said.length ? ' (console: ' + said.join(' | ') + ')' : ''));
    }
    await context.close();
  };

  await check('the page asks nobody else, says nothing and breaks no policy', async (page, { said, asked }) => {
    await page.goto(targets.board + '/steeple');
    await drawn(page);
    for (const key of ['t', 't', '1', '3', '2', 'p', 'p']) await page.keyboard.press(key);
    await page.click('#requests button[data-key="list slow"]');
    await sleep(2500);
    assert(said.length === 0, 'it said something');
    const violations = await page.evaluate(() => window.violations);
    assert(violations.length === 0, 'violations: ' + violations);
    const origin = new URL(targets.board).origin;
    const foreign = asked.filter((url) => new URL(url).origin !== origin);
    assert(foreign.length === 0, 'foreign: ' + foreign);
    assert(asked.filter((url) => url.endsWith('/stream')).length === 1, 'one stream: ' + asked);
  });

  await check('numbers are those of the metrics, and the past is there', async (page) => {
    await page.goto(targets.board + '/steeple/#range=1h');
    await drawn(page);
    // The load is over: what the table of routes says of it stays for five minutes.
    const rows = await page.evaluate(() => [...document.querySelectorAll('#routes tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent)));
    for (const [route, ratio] of Object.entries(targets.routes)) {
      const row = rows.find((cells) => cells[0] === route);
      assert(row, 'no row of ' + route + ' among ' + rows.map((cells) => cells[0]));
      assert(row[2] === ratio, route + ' has errors ' + row[2] + ', not ' + ratio);
    }
    const blank = await page.evaluate(() => [...document.querySelectorAll('figure canvas')].map((canvas) => {
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let colored = 0;
      for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 0 && Math.max(pixels[i], pixels[i + 1], pixels[i + 2]) - Math.min(pixels[i], pixels[i + 1], pixels[i + 2]) > 60) colored++;
      return colored;
    }));
    assert(blank.every((colored) => colored > 20), 'blank: ' + blank);
    await page.evaluate(() => { document.querySelector('#chart-requests details').open = true; });
    const sum = await until(page, 'the table behind the chart', () => {
      const cells = [...document.querySelectorAll('#chart-requests tbody tr')].map((row) => Number(row.children[1].textContent));
      return cells.length && cells.reduce((sum, value) => sum + (value || 0), 0);
    });
    assert(sum > 0, 'the past is empty');
    const failed = await page.evaluate(() => document.querySelectorAll('#requests tbody tr').length);
    assert(failed === Math.min(100, targets.failed), failed + ' failed requests are listed, not ' + targets.failed);
  });

  await check('requests are as many as the metrics have', async (page) => {
    const metrics = await (await page.request.get(targets.board + '/metrics')).text();
    await page.goto(targets.board + '/steeple/');
    await drawn(page);
    for (const [route, name] of [['/ok/{id}', 'GET/ok/{id}'], ['/fail', 'GET/fail']]) {
      const count = metrics.split('\n').filter((line) => line.startsWith('http_requests_total{') && line.includes('route="' + route + '"')).reduce((sum, line) => sum + Number(line.split(' ').pop()), 0);
      const shown = await until(page, 'the count of ' + name, (name) => {
        const row = [...document.querySelectorAll('#routes tbody tr')].find((row) => row.children[0].textContent === name);
        return row && row.children[1].title;
      }, name);
      assert(shown === count + ' requests in 5 minutes', name + ': ' + shown + ', and the metrics have ' + count);
    }
  });

  await check('there is no network but the loopback', async (page) => {
    if (!targets.offline) return;
    const away = await page.goto('http://192.0.2.1/').then(() => 'reached', (error) => error.message);
    assert(away.includes('ERR_'), away);
  });

  // From the page alone: which route fails, since when, since which deploy, for whom, with which trace.
  await check('a tour of the page answers what is wrong', async (page, { said }) => {
    const { tour } = targets;
    let step = 0;
    const picture = async (name) => {
      step += 1;
      if (pictures) await page.screenshot({ path: pictures + '/tour-' + step + '-' + name + '.png' });
    };
    await page.goto(targets.shop + '/steeple/#range=1h');
    await drawn(page);
    // 1. Something is wrong: an alert fires, since when, and the charts have a line for each deploy.
    const alert = await until(page, 'a firing alert', () => {
      const alert = document.querySelector('#alerts .alert');
      return alert && /since \d\d:\d\d/.test(alert.textContent) && alert.textContent;
    });
    assert(alert.includes('high_error_rate'), alert);
    const marks = await page.evaluate(() => document.querySelector('#chart-requests').dataset.marks);
    assert(marks.includes('deploy ' + tour.before) && marks.includes('deploy ' + tour.version), 'deploys: ' + marks);
    await picture('alert');
    // 2. Which route: the worst first.
    await page.click('#routes th button[data-key="sort error_ratio"]');
    await until(page, 'the route', (route) => {
      const row = document.querySelector('#routes tbody tr');
      return row.children[0].textContent === route.replace(' ', '') && row.children[2].textContent === '100 %';
    }, tour.route);
    await page.locator('#routes').scrollIntoViewIfNeeded();
    await picture('route');
    // 3. Since which deploy: the group of errors is new.
    const group = await until(page, 'the group', () => {
      const group = document.querySelector('#groups li');
      return group && group.textContent;
    });
    assert(group.includes('new since ' + tour.version) && group.includes(tour.route) && group.includes('sqlx::Error') && group.includes('first'), group);
    await page.locator('#groups').scrollIntoViewIfNeeded();
    await picture('error');
    // 4. For whom, and with which trace: one of its requests, with its spans.
    await page.click('#groups li a');
    await until(page, 'its requests', (route) => {
      const links = [...document.querySelectorAll('#requests tbody a[aria-expanded]')];
      return links.length && links.every((link) => link.textContent === route.replace(' ', ''));
    }, tour.route);
    await page.click('#requests tbody a[aria-expanded]');
    const details = await until(page, 'its spans', () => {
      const details = document.querySelector('#requests tr.detail');
      return details && details.querySelector('li.span') && [...details.querySelectorAll('dd')].map((value) => value.textContent);
    });
    assert(details.includes(tour.user), 'no user among ' + details);
    assert(tour.traces.some((trace) => details.includes(trace)), 'no trace of ' + tour.traces.length + ' among ' + details);
    const spans = await page.evaluate(() => [...document.querySelectorAll('#requests li.span')].map((span) => span.textContent));
    assert(spans[0].includes('/payments') && spans[0].includes('server') && spans.some((span) => span.includes('INSERT payments')), spans.join(' | '));
    await page.locator('#requests').scrollIntoViewIfNeeded();
    await picture('request');
    // 5. The link that is shared shows the same.
    const address = page.url();
    await page.goto('about:blank');
    await page.goto(address);
    await until(page, 'the same request', (user) => {
      const details = document.querySelector('#requests tr.detail');
      return details && details.textContent.includes(user);
    }, tour.user);
    assert(said.length === 0, 'it said something');
  });

  await check('with all instances gone from sight, the page says so and shows what this process knows', async (page, { said }) => {
    await page.goto(targets.lost + '/steeple/');
    await until(page, 'the notice', () => document.querySelector('#notice').textContent.includes('Prometheus does not answer') && document.body.classList.contains('late'));
    const tile = await page.evaluate(() => document.querySelector('.tile b').textContent);
    assert(tile === '–', 'a number of nothing: ' + tile);
    await page.selectOption('#replica', 'self');
    await until(page, 'this process', () => document.querySelector('#notice').hidden && !document.body.classList.contains('late') && document.querySelector('.tile[data-panel="in_flight"] b').textContent !== '–');
    assert(page.url().includes('replica=self'), page.url());
    assert(said.length === 0, 'it said something');
  });

  if (targets.all) {
    await check('all instances are shown as Prometheus knows them', async (page, { said }) => {
      await page.goto(targets.all + '/steeple/');
      await until(page, 'the instances', (replica) => [...document.querySelectorAll('#replica option')].map((option) => option.value).includes(replica), targets.replica);
      await until(page, 'their routes', () => [...document.querySelectorAll('#routes tbody tr')].some((row) => row.children[0].textContent === 'GET/fail' && row.children[2].textContent === '100 %'));
      const marked = await page.evaluate(() => ['groups', 'requests', 'activity', 'sinks', 'settings'].filter((id) => !document.querySelector('#' + id).textContent.includes('this replica')));
      assert(marked.length === 0, 'not marked: ' + marked);
      await page.selectOption('#replica', targets.replica);
      await until(page, 'one instance', () => location.hash.includes('replica=') && document.querySelector('.tile[data-panel="in_flight"] b').textContent !== '–');
      if (pictures) await page.screenshot({ path: pictures + '/fleet.png', fullPage: true });
      assert(said.length === 0, 'it said something: ' + said);
    });
  }

  await check('one crosshair and one zoom for all charts', async (page) => {
    await page.goto(targets.board + '/steeple/#range=1h');
    await drawn(page);
    const box = await page.locator('#chart-requests .u-over').boundingBox();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 40);
    const places = await until(page, 'a crosshair', () => {
      const lines = [...document.querySelectorAll('.u-cursor-x')].map((line) => new DOMMatrix(getComputedStyle(line).transform).m41);
      return lines.length === 4 && lines.every((x) => x > 0) && lines;
    });
    assert(places.every((x) => Math.abs(x / places[0] - 1) < 0.05), 'crosshairs: ' + places);
    await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.9, box.y + 60, { steps: 5 });
    await page.mouse.up();
    await until(page, 'a zoom in the address', () => location.hash.includes('from=') && !document.querySelector('#zoom').hidden);
    const address = page.url();
    await page.goto('about:blank');
    await page.goto(address);
    await drawn(page);
    assert((await page.evaluate(() => location.hash)).includes('from='), 'a link keeps its range');
    await page.click('#zoom');
    await until(page, 'no zoom', () => !location.hash.includes('from='));
  });

  await check('a failed request is found from the page alone: route, error, user, trace', async (page) => {
    await page.goto(targets.board + '/steeple/');
    await drawn(page);
    await page.click('#routes th button[data-key="sort error_ratio"]');
    const first = await until(page, 'the worst route first', () => {
      const link = document.querySelector('#routes tbody tr a');
      return document.querySelector('#routes th[aria-sort="descending"] button').dataset.key === 'sort error_ratio' && link.textContent;
    });
    await page.click('#routes tbody tr a');
    await until(page, 'its requests alone', (route) => {
      const rows = [...document.querySelectorAll('#requests tbody a')];
      return rows.length > 0 && rows.every((row) => row.textContent === route);
    }, first);
    await page.click('#requests tbody a');
    const text = await until(page, 'its details', () => document.querySelector('#requests tr.detail') && document.querySelector('#requests tr.detail').textContent);
    assert(text.includes('request id') && text.includes('took'), text);
  });

  await check('texts of clients make no elements', async (page, { said }) => {
    await page.goto(targets.evil + '/steeple/');
    await drawn(page);
    await until(page, 'the evil texts', () => document.body.textContent.includes('<img src=x onerror='));
    await page.click('#requests tbody a');
    await until(page, 'its details', () => document.querySelector('#requests tr.detail'));
    const made = await page.evaluate(() => document.querySelectorAll('main img, main script, header img, b b').length);
    assert(made === 0 && !(await page.evaluate(() => window.harmed)), 'an element was made');
    assert(said.length === 0, 'it said something');
  });

  await check('a firing alert is acknowledged and silenced on the page', async (page) => {
    await page.goto(targets.evil + '/steeple/');
    await page.waitForSelector('#alerts .alert button');
    await page.click('#alerts button[data-key="ack high_error_rate"]');
    await until(page, 'acknowledged', () => document.querySelector('#alerts .alert.acked') && !document.querySelector('#alerts button[data-key="ack high_error_rate"]'));
    await page.click('#alerts button[data-key="silence high_error_rate"]');
    await until(page, 'silenced', () => /silenced until \d\d:\d\d/.test(document.querySelector('#alerts .alert.silenced').textContent) && !document.querySelector('#alerts .alert button'));
  });

  await check('what is logged is changed on the page for some minutes, and is as before', async (page, { said }) => {
    const { address } = targets.program;
    const quiet = () => page.request.get(address + '/quiet');
    await page.goto(address + '/steeple/');
    await until(page, 'the filter', () => document.querySelector('#log-filter') && document.querySelector('#log-filter').value);
    await quiet();
    await page.fill('#log-filter', 'debug');
    await page.click('#settings button[data-key="log 15"]');
    await until(page, 'the change', () => /logs until \d\d:\d\d/.test(document.querySelector('#settings').textContent) && document.querySelector('#log-filter').value === 'debug');
    await quiet();
    await page.click('#settings button[data-key="log reset"]');
    await until(page, 'what was before', () => !document.querySelector('#settings').textContent.includes('logs until') && document.querySelector('#log-filter').value !== 'debug');
    await quiet();
    // What is no filter is refused, with the reason.
    await page.fill('#log-filter', 'a=b=c=');
    await page.click('#settings button[data-key="log 5"]');
    await until(page, 'the reason', () => document.querySelector('#log-answer').textContent.length > 10);
    assert(said.every((text) => text.includes('400')), 'it said something');
  });

  await check('an instance that ends says so on the pages that are open', async (page) => {
    await page.goto(targets.program.address + '/steeple/');
    await until(page, 'live', () => document.querySelector('#state').textContent === 'live');
    process.kill(targets.program.id, 'SIGTERM');
    await until(page, 'the notice', () => document.querySelector('#notice').textContent.includes('shutting down'));
  });

  await check('late data is grey, and how old it is', async (page, { context }) => {
    await page.addInitScript(() => {
      const now = Date.now;
      window.later = 0;
      Date.now = () => now() + window.later;
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => Boolean(window.isHidden) });
    });
    await page.goto(targets.shop + '/steeple/');
    await drawn(page);
    const opacity = () => ['.tile b', 'figure canvas', '#routes td', '#sinks td', '#business b', '#system .bar'].map((of) => [of, getComputedStyle(document.querySelector(of)).opacity]);
    const before = await page.evaluate(opacity);
    assert(before.every(([, value]) => value === '1'), 'grey: ' + before);
    const hide = (hidden) => page.evaluate((hidden) => {
      window.isHidden = hidden;
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    // The stream ends, and nothing can be asked any more.
    await hide(true);
    await context.setOffline(true);
    await hide(false);
    await page.evaluate(() => { window.later = 120e3; });
    await until(page, 'the age', () => /data is 2 min old/.test(document.querySelector('#state').textContent) && /does not answer\. What is shown is 2 min old/.test(document.querySelector('#notice').textContent));
    const after = await page.evaluate(opacity);
    assert(after.every(([, value]) => Number(value) < 0.5), 'not grey: ' + after);
    await context.setOffline(false);
    await page.evaluate(() => { window.later = 0; });
    await until(page, 'data again', () => document.querySelector('#notice').hidden && !document.body.classList.contains('late'));
  });

  await check('each number leads to what explains it', async (page) => {
    await page.goto(targets.shop + '/steeple/#range=1h');
    await drawn(page);
    await until(page, 'events', () => document.querySelector('#business b') && document.querySelector('#sinks details.dead'));
    const alone = await page.evaluate(() => {
      const numbers = [...document.querySelectorAll('.tile b, .alert > span, .calm td, #routes td, #requests tr.link td, #groups li b, .figures b, .meter .value, #sinks td, #sinks .over')];
      if (numbers.length < 50) return ['only ' + numbers.length + ' numbers'];
      return numbers.filter((number) => /\d/.test(number.textContent)).filter((number) => {
        const row = number.closest('tr, li, .tile, .alert, .meter, .figures > div');
        return !row || !(row.matches('a[href]') || row.querySelector('a[href], summary'));
      }).map((number) => number.textContent);
    });
    assert(alone.length === 0, 'nothing explains ' + alone);
    // Where links lead to is there.
    const nowhere = await page.evaluate(() => [...document.querySelectorAll('main a[href^="#"], .skip')].map((link) => link.getAttribute('href')).filter((href) => !document.getElementById(href.slice(1))));
    assert(nowhere.length === 0, 'nowhere: ' + nowhere);
    await page.click('.figures .explained summary');
    await until(page, 'what counts it', () => document.querySelector('.figures .explained[open] code').textContent.includes('events.track('));
    await page.click('#alerts details.calm summary');
    await page.click('#alerts .calm a[data-key="about high_error_rate"]');
    await until(page, 'the failed requests', () => location.hash.includes('list=failed'));
    await page.click('#alerts .calm a[data-key="about slow_response_time"]');
    await until(page, 'the slowest requests', () => location.hash.includes('list=slow') && document.querySelector('#requests h2').textContent.includes('Slowest'));
  });

  await check('backlog, losses and dead letters of each sink are there', async (page) => {
    await page.goto(targets.shop + '/steeple/');
    await drawn(page);
    const rows = await until(page, 'the sinks of events', () => {
      const rows = [...document.querySelectorAll('#sinks tbody tr')].map((row) => [row.querySelector('summary').textContent, ...[...row.children].slice(1).map((cell) => cell.textContent)]);
      const of = (name) => rows.find((row) => row[0] === name);
      return of('ndjson') && Number(of('ndjson')[3].replaceAll(',', '')) > 0 && of('webhook_events') && Number(of('webhook_events')[4].replaceAll(',', '')) > 0 && rows;
    });
    assert(rows.some((row) => row[0] === 'traces'), 'the other sinks: ' + JSON.stringify(rows));
    await page.click('#sinks details.dead summary');
    const letter = await page.evaluate(() => document.querySelector('#sinks details.dead li').textContent);
    assert(letter.includes('webhook_events') && letter.includes('422'), letter);
    await page.click('#sinks summary[data-key*="webhook_events"]');
    await until(page, 'why', () => /422/.test(document.querySelector('#sinks .explained[open]').textContent) && /wait on disk/.test(document.querySelector('#sinks .explained[open]').textContent));
  });

  await check('what is empty says which call feeds it', async (page) => {
    await page.goto(targets.bare + '/steeple/');
    await until(page, 'the page', () => document.querySelector('#service').textContent !== '…' && document.querySelector('#settings dl') && [...document.querySelectorAll('figure canvas')].length === 4);
    // The chart with the requests in flight is not empty where a sample met one: what it says then is there, and hidden.
    const calls = await page.evaluate(() => {
      const shown = (element) => [...element.querySelectorAll('code')].filter((code) => code.getClientRects().length || (element.id === 'chart-users' && element.querySelector('.empty'))).map((code) => code.textContent);
      return Object.fromEntries(['alerts', 'routes', 'groups', 'business', 'system', 'activity', 'sinks', 'chart-requests', 'chart-times', 'chart-users'].map((id) => [id, shown(document.getElementById(id))]));
    });
    for (const [id, call, times] of [
      ['alerts', 'steeple.alerts(', 1], ['routes', '.layer(', 1], ['groups', 'steeple.alerts(', 1], ['business', 'events.track(', 6], ['system', 'metrics.', 2],
      ['activity', 'set_user(', 1], ['sinks', '=…', 1], ['chart-requests', '.layer(', 1], ['chart-times', '.layer(', 1], ['chart-users', 'set_user(', 1],
    ]) {
      assert(calls[id].length === times && calls[id].every((code) => code.includes(call)), id + ' names ' + JSON.stringify(calls[id]));
    }
    const empty = await page.evaluate(() => [...document.querySelectorAll('main section, main figure')].filter((part) => part.getClientRects().length && !part.textContent.trim()).map((part) => part.id));
    assert(empty.length === 0, 'with nothing in it: ' + empty);
  });

  if (targets.https) {
    await check('by HTTPS the cookie is for HTTPS alone, and actions are taken', async (page, { context }) => {
      await page.goto(targets.https + '/steeple?token=' + targets.tokens[0].token);
      await until(page, 'a live stream', () => document.querySelector('#state') && document.querySelector('#state').textContent === 'live');
      assert(page.url() === targets.https + '/steeple/', page.url());
      const cookies = await context.cookies();
      assert(cookies.length === 1 && cookies[0].secure && cookies[0].httpOnly && cookies[0].sameSite === 'Strict', JSON.stringify(cookies));
      const post = (path, body) => page.evaluate(([path, body]) => fetch(path, { method: 'POST', body }).then((response) => response.status), [path, body]);
      assert((await post('acknowledge', '{"rule":"none"}')) === 404, 'the gate is in the way');
    }, { ignoreHTTPSErrors: true });
  }

  await check('a token opens two services on two ports, and leaves the address', async (page, { context }) => {
    for (const target of targets.tokens) {
      const refused = await page.goto(target.address + '/steeple/');
      assert(refused.status() === 401, 'without a token: ' + refused.status());
      await page.fill('input[name=token]', target.token);
      await page.click('form button');
      await until(page, 'the page', () => document.querySelector('#tiles'));
      assert(!page.url().includes('token'), page.url());
      await until(page, 'data', () => document.querySelector('#service').textContent !== '…');
    }
    for (const target of targets.tokens) {
      const again = await page.goto(target.address + '/steeple/');
      assert(again.status() === 200, 'the other cookie stays: ' + again.status());
    }
    const cookies = await context.cookies();
    assert(cookies.length === 2 && cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === 'Strict' && cookie.path === '/steeple'), JSON.stringify(cookies));
  });

  if (targets.proxy) {
    await check('it works below a prefix, behind a proxy that collects answers', async (page) => {
      await page.goto(targets.proxy + '/inner/steeple?token=' + targets.tokens[0].token);
      await until(page, 'data', () => document.querySelector('#service') && document.querySelector('#service').textContent !== '…');
      await until(page, 'a live stream', () => document.querySelector('#state').textContent === 'live');
      assert(page.url().endsWith('/inner/steeple/'), page.url());
    });
    await check('behind a balancer without affinity it says that there are several', async (page) => {
      await page.goto(targets.proxy + '/steeple/');
      await until(page, 'the notice', () => document.querySelector('#notice') && document.querySelector('#notice').textContent.includes('Several instances'));
    });
  }

  await check('dark, light, a phone: nothing sticks out, everything can be read', async (page) => {
    const contrast = () => {
      const parse = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
      const light = (rgb) => {
        const [r, g, b] = rgb.map((value) => { const part = value / 255; return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
          const color = getComputedStyle(at).backgroundColor;
          if (color !== 'rgba(0, 0, 0, 0)' && color !== 'transparent') return parse(color);
        }
        return [255, 255, 255];
      };
      const bad = [];
      for (const element of document.querySelectorAll('h2, h3, b, small, td, th, dt, dd, button, .quiet, .chip, .badge, code')) {
        if (!element.textContent.trim() || !element.getClientRects().length || element.disabled) continue;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) bad.push(element.tagName + ' ' + element.className + ' ' + element.textContent.slice(0, 20) + ' ' + ratio.toFixed(2));
      }
      return bad.slice(0, 5);
    };
    const looks = [['dark', 1400, 'dark'], ['light', 1400, 'light'], ['phone', 360, 'dark'], ['wide', 3840, 'dark']];
    for (const [name, width, scheme, target] of looks.flatMap((look) => [[...look, targets.bare], [...look, targets.shop]])) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height: 900 });
      await page.goto('about:blank');
      await page.goto(target + '/steeple/#range=1h');
      await until(page, 'the page', () => document.querySelector('#service').textContent !== '…' && document.querySelector('#settings dl') && [...document.querySelectorAll('figure canvas')].length === 4);
      await sleep(1500);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert(wide <= width, name + ' is ' + wide + ' wide');
      const bad = await page.evaluate(contrast);
      assert(bad.length === 0, name + ' has little contrast: ' + bad.join('; '));
      if (pictures) await page.screenshot({ path: pictures + '/' + name + (target === targets.bare ? '-empty' : '') + '.png', fullPage: true });
      if (pictures && name === 'dark' && target === targets.shop) {
        await page.setViewportSize({ width: 1400, height: 760 });
        await sleep(1500);
        await page.screenshot({ path: pictures + '/fold.png' });
      }
    }
  });

  await check('the keyboard reaches everything', async (page) => {
    await page.goto(targets.board + '/steeple/');
    await drawn(page);
    const reached = new Set();
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press('Tab');
      reached.add(await page.evaluate(() => {
        const at = document.activeElement;
        return at.closest('section, figure, header') ? (at.closest('section, figure, header').id || 'header') : at.className;
      }));
    }
    for (const place of ['skip', 'header', 'tiles', 'chart-requests', 'chart-system', 'routes']) assert(reached.has(place), place + ' is not among ' + [...reached]);
    await page.focus('#chart-requests');
    await page.keyboard.press('+');
    await until(page, 'a zoom', () => location.hash.includes('from='));
    await page.keyboard.press('Escape');
    await until(page, 'no zoom', () => !location.hash.includes('from='));
  });

  await check('a hidden tab gives its stream back', async (page) => {
    await page.goto(targets.board + '/steeple/');
    await until(page, 'live', () => document.querySelector('#state').textContent === 'live');
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.isHidden });
      window.isHidden = true;
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await until(page, 'no stream', () => document.querySelector('#state').textContent !== 'live');
    await page.evaluate(() => {
      window.isHidden = false;
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await until(page, 'live again', () => document.querySelector('#state').textContent === 'live');
  });

  await browser.close();
  process.exit(failed ? 1 : 0);
})();

import { expect, test } from 'vitest';
import type { Plan } from '../plan.ts';
import { TRANSPORT } from '../ports.ts';
import { BACKEND_BUDGET, CODE_BUDGET } from './budgets.ts';
import { BackendCalls, FarmCalls } from './calls/farms.ts';
import { CATALOGUE, type MetricEntry, PROCESS_METRICS } from './catalogue.ts';
import { SlabCounters } from './counters.ts';
import { AgentMetrics, type Identity, type MetricsSource } from './metrics.ts';
import { DROP, METHODS } from './slab.ts';
import { CounterTotals, layoutOf } from './totals.ts';

const backend = (name: string) => ({
  name,
  id: 1,
  address: '192.0.2.1',
  port: 5060,
  transport: TRANSPORT.udp,
  tcpAbove: 0,
  weight: 1,
  priority: 1,
  drain: false,
  sources: [],
});
const plan = (...backends: string[]): Plan => ({
  etag: 'e',
  generation: 1,
  agent: 1,
  listeners: [
    { farm: 0, transport: TRANSPORT.udp, address: '10.0.0.1', port: 0, advertise: { clients: 'c', backends: 'b' } },
    {
      farm: 0,
      transport: TRANSPORT.tcp,
      address: '::1',
      port: 5060,
      advertise: { clients: 'c', backends: 'b' },
      certificateExpires: 1_900_000_000,
    },
  ],
  farms: [
    {
      name: 'pbx',
      strategy: 'hash',
      key: { kind: 'user', header: '' },
      names: [],
      stateful: true,
      failover: { timeoutMs: 1500, codes: [503], release: true },
      registration: 'path',
      maxExpires: 0,
      backends: backends.map(backend),
      firstBackend: 0,
      tokenKeys: [],
      candidates: new SharedArrayBuffer(0),
      lag: {
        seconds: 0,
        transactionsOnly: true,
        before: [],
        unknown: { until: 0, candidates: new SharedArrayBuffer(0) },
      },
      recovered: new SharedArrayBuffer(4),
      sessions: new SharedArrayBuffer(4 * backends.length),
      nonces: new SharedArrayBuffer(0),
      turns: undefined,
      signals: new SharedArrayBuffer(0),
      traceparent: false,
      cutConnections: false,
      states: new SharedArrayBuffer(backends.length),
    },
  ],
});

const slabOf = (p: Plan): SharedArrayBuffer => new SharedArrayBuffer(layoutOf(p).bytes);
const count = (slab: SharedArrayBuffer, index: number, by = 1): void => {
  const counters = new Float64Array(slab);
  counters[index] = (counters[index] as number) + by;
};
const method = (name: (typeof METHODS)[number]): number => METHODS.indexOf(name);

/** A farm of which every backend counted one of everything, for client and backend alike. */
function farmCalls(...backends: string[]): FarmCalls {
  const farm = new FarmCalls('pbx', 0);
  for (const name of backends) {
    const calls = new BackendCalls(name, farm);
    for (const counts of [...calls.sessions, calls.registrations]) counts.fill(1);
    calls.registrationCodes.set(200, 1);
    farm.backends.set(name, calls);
  }
  for (const codes of farm.codes) codes.set(200, 1);
  const { registration, sessionRequest, sessionDisconnect, sessionDuration } = farm.delays;
  for (const delay of [registration, sessionRequest[0].success, sessionDisconnect, sessionDuration[1]])
    delay.observe(0.1);
  return farm;
}

function metricsOf(more: Partial<MetricsSource> = {}, identity?: Identity): AgentMetrics {
  const totals = new CounterTotals();
  return new AgentMetrics(
    {
      totals: () => totals.sum([]),
      backends: () => [],
      workers: () => ({ running: 0, restarts: 0 }),
      snapshot: () => ({ failures: 0 }),
      disagreements: () => [],
      signals: () => [],
      link: () => undefined,
      calls: () => ({ farms: [], eventsLost: 0 }),
      pushes: () => [],
      hep: () => undefined,
      traces: () => undefined,
      ...more,
    },
    { version: '1.2.3', node: 'v24', datapath: 'auto' },
    identity,
  );
}

/** `name{labels}` → value. */
async function scrape(metrics: AgentMetrics): Promise<Map<string, number>> {
  const lines = (await metrics.render()).text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

test('every entry of the catalogue, and what prom-client adds, has series once there is something to tell', async () => {
  const totals = new CounterTotals();
  const p = plan('a');
  totals.use(p, [40000, 5060]);
  const slab = slabOf(p);
  new Float64Array(slab).fill(1);
  const metrics = metricsOf({
    totals: () => totals.sum([slab]),
    backends: () => [{ farm: 'pbx', backend: 'a', state: 'unknown' }],
    snapshot: () => ({ applied: { generation: 3, at: 1500 }, target: 4, failures: 1 }),
    disagreements: () => [{ farm: 'pbx', backend: 'a', down: 1 }],
    signals: () => [{ farm: 'pbx', backend: 'a', signal: 'refused', count: 2 }],
    link: () => ({ connected: true, reconnects: 2, disk: { failures: 3, unsaved: true } }),
    calls: () => ({ farms: [farmCalls('a')], eventsLost: 0 }),
    pushes: () => [
      {
        name: 'otlp',
        requests: { taken: 1, later: 0, refused: 0 },
        droppedSamples: { spool: 0, refused: 0 },
        spoolBytes: 9,
        lastTaken: 1000,
      },
    ],
    hep: () => ({ sent: 5, lost: { overwritten: 1, too_long: 0, send_failed: 0, busy: 0 }, open: true }),
    traces: () => ({ sent: 3, dropped: { budget: 0, queue: 0 } }),
  });
  metrics.probed({
    farm: 'pbx',
    backend: 'a',
    check: 'ping',
    result: 'success',
    seconds: 0.02,
    phases: { answer: { ok: true, ms: 20 } },
  });
  metrics.probed({ farm: 'pbx', backend: 'a', check: 'dummy', result: 'failure', phase: 'media', seconds: 9 });
  const names = new Set([...(await scrape(metrics)).keys()].map((key) => key.replace(/\{.*/, '')));
  for (const { name, type } of Object.values<MetricEntry>(CATALOGUE))
    expect(names).toContain(type === 'histogram' ? `${name}_bucket` : name);
  for (const name of PROCESS_METRICS) expect(names).toContain(name);
});

test('names follow the conventions: prefix, base units, _total on counters and only there', () => {
  for (const { name, type, unit, help } of Object.values<MetricEntry>(CATALOGUE)) {
    expect(name).toMatch(/^sipfleet_[a-z_]+$/);
    expect(name.endsWith('_total')).toBe(type === 'counter');
    if (unit !== '1') expect(name).toMatch(new RegExp(`_${unit}(_total)?$`));
    expect(help).toMatch(/\.$/);
  }
});

test('slabs of all workers are summed and named after the plan', async () => {
  const totals = new CounterTotals();
  const p = plan('a', 'b');
  totals.use(p, [40000, 5060]);
  const layout = layoutOf(p);
  const slabs = [slabOf(p), slabOf(p)] as const;
  for (const slab of slabs) {
    count(slab, layout.requestTo(1, method('INVITE')), 5);
    count(slab, layout.responseFrom(1, 5));
    count(slab, layout.drop(DROP.no_route));
    count(slab, layout.local(483));
    count(slab, layout.listener(1, 3), 100);
  }
  const series = await scrape(metricsOf({ totals: () => totals.sum(slabs) }));
  expect(series.get('sipfleet_backend_requests_sent_total{farm="pbx",backend="b",method="INVITE"}')).toBe(10);
  expect(series.get('sipfleet_backend_requests_sent_total{farm="pbx",backend="a",method="INVITE"}')).toBeUndefined();
  expect(series.get('sipfleet_backend_responses_total{farm="pbx",backend="b",code_class="5xx"}')).toBe(2);
  expect(series.get('sipfleet_backend_responses_total{farm="pbx",backend="a",code_class="5xx"}')).toBe(0);
  expect(series.get('sipfleet_dropped_messages_total{reason="no_route"}')).toBe(2);
  expect(series.get('sipfleet_local_responses_total{code="483"}')).toBe(2);
  expect(series.get('sipfleet_sent_bytes_total{farm="pbx",listener="[::1]:5060",transport="tcp"}')).toBe(200);
  expect(series.get('sipfleet_received_bytes_total{farm="pbx",listener="10.0.0.1:40000",transport="udp"}')).toBe(0);
});

test('counts survive a new plan that numbers backends anew, and end with a backend that is gone', () => {
  const totals = new CounterTotals();
  const before = plan('a', 'b');
  totals.use(before, [1, 2]);
  const old = slabOf(before);
  count(old, layoutOf(before).requestTo(0, method('BYE')), 7);
  count(old, layoutOf(before).requestTo(1, method('BYE')), 3);
  count(old, layoutOf(before).drop(DROP.malformed), 2);
  totals.fold(old);
  const after = plan('b', 'c');
  totals.use(after, [1, 2]);
  const slab = slabOf(after);
  count(slab, layoutOf(after).requestTo(0, method('BYE')), 1);
  const sum = totals.sum([slab]);
  expect(sum.backends.map((b) => [b.backend, b.requestsTo[method('BYE')]])).toEqual([
    ['b', 4],
    ['c', 0],
  ]);
  expect(sum.drops[DROP.malformed]).toBe(2);
  totals.use(plan('a'), [1, 2]);
  expect(totals.sum([]).backends[0]?.requestsTo[method('BYE')]).toBe(0);
});

test('backend states are 0/1 gauges from boot, and what is not known is absent', async () => {
  const series = await scrape(metricsOf({ backends: () => [{ farm: 'pbx', backend: 'a', state: 'unknown' }] }));
  const state = (s: string) => series.get(`sipfleet_backend_state{farm="pbx",backend="a",state="${s}"}`);
  expect([state('unknown'), state('up'), state('down')]).toEqual([1, 0, 0]);
  for (const absent of [
    'sipfleet_snapshot_generation',
    'sipfleet_snapshot_target_generation',
    'sipfleet_link_connected',
  ])
    expect(series.has(absent)).toBe(false);
});

test('check results of a backend that is no longer watched end', async () => {
  let watched = [{ farm: 'pbx', backend: 'a', state: 'up' }];
  const metrics = metricsOf({ backends: () => watched });
  for (const seconds of [0.1, 0.2])
    metrics.probed({ farm: 'pbx', backend: 'a', check: 'ping', result: 'success', seconds });
  const key = 'sipfleet_check_results_total{farm="pbx",backend="a",check="ping",result="success"}';
  expect((await scrape(metrics)).get(key)).toBe(2);
  expect((await scrape(metrics)).get('sipfleet_check_duration_seconds_sum{farm="pbx",check="ping"}')).toBeCloseTo(0.3);
  watched = [];
  expect((await scrape(metrics)).has(key)).toBe(false);
});

test('beyond a budget a farm counts on under _other, and nothing is lost', async () => {
  const farm = farmCalls(...Array.from({ length: BACKEND_BUDGET + 3 }, (_, i) => `b${i}`));
  for (let code = 0; code < CODE_BUDGET + 5; code++) farm.codes[0].set(300 + code, 2);
  const series = await scrape(metricsOf({ calls: () => ({ farms: [farm], eventsLost: 7 }) }));
  const of = (name: string) => [...series].filter(([key]) => key.startsWith(`${name}{`));
  const requests = of('sipfleet_session_requests_total');
  expect(requests).toHaveLength(2 * (BACKEND_BUDGET + 1));
  expect(series.get('sipfleet_session_requests_total{farm="pbx",backend="_other",origin="client"}')).toBe(3);
  expect(requests.reduce((sum, [, n]) => sum + n, 0)).toBe(2 * (BACKEND_BUDGET + 3));
  const client = of('sipfleet_session_results_total').filter(([key]) => key.includes('origin="client"'));
  expect(client).toHaveLength(CODE_BUDGET + 1);
  expect(series.get('sipfleet_session_results_total{farm="pbx",origin="client",code="_other"}')).toBe(12);
  expect(series.get('sipfleet_events_lost_total')).toBe(7);
  expect(series.has('sipfleet_session_requests_total{farm="pbx",backend="none",origin="client"}')).toBe(false);
});

test('beyond the budget of backends counts of traffic and checks stand under _other; states are told for each backend', async () => {
  const names = Array.from({ length: BACKEND_BUDGET + 2 }, (_, i) => `b${i}`);
  const totals = new CounterTotals();
  const p = plan(...names);
  totals.use(p, [1, 2]);
  const slab = slabOf(p);
  for (const i of names.keys()) count(slab, layoutOf(p).failover(i), i + 1);
  const backends = names.map((name) => ({ farm: 'pbx', backend: name, state: 'up' }));
  const metrics = metricsOf({ totals: () => totals.sum([slab]), backends: () => backends });
  for (const name of names) metrics.probed({ farm: 'pbx', backend: name, check: 'c', result: 'success', seconds: 1 });
  const series = await scrape(metrics);
  const of = (name: string) => [...series].filter(([key]) => key.startsWith(`${name}{`));
  const failovers = of('sipfleet_failovers_total');
  expect(failovers).toHaveLength(BACKEND_BUDGET + 1);
  expect(series.get('sipfleet_failovers_total{farm="pbx",backend="_other"}')).toBe(2 * BACKEND_BUDGET + 3);
  expect(series.get(`sipfleet_failovers_total{farm="pbx",backend="b${BACKEND_BUDGET - 1}"}`)).toBe(BACKEND_BUDGET);
  expect(series.get('sipfleet_check_results_total{farm="pbx",backend="_other",check="c",result="success"}')).toBe(2);
  expect(of('sipfleet_backend_state')).toHaveLength(3 * names.length);
});

test('every counter by backend or status has a budget', () => {
  // What a listener or a check is named comes from the configuration; reasons, methods and classes are fixed sets.
  for (const { type, labels, name, budget } of Object.values<MetricEntry>(CATALOGUE)) {
    if (type !== 'counter') continue;
    if (labels.includes('backend')) expect([name, budget?.backend]).toEqual([name, BACKEND_BUDGET]);
    if (labels.includes('code') && labels.includes('farm'))
      expect([name, budget?.code]).toEqual([name, expect.any(Number)]);
  }
});

test('a failed check names the phase, the backend and nothing else', async () => {
  const metrics = metricsOf({ backends: () => [{ farm: 'pbx', backend: 'a', state: 'up' }] });
  const probe = { farm: 'pbx', backend: 'a', check: 'dummy', seconds: 1 };
  for (const phase of ['media', 'media', 'invite']) metrics.probed({ ...probe, result: 'failure', phase });
  const well = { ok: true, ms: 1 };
  metrics.probed({ ...probe, result: 'success', phase: 'bye', phases: { invite: well, bye: well } });
  metrics.probed({ ...probe, check: 'ping', result: 'success' });
  const failures = [...(await scrape(metrics))].filter(([key]) => key.startsWith('sipfleet_check_failures_total'));
  const key = (phase: string, check = 'dummy') =>
    `sipfleet_check_failures_total{farm="pbx",backend="a",check="${check}",phase="${phase}"}`;
  // At 0 from the first time that it went well: of a series that begins with its first failure, increase() sees nothing.
  expect(failures).toEqual([
    [key('media'), 2],
    [key('invite'), 1],
    [key('bye'), 0],
    [key('probe', 'ping'), 0],
  ]);
});

test('registrations by final status and backend, within a budget', async () => {
  const farm = new FarmCalls('pbx', 0);
  const calls = new BackendCalls('a', farm);
  for (let code = 400; code < 420; code++) calls.registrationCodes.set(code, 2);
  calls.registrationCodes.set(0, 1);
  farm.backends.set('a', calls);
  const series = [...(await scrape(metricsOf({ calls: () => ({ farms: [farm], eventsLost: 0 }) })))];
  const results = series.filter(([key]) => key.startsWith('sipfleet_registration_results_total'));
  expect(results).toHaveLength(13);
  const key = (code: string) => `sipfleet_registration_results_total{farm="pbx",backend="a",code="${code}"}`;
  expect(results.at(0)).toEqual([key('400'), 2]);
  expect(results.at(-1)).toEqual([key('_other'), 8 * 2 + 1]);
});

test('a timed call that is kept leaves its trace with its bucket, for pushes and OpenMetrics; else a scrape shows the plain histogram', async () => {
  const farm = farmCalls('a');
  const metrics = metricsOf({ calls: () => ({ farms: [farm], eventsLost: 0 }) });
  const trace = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8) };
  farm.delays.sessionRequest[0].failure.observe(40);
  farm.delays.sessionRequest[0].success.observe(0.7, trace);
  const found: unknown[] = [];
  for await (const family of metrics.families())
    if (family.type === 'histogram' && family.name === 'sipfleet_session_request_delay_seconds')
      found.push(
        ...family.points.map((p) => [p.count, p.sum, p.exemplars.map(({ value, labels }) => [value, labels])]),
      );
  expect(found).toEqual([
    [2, 0.1 + 0.7, [[0.7, { trace_id: trace.traceId, span_id: trace.spanId }]]],
    [1, 40, []],
  ]);
  const { text: openMetrics, contentType } = await metrics.render(
    'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
  );
  expect(contentType).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
  const exemplars = openMetrics.split('\n').filter((line) => line.includes(' # {'));
  expect(exemplars).toEqual([
    expect.stringMatching(
      /^sipfleet_session_request_delay_seconds_bucket\{.*result="success".*le="1".*\} 2 # \{trace_id="(ab){16}",span_id="(cd){8}"\} 0\.7 \d+(\.\d+)?$/,
    ),
  ]);
  const { text: scraped, contentType: plain } = await metrics.render('text/plain;version=0.0.4');
  expect(plain).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(scraped).not.toContain(trace.traceId);
  const buckets = [...scraped.matchAll(/^sipfleet_session_request_delay_seconds_bucket\{(.*)\} (\d+)$/gm)];
  const success = buckets.filter(([, labels]) => labels?.includes('result="success"'));
  expect(success.map(([, labels, value]) => [/le="(.*?)"/.exec(labels as string)?.[1], value])).toEqual([
    ...['0.05'].map((le) => [le, '0']),
    ...['0.1', '0.25', '0.5'].map((le) => [le, '1']),
    ...['1', '1.5', '2', '3', '4', '5', '6', '8', '11', '16', '32', '+Inf'].map((le) => [le, '2']),
  ]);
  expect(buckets.filter(([, labels]) => labels?.includes('result="failure"')).at(-2)?.[2]).toBe('0');
});

test('two scrapes at once see the same', async () => {
  const totals = new CounterTotals();
  const p = plan('a');
  totals.use(p, [1, 2]);
  const slab = slabOf(p);
  count(slab, layoutOf(p).drop(0), 9);
  const metrics = metricsOf({ totals: () => totals.sum([slab]) });
  const [one, two] = await Promise.all([scrape(metrics), scrape(metrics)]);
  const key = 'sipfleet_dropped_messages_total{reason="malformed"}';
  expect([one.get(key), two.get(key)]).toEqual([9, 9]);
});

test('connections: open ones are a state of the running slabs, the rest counts over all of them; none for UDP', async () => {
  const totals = new CounterTotals();
  const p = plan('pbx1');
  totals.use(p, [5060, 5060]);
  const tcp = 1;
  const counts = {
    accepted: 5,
    connected: 9,
    connectFailed: 9,
    refused: 0,
    handshakeFailed: 1,
    malformed: 9,
    expired: 0,
  };
  const [ended, running] = [slabOf(p), slabOf(p)];
  const before = new SlabCounters(p, ended);
  // What was counted under an earlier plan is not counted again.
  before.takeConnections(tcp, 5, counts);
  before.takeConnections(tcp, 4, { ...counts, accepted: 7, refused: 3 });
  totals.fold(ended);
  const now = new SlabCounters(p, running);
  now.takeConnections(tcp, 2, counts);
  now.takeConnections(tcp, 3, { ...counts, accepted: 6, handshakeFailed: 3, expired: 1 });
  const series = await scrape(metricsOf({ totals: () => totals.sum([running]) }));
  const of = (name: string) => [...series].filter(([key]) => key.startsWith(`${name}{`)).map(([, value]) => value);
  expect(of('sipfleet_certificate_expiry_timestamp_seconds')).toEqual([1_900_000_000]);
  expect(of('sipfleet_connections')).toEqual([3]);
  expect(of('sipfleet_connections_accepted_total')).toEqual([3]);
  expect(of('sipfleet_connections_refused_total')).toEqual([3]);
  expect(of('sipfleet_handshakes_failed_total')).toEqual([2]);
  expect(of('sipfleet_connections_expired_total')).toEqual([1]);
});

test('a push reads what a scrape shows, and both name the agent and its site on every series', async () => {
  const totals = new CounterTotals();
  totals.use(plan('a'), [40000, 5060]);
  const slab = slabOf(plan('a'));
  new Float64Array(slab).fill(2);
  const metrics = metricsOf({ totals: () => totals.sum([slab]) }, { agent: 'edge-1', site: 'milan' });
  metrics.probed({ farm: 'pbx', backend: 'a', check: 'ping', result: 'success', seconds: 0.02 });
  const scraped = await scrape(metrics);
  for (const key of scraped.keys()) expect(key).toMatch(/[{,]agent="edge-1",site="milan"/);
  const pushed = new Map<string, number>();
  for await (const { name, points } of metrics.families())
    for (const point of points) {
      const { farm = '', backend = '', method = '' } = point.labels;
      pushed.set(`${name} ${farm} ${backend} ${method}`, 'count' in point ? point.count : point.value);
    }
  expect(pushed.get('sipfleet_backend_requests_sent_total pbx a INVITE')).toBe(2);
  expect(pushed.get('sipfleet_check_duration_seconds pbx  ')).toBe(1);
  // Those of the process come and go by themselves: a garbage collection in between makes one.
  const ours = (keys: Iterable<string>) => new Set([...keys].filter((key) => key.startsWith('sipfleet_')));
  const names = [...scraped.keys()].map((key) => key.replace(/\{.*/, '').replace(/_(bucket|sum|count)$/, ''));
  expect(ours([...pushed.keys()].map((key) => key.split(' ')[0] as string))).toEqual(ours(names));
});

test('OpenMetrics says the same as the plain text, whichever is asked for first', async () => {
  const metrics = metricsOf(
    { calls: () => ({ farms: [farmCalls('a')], eventsLost: 3 }) },
    { agent: 'edge', site: 'milan' },
  );
  const samples = async (accept: string): Promise<string[]> =>
    (await metrics.render(accept)).text
      .split('\n')
      // What the process itself is doing changes from one to the next.
      .filter((line) => line.startsWith('sipfleet_'))
      .map((line) => line.replace(/ # .*/, ''));
  const first = await samples('application/openmetrics-text');
  expect(first.length).toBeGreaterThan(50);
  expect(await samples('text/plain')).toEqual(first);
  expect(await samples('application/openmetrics-text')).toEqual(first);
  const { text } = await metrics.render('application/openmetrics-text');
  expect(text.endsWith('\n# EOF\n')).toBe(true);
  expect(text).toContain(
    '# TYPE sipfleet_events_lost counter\nsipfleet_events_lost_total{agent="edge",site="milan"} 3\n',
  );
});

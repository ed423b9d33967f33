import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { build } from '../../dashboards/src/page.ts';
import { PAGES } from '../../dashboards/src/pages.ts';
import { RECORDING } from '../../dashboards/src/recording.ts';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { startPbx } from '../demo-pbx/pbx.ts';
import { Phone } from '../demo-pbx/phone.ts';
import { CALLERS, callerPassword, ECHOES } from '../demo-pbx/users.ts';
import { Prometheus } from '../interop/prometheus.ts';
import { missingPeers } from '../setup/peers.ts';
import { freePort } from './loopback.ts';
import { sipfleet, startUp, temporary } from './sipfleet.fixture.ts';

/**
 * A small fleet with everything that an operator's bad day has, watched by a real Prometheus: agent `local` is scraped, agent `second`
 * pushes. Every query of every dashboard must find something.
 */

const [A, B] = ['127.0.0.1', '127.0.0.2'];

/** A PBX that answers as told, `undefined`: not at all. */
async function startScripted(statusFor: (method: string, from: string) => string | undefined): Promise<number> {
  const socket = createSocket('udp4').bind(0, A);
  await once(socket, 'listening');
  onTestFinished(() => void socket.close());
  socket.on('message', (bytes, from) => {
    const lines = bytes.toString('latin1').split('\r\n');
    const [method = ''] = lines[0]?.split(' ') ?? [];
    const status = method === 'ACK' ? undefined : statusFor(method, from.address);
    if (status === undefined) return;
    const echoed = lines.filter((line) => /^(via|from|to|call-id|cseq):/i.test(line));
    socket.send([`SIP/2.0 ${status}`, ...echoed, 'Content-Length: 0', '', ''].join('\r\n'), from.port, from.address);
  });
  return socket.address().port;
}

/** Takes OTLP requests and counts them. */
async function startCollector(): Promise<{ url: string; requests: () => number }> {
  let requests = 0;
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      requests++;
      response.end();
    });
  }).listen(0, A);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://${A}:${(server.address() as AddressInfo).port}/v1/metrics`, requests: () => requests };
}

interface Fleet {
  ports: { sip: number; tls: number; trunk: number };
  pbxs: { good: number; mute: number; busy: number; gone: number };
  picky: number;
}

const PING = { name: 'ping', type: 'options', interval: '1s', timeout: '500ms', rise: 1, fall: 2 };

function farms({ ports, pbxs, picky }: Fleet, description: string): string {
  const { certificate, privateKey } = createAuthority().issue('pbx.example.test');
  const dummy = 'check_sip -R - -T 2 --expect-audio sip:probe@example.test sip:echo@HOST:PORT';
  return [
    { kind: 'Site', name: 'milan', description },
    { kind: 'Secret', name: 'cert', data: { certificate, privateKey } },
    {
      kind: 'Farm',
      name: 'pbx',
      sites: ['milan'],
      listeners: [
        { transport: 'udp', port: ports.sip },
        { transport: 'tcp', port: ports.sip },
        { transport: 'tls', port: ports.tls, certificate: 'cert' },
      ],
      // An INVITE with its description is larger, and nobody takes TCP there.
      backends: Object.entries(pbxs).map(([name, at]) => ({ name, address: A, port: at, tcpAbove: 500 })),
      checks: [
        PING,
        { name: 'dummy', type: 'call', command: dummy, interval: '10s', timeout: '3s', fall: 10, agents: 2 },
      ],
      health: { maxConcurrentCalls: 4 },
    },
    {
      kind: 'Farm',
      name: 'trunk',
      sites: ['milan'],
      listeners: [{ transport: 'udp', port: ports.trunk }],
      backends: [{ name: 'picky', address: A, port: picky }],
      checks: [PING],
    },
  ]
    .map((document) => stringify(document))
    .join('---\n');
}

/** What happens on a bad day: calls and registrations, good and bad, garbage and forgeries. */
async function traffic(port: number, signal: AbortSignal): Promise<void> {
  const proxy = { host: A, port };
  const phones = await Promise.all(CALLERS.map(() => Phone.open({ transport: 'udp', proxy, timeoutMs: 3000 })));
  const attacker = createSocket('udp4');
  const forged = [
    `INVITE sip:x@${A} SIP/2.0`,
    ...[
      `Via: SIP/2.0/UDP ${A}:9;branch=z9hG4bKx`,
      'Max-Forwards: 70',
      'From: <sip:x@x>;tag=1',
      'To: <sip:x@x>',
      'Call-ID: x',
    ],
    ...['CSeq: 1 INVITE', `Route: <sip:${'Q'.repeat(48)}@${A}:${port};lr>`, 'Content-Length: 0', '', ''],
  ].join('\r\n');
  const rounds = async (phone: Phone, i: number) => {
    const user = CALLERS[i]!;
    while (!signal.aborted) {
      await phone.register({ user, password: i === 0 ? 'wrong' : callerPassword(user) }).catch(() => {});
      const call = await phone.call(i === 1 ? 'nobody' : ECHOES[i]!).catch(() => undefined);
      await sleep(100);
      await call?.hangUp().catch(() => {});
      for (const junk of [forged, 'INVITE garbage\r\n\r\n']) attacker.send(junk, port, A);
    }
  };
  await Promise.all(phones.map(rounds));
  for (const phone of phones) phone.close();
  attacker.close();
}

const withVariables = (expr: string): string => expr.replaceAll(/\$(site|farm|backend|agent)\b/g, '.*');

interface Panel {
  title: string;
  targets?: { expr: string }[];
}

test.skipIf(missingPeers().includes('prometheus'))(
  'every dashboard query, variable, annotation and rule finds what real agents tell a real Prometheus',
  { timeout: 300_000 },
  async () => {
    const cwd = await temporary();
    // Its directory is not there before `up` has run: a credentials file is read with every scrape.
    const authorization = { credentials_file: join(cwd, 'data/token') };
    const prometheus = await Prometheus.start({
      jobs: [{ name: 'agent' }, { name: 'control-plane', more: { authorization } }],
    });
    onTestFinished(() => prometheus.close());
    const collector = await startCollector();
    const homer = await startScripted(() => undefined);
    const [good, mute] = await Promise.all([
      startPbx({ host: A, port: 0 }),
      startPbx({ host: A, port: 0, mute: true }),
    ]);
    onTestFinished(() => Promise.all([good.close(), mute.close()]).then(() => {}));
    // It lets nobody in but agent `local`: the agents of the site disagree about it.
    const picky = await startScripted((_, from) => (from === A ? '200 OK' : undefined));
    // It is alive and takes nothing: failover.
    const busy = await startScripted((method) => (method === 'OPTIONS' ? '200 OK' : '503 Service Unavailable'));
    const fleet: Fleet = {
      ports: { sip: await freePort(A), tls: await freePort(A), trunk: await freePort(A) },
      pbxs: { good: good.port, mute: mute.port, busy, gone: await freePort(A) },
      picky,
    };
    await writeFile(join(cwd, 'farm.yaml'), farms(fleet, 'first'));

    const up = await startUp(cwd, '-f', 'farm.yaml');
    await prometheus.watch('agent', new URL(up.metrics).host);
    await prometheus.watch('control-plane', new URL(up.url).host);
    const token = ['--url', up.url, '--token-file', 'data/token'];
    const join2 = await sipfleet(cwd, 'join-token', 'milan', ...token).succeeds();
    vi.stubEnv('SIPFLEET_JOIN_TOKEN', /sfj_\S+/.exec(join2)?.[0] ?? '');
    onTestFinished(() => void vi.unstubAllEnvs());
    const second = sipfleet(
      cwd,
      ...[
        'agent',
        '--control-plane',
        up.url,
        '--data',
        'second',
        '--name',
        'second',
        '--address',
        B,
        '--admin',
        `${A}:0`,
      ],
      ...['--workers', '1', '--push-interval', '1s', '--hep', `udp://${A}:${homer}`],
      ...['--remote-write', `${prometheus.url}/api/v1/write`, '--otlp-metrics', collector.url],
      ...['--otlp-traces', collector.url],
    );
    await second.sees(/"msg":"ready"/);

    const stop = new AbortController();
    const calls = traffic(fleet.ports.sip, stop.signal);
    onTestFinished(() => {
      stop.abort();
      return calls;
    });
    const seen = (query: string) =>
      expect
        .poll(async () => (await prometheus.series(query)).length, { timeout: 90_000, message: query })
        .toBeGreaterThan(0);
    await seen('rate(sipfleet_registration_results_total{code="403"}[1m]) > 0');
    await writeFile(join(cwd, 'farm.yaml'), farms(fleet, 'second'));
    await sipfleet(cwd, 'apply', '-f', 'farm.yaml', ...token).succeeds();
    // Not for a time but for the rarest: a dummy call that fails twice, and two agents that disagree.
    for (const rare of [
      'increase(sipfleet_check_failures_total{phase="media"}[10m]) > 0',
      'sipfleet_backend_disagreeing_agents > 0',
      'changes(sipfleet_snapshot_generation[1m]) > 0',
      'increase(sipfleet_failovers_total[1m]) > 0',
      'ALERTS{alertstate="firing"}',
      'rate(sipfleet_large_requests_total[5m]) > 0',
    ])
      await seen(rare);
    stop.abort();
    await calls;

    const empty: string[] = [];
    for (const page of PAGES) {
      const built = JSON.parse(JSON.stringify(build(page)));
      const queries: [string, string][] = [
        ...(built.panels as Panel[]).flatMap(({ title, targets = [] }) =>
          targets.map(({ expr }): [string, string] => [title, expr]),
        ),
        ...(built.annotations.list as { name: string; expr: string }[]).map(({ name, expr }): [string, string] => [
          name,
          expr,
        ]),
      ];
      for (const [title, expr] of queries) {
        if ((await prometheus.series(withVariables(expr))).length === 0) empty.push(`${page.title}: ${title}: ${expr}`);
      }
      for (const { name, definition } of built.templating.list as { name: string; definition?: string }[]) {
        const [, match, label] = /^label_values\((.+), (\w+)\)$/.exec(definition ?? '') ?? [];
        if (match === undefined) continue;
        const values = await prometheus.get<string[]>(`label/${label}/values`, { 'match[]': withVariables(match) });
        expect(values.length, `${page.title}: $${name}`).toBeGreaterThan(0);
      }
    }
    expect(empty).toEqual([]);

    const { groups } = await prometheus.get<{
      groups: { rules: { name: string; health: string; lastError?: string }[] }[];
    }>('rules');
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
    for (const { record } of RECORDING.flatMap((group) => group.rules))
      expect((await prometheus.series(record)).length, record).toBeGreaterThan(0);

    // The agent that pushes is there like the one that is scraped, and its site with it.
    for (const agent of ['local', 'second'])
      expect(await prometheus.series(`sipfleet_build_info{agent="${agent}",site="milan"}`)).toHaveLength(1);
    await expect.poll(() => collector.requests(), { timeout: 60_000 }).toBeGreaterThan(5);
    expect(await prometheus.series('sum(sipfleet_push_requests_total{result="refused"}) > 0')).toEqual([]);
    // No audio: the panel names the backend, and the phase. A good one may fail now and then where the machine is busy.
    const failing = await prometheus.series(
      'topk(1, sum by (backend, phase) (increase(sipfleet_check_failures_total{check="dummy",phase="media"}[10m])) > 0)',
    );
    expect(failing.map(({ metric }) => metric)).toEqual([{ backend: 'mute', phase: 'media' }]);
    // Cannot register: the panel names the status.
    const refused = await prometheus.series(
      'sum by (code) (rate(sipfleet_registration_results_total{code="403"}[5m])) > 0',
    );
    expect(refused).toHaveLength(1);
  },
);

import { type ChildProcess, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Snapshot } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Ready } from './agent.ts';
import { FixtureControlPlane, snapshotOf } from './link/control-plane.fixture.ts';

/** Real processes on a shared machine: generous, because no test may depend on speed. */
const SOON = { timeout: 30_000, interval: 50 };
const LAUNCHER = fileURLToPath(new URL('../bin/sipfleet-agent.js', import.meta.url));

let data: string;
const closers: (() => unknown)[] = [];
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'sipfleet-'));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await rm(data, { recursive: true });
});

/** An agent as a user starts it, through the launcher. */
function launch(...argv: string[]) {
  const args = [LAUNCHER, '--admin', '127.0.0.1:0', '--data', join(data, 'agent'), '--workers', '1', ...argv];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const output = { out: '', err: '' };
  child.stdout?.on('data', (text) => (output.out += text));
  child.stderr?.on('data', (text) => (output.err += text));
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  closers.push(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const ready = async (): Promise<Ready> => {
    const said = once(child, 'message').then(([message]) => message as Ready);
    const died = exited.then((code) => Promise.reject(new Error(`exit ${code}: ${output.err}`)));
    return Promise.race([said, died]);
  };
  return { child, output, exited, ready };
}

const get = async (ready: Ready, path: string): Promise<Response> =>
  fetch(`http://${ready.admin.host}:${ready.admin.port}${path}`);

async function freeUdpPort(): Promise<number> {
  const socket = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

/** A backend that answers every request with 200. */
async function backend(): Promise<number> {
  const socket = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  socket.on('message', (bytes, from) => {
    const copied = bytes
      .toString()
      .split('\r\n')
      .filter((line) => /^(Via|From|To|Call-ID|CSeq):/.test(line));
    socket.send(['SIP/2.0 200 OK', ...copied, 'Content-Length: 0', '', ''].join('\r\n'), from.port, from.address);
  });
  await once(socket, 'listening');
  closers.push(() => socket.close());
  return socket.address().port;
}

/** One farm on 127.0.0.1 with one backend that is checked often. */
function snapshot(generation: number, listenPort: number, backendPort: number): Snapshot {
  const base = snapshotOf(generation);
  const spec = base.farms[0]!.spec;
  spec.listeners = [{ transport: 'udp', address: '127.0.0.1', port: listenPort }];
  spec.backends = [{ ...spec.backends[0]!, address: '127.0.0.1', port: backendPort }];
  spec.checks = [{ name: 'ping', type: 'options', interval: '100ms', timeout: '1s', rise: 1, fall: 1 }];
  return base;
}
async function file(content: unknown): Promise<string> {
  const path = join(data, 'snapshot.json');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

test('a snapshot file: ready line, HTTP, health, reload, a refused reload, and a clean end', async () => {
  const port = await freeUdpPort();
  const agent = launch('--snapshot', await file(snapshot(1, port, await backend())), '--name', 'edge-1');
  const ready = await agent.ready();
  const listeners = [{ farm: 'pbx', transport: 'udp', address: '127.0.0.1', port }];
  expect(ready).toMatchObject({ type: 'ready', generation: 1, listeners });
  await expect.poll(() => agent.output.out, SOON).toContain('"msg":"ready"');
  const line = agent.output.out.split('\n').find((l) => l.includes('"ready"'));
  expect(JSON.parse(line ?? '')).toMatchObject({ msg: 'ready', generation: 1, listeners, admin: ready.admin });
  expect((await get(ready, '/healthz')).status).toBe(200);
  expect((await get(ready, '/ready')).status).toBe(200);
  const metrics = async (): Promise<string> => (await get(ready, '/metrics')).text();
  await expect
    .poll(metrics, SOON)
    .toContain('sipfleet_backend_state{farm="pbx",backend="pbx1",state="up",agent="edge-1"} 1');

  await file('{"format":1,');
  agent.child.kill('SIGHUP');
  await expect.poll(metrics, SOON).toContain('sipfleet_snapshot_apply_failures_total{agent="edge-1"} 1');
  expect(await metrics()).toContain('sipfleet_snapshot_generation{agent="edge-1"} 1');

  await file(snapshot(2, port, await freeUdpPort()));
  agent.child.kill('SIGHUP');
  await expect.poll(metrics, SOON).toContain('sipfleet_snapshot_generation{agent="edge-1"} 2');
  await expect
    .poll(async () => (await get(ready, '/v1/status')).json(), SOON)
    .toMatchObject({
      agent: { name: 'edge-1', id: null },
      snapshot: { generation: 2 },
      listeners,
      backends: [{ farm: 'pbx', backend: 'pbx1', state: 'down', reason: 'check ping: connection refused' }],
      link: null,
    });

  agent.child.kill('SIGTERM');
  expect(await agent.exited).toBe(0);
  expect(agent.output.err).toBe('');
}, 60_000);

test('what cannot run is one line on stderr, exit 1', async () => {
  const port = await freeUdpPort();
  const bad = snapshot(1, port, 5060);
  bad.farms[0]!.spec.backends[0]!.port = 70_000;
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  closers.push(() => taken.close());
  const adminPort = (taken.address() as { port: number }).port;
  const cases: [string[], RegExp][] = [
    [['--snapshot', join(data, 'nowhere.json')], /^sipfleet-agent: .*nowhere\.json: no such file\n$/],
    [
      ['--snapshot', await file(bad)],
      /^sipfleet-agent: .*snapshot\.json: farms\[0\]\.spec\.backends\[0\]\.port: found 70000; allowed: .*\n$/,
    ],
    [['--control-plane', 'http://127.0.0.1:1'], /^sipfleet-agent: no identity in .*: give --join-token TOKEN.*\n$/],
    [
      ['--snapshot', 'x', '--workers', '0'],
      /^error: option '--workers <n>' .*Allowed: a whole number from 1 to 16\.\n$/,
    ],
  ];
  for (const [argv, line] of cases) {
    const agent = launch(...argv);
    expect(await agent.exited).toBe(1);
    expect(agent.output.err).toMatch(line);
  }
  const agent = launch('--snapshot', await file(snapshot(1, port, 5060)), '--admin', `127.0.0.1:${adminPort}`);
  expect(await agent.exited).toBe(1);
  expect(agent.output.err).toMatch(/^sipfleet-agent: admin HTTP on 127\.0\.0\.1:\d+: .*EADDRINUSE.*\n$/);
}, 60_000);

test('a port that another process serves is refused, also where SO_REUSEPORT would share it', async () => {
  const holder = dgram.createSocket({ type: 'udp4', reusePort: true }).bind(0, '127.0.0.1');
  await once(holder, 'listening');
  closers.push(() => holder.close());
  const { port } = holder.address();
  const agent = launch('--snapshot', await file(snapshot(1, port, 5060)));
  expect(await agent.exited).toBe(1);
  expect(agent.output.err).toMatch(
    new RegExp(`^sipfleet-agent: udp 127\\.0\\.0\\.1 port ${port}: address already in use.*\n$`),
  );
}, 60_000);

test('a control plane: join, run, go on without it after a restart, and hear of a change when it is back', async () => {
  const plane = new FixtureControlPlane();
  await plane.start();
  closers.push(() => plane.stop());
  const port = await freeUdpPort();
  const backendPort = await backend();
  plane.publish(snapshot(1, port, backendPort));
  const first = launch('--control-plane', plane.url, '--join-token', 'join-me');
  const etag = (await first.ready()).etag;
  expect(etag).toBe(plane.etag);
  await expect
    .poll(() => plane.reports.at(-1), SOON)
    .toMatchObject({
      snapshot: { status: 'APPLIED', etag, running: etag },
      backends: [{ farm: 'pbx', backend: 'pbx1', state: 'up' }],
    });
  first.child.kill('SIGKILL');
  await first.exited;
  await plane.stop();

  const second = launch('--control-plane', plane.url);
  const ready = await second.ready();
  expect(ready).toMatchObject({ etag, generation: 1 });
  plane.publish(snapshot(2, port, backendPort));
  await plane.start();
  const status = async () => (await (await get(ready, '/v1/status')).json()) as { snapshot: { generation: number } };
  await expect.poll(async () => (await status()).snapshot.generation, SOON).toBe(2);
  second.child.kill('SIGINT');
  expect(await second.exited).toBe(0);
}, 90_000);

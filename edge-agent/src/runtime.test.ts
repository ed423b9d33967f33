import dgram from 'node:dgram';
import { once } from 'node:events';
import type { Snapshot } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ProbeOutcome, ProbeTarget } from './health/probe.ts';
import { snapshotOf } from './link/control-plane.fixture.ts';
import { STATE } from './plan.ts';
import { Runtime } from './runtime.ts';

const SOON = { timeout: 10_000 };
let runtime: Runtime;
let probed: ProbeTarget[];
let outcome: ProbeOutcome;

beforeEach(() => {
  probed = [];
  outcome = { result: 'failure', evidence: 'no answer in 2s' };
  const quiet = { info: () => {}, warn: () => {}, error: () => {} };
  runtime = new Runtime({
    agent: { number: 1, address: '127.0.0.1' },
    workers: {
      count: 1,
      mailboxes: new SharedArrayBuffer(64),
      datapath: 'dgram',
      log: quiet as never,
      script: new URL('./workers.fixture.ts', import.meta.url),
    },
    health: {
      probe: async (target) => {
        probed.push(target);
        return outcome;
      },
      clock: { now: () => Date.now(), monotonic: () => performance.now() },
      random: () => 0,
      probed: () => {},
      changed: () => {},
    },
  });
});
afterEach(async () => {
  await runtime.close();
  await runtime.close();
});

/** Backends on both families, checked on; the port is one that nobody else uses by the time it is asked for. */
function checked(generation: number, more: (spec: Snapshot['farms'][number]['spec']) => void = () => {}): Snapshot {
  const snapshot = snapshotOf(generation, ['a', 'b']);
  const spec = snapshot.farms[0]!.spec;
  spec.listeners = [
    { transport: 'udp', address: '::1', port: 5098 },
    { transport: 'udp', address: '127.0.0.9', port: 5098 },
  ];
  spec.backends[1]!.address = '2001:db8::2';
  spec.checks = [{ name: 'ping', type: 'options', interval: '1h', timeout: '2s', rise: 1, fall: 1 }];
  more(spec);
  return snapshot;
}
const states = (): number[] => [...new Uint8Array(runtime.workers.plan!.farms[0]!.states)];

test('backends are probed from the listener of their family, and the verdict reaches the data threads', async () => {
  await runtime.apply(checked(1), 'one');
  await expect.poll(states, SOON).toEqual([STATE.down, STATE.down]);
  expect(probed.map((t) => [t.address, t.localAddress, t.timeoutMs])).toEqual([
    ['192.0.2.1', '127.0.0.9', 2000],
    ['2001:db8::2', '::1', 2000],
  ]);
  expect(runtime.backends()[0]).toMatchObject({ state: 'down', reason: 'check ping: no answer in 2s' });
});

test('a backend that is down stays down under a new plan, from its first moment; a moved one is unknown', async () => {
  await runtime.apply(checked(1), 'one');
  await expect.poll(states, SOON).toEqual([STATE.down, STATE.down]);
  outcome = { result: 'success', evidence: '200 OK' };
  const next = checked(2, (spec) => {
    spec.backends[1]!.port = 5080;
    spec.checks[0]!.timeout = '3s';
  });
  await runtime.apply(next, 'two');
  expect(states()).toEqual([STATE.down, STATE.unknown]);
  await expect.poll(states, SOON).toEqual([STATE.up, STATE.up]);
});

test('without checks a backend that was down serves again', async () => {
  await runtime.apply(checked(1), 'one');
  await expect.poll(states, SOON).toEqual([STATE.down, STATE.down]);
  await runtime.apply(
    checked(2, (spec) => spec.checks.splice(0)),
    'two',
  );
  expect(states()).toEqual([STATE.unknown, STATE.unknown]);
});

test('a plan that the data threads refuse leaves checks and snapshot as they were', async () => {
  await runtime.apply(checked(1), 'one');
  await expect(
    runtime.apply(
      checked(2, (spec) => spec.backends.pop()),
      'fail:0',
    ),
  ).rejects.toThrow('address already in use');
  expect(runtime.applied).toMatchObject({ etag: 'one', generation: 1 });
  expect(runtime.backends()).toHaveLength(2);
});

test('a farm runs with the Secrets that it names or not at all; those of the next snapshot take their place', async () => {
  const secret = (password: string) => new Map([['pbx-check', { username: '30', password }]]);
  const wanted = (generation: number) =>
    checked(generation, (spec) => {
      spec.checks[0]!.credentials = 'pbx-check';
    });
  await runtime.apply(wanted(1), 'one', secret('old'));
  await expect(runtime.apply(wanted(2), 'two')).rejects.toMatchObject({
    code: 'PLAN',
    message: 'farm pbx: checks[0].credentials: there is no Secret pbx-check',
  });
  expect(runtime.secrets).toEqual(secret('old'));
  await runtime.apply(wanted(2), 'two', secret('new'));
  expect(runtime.secrets).toEqual(secret('new'));
});

test('a port that somebody else holds is refused by name before any data thread is asked', async () => {
  const holder = dgram.createSocket('udp4').bind(0, '127.0.0.9');
  await once(holder, 'listening');
  const { port } = holder.address();
  const wanted = checked(1, (spec) => {
    spec.listeners[1]!.port = port;
  });
  await expect(runtime.apply(wanted, 'one')).rejects.toMatchObject({
    code: 'LISTEN',
    message: `udp 127.0.0.9 port ${port}: address already in use by another process`,
  });
  holder.close();
});

test('a backend that no listener can reach is refused: the agent has no address of that family', async () => {
  const wanted = checked(1, (spec) => {
    spec.listeners = [{ transport: 'udp', port: 5098 }];
  });
  await expect(runtime.apply(wanted, 'one')).rejects.toMatchObject({
    code: 'PLAN',
    message: 'farm pbx: no listener to reach 2001:db8::2 from: set --address to one of its family',
  });
});

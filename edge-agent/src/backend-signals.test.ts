import { expect, test } from 'vitest';
import { BackendSignals } from './backend-signals.ts';
import { Signals } from './balancer/signals.ts';
import { compilePlan } from './compile.ts';
import { snapshotOf } from './link/control-plane.fixture.ts';

const plan = compilePlan(snapshotOf(1, ['a', 'b']), 'one', { number: 1, address: '192.0.2.10' });

function signals() {
  const reported: string[] = [];
  const taker = new BackendSignals({
    running: () => ({ plan, ports: [] }),
    report: (farm, backend, signal) => reported.push(`${farm}/${backend} ${signal}`),
    log: { info: () => {} },
    icmp: false,
  });
  return { taker, reported, seen: new Signals(plan.farms[0]!.signals) };
}

test('what data threads saw reaches health once and is counted; an answer outweighs it', () => {
  const { taker, reported, seen } = signals();
  const [a, b] = plan.farms[0]!.backends.map(({ name }) => `${plan.farms[0]!.name}/${name}`);
  seen.saw(0, 'timeout');
  seen.saw(0, 'timeout');
  seen.saw(1, 'unavailable');
  seen.answered(1);
  taker.take();
  expect(reported).toEqual([`${a} timeout`, `${a} timeout`, `${b} answered`]);
  taker.take();
  expect(reported).toHaveLength(3);
  expect(taker.totals().map(({ signal, count }) => [signal, count])).toEqual([
    ['timeout', 2],
    ['503', 1],
  ]);
  taker.close();
  taker.close();
});

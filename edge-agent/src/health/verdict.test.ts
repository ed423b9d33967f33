import { expect, test } from 'vitest';
import { derive, type Evidence, judge, type ProbeResult, type State, UNDECIDED, type Voice } from './verdict.ts';

/** `+` success, `-` failure; the state after each probe. */
function run(results: string, thresholds = { rise: 2, fall: 3 }): State[] {
  let verdict = UNDECIDED;
  return [...results].map((r) => {
    const result: ProbeResult = r === '+' ? 'success' : 'failure';
    verdict = judge(verdict, result, thresholds);
    return verdict.state;
  });
}

test('the first success brings an unknown backend up at once', () => {
  expect(run('+')).toEqual(['up']);
});

test('an unknown backend stays unknown, and so serves, until fall failures in a row', () => {
  expect(run('---')).toEqual(['unknown', 'unknown', 'down']);
});

test('a success between failures starts the count anew', () => {
  expect(run('+--+--')).toEqual(['up', 'up', 'up', 'up', 'up', 'up']);
  expect(run('+---')).toEqual(['up', 'up', 'up', 'down']);
});

test('a backend that is down needs rise successes in a row', () => {
  expect(run('---+-++')).toEqual(['unknown', 'unknown', 'down', 'down', 'down', 'down', 'up']);
});

test('thresholds of one change the verdict with every result', () => {
  expect(run('-+-+', { rise: 1, fall: 1 })).toEqual(['down', 'up', 'down', 'up']);
});

test('a result that says nothing changes nothing', () => {
  const before = { state: 'up', streak: 2 } as const;
  expect(judge(before, 'inconclusive', { rise: 2, fall: 3 })).toBe(before);
});

const voice = (state: State, reason: string = state): Voice => ({ state, reason });
const derived = (more: Partial<Evidence>) =>
  derive({ own: [], shared: [], suspicion: undefined, held: undefined, startAs: 'unknown', checked: true, ...more });

test('the table: the first row that says something counts', () => {
  const [up, down, unknown] = [voice('up'), voice('down', 'own'), voice('unknown')];
  const all = { own: [up, down], suspicion: 'traffic', shared: [voice('down', 'shared')], held: 'held' };
  expect(derived(all)).toEqual({ state: 'down', reason: 'own' });
  expect(derived({ ...all, own: [up] })).toEqual({ state: 'down', reason: 'traffic' });
  expect(derived({ ...all, own: [up], suspicion: undefined })).toEqual({ state: 'down', reason: 'shared' });
  expect(derived({ own: [up], held: 'held' })).toEqual({ state: 'down', reason: 'held' });
  expect(derived({ own: [up], shared: [up] }).state).toBe('up');
  expect(derived({ own: [up, unknown] }).state).toBe('unknown');
  expect(derived({ own: [unknown], startAs: 'down' }).state).toBe('down');
  // Adding a check to a backend that serves must not take it out.
  expect(derived({ own: [up, unknown], startAs: 'down' }).state).toBe('unknown');
  expect(derived({ checked: false, startAs: 'down' })).toEqual({ state: 'unknown', reason: 'no checks configured' });
});

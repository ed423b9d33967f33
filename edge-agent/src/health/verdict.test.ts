import { expect, test } from 'vitest';
import { combine, judge, type ProbeResult, type State, UNDECIDED } from './verdict.ts';

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

test('of several checks one failed takes the backend down, and up needs all', () => {
  expect(combine(['up', 'down'])).toBe('down');
  expect(combine(['unknown', 'down'])).toBe('down');
  expect(combine(['up', 'unknown'])).toBe('unknown');
  expect(combine(['up', 'up'])).toBe('up');
  expect(combine([])).toBe('unknown');
});

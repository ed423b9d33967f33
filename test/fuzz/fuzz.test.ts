import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { agent } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { framerTarget } from './framer-target.ts';
import { FOUND, fuzz, type Limits } from './fuzz.ts';
import { messages, SOURCES } from './messages.ts';
import { checkMessage, FARMS, proxyTarget } from './proxy-target.ts';
import { randomOf } from './random.ts';
import { readersTarget } from './readers-target.ts';
import { Finding } from './target.ts';
import { textsTarget } from './texts-target.ts';

const SEED = 4475;
const times = (runs: number): Limits => ({ runs, until: Infinity, perMessage: Infinity });
const all = messages();

test.each([
  { target: proxyTarget(all), runs: 8_000 },
  { target: framerTarget(all), runs: 1_500 },
  { target: readersTarget(), runs: 20_000 },
  { target: textsTarget(all), runs: 4_000 },
])(
  '$target.name: nothing is found',
  ({ target, runs }) => {
    const { found } = fuzz(target, SEED, times(runs));
    // The message says all that is needed to see it again.
    expect(found && { ...found, error: String(found.error), seed: SEED }).toBeUndefined();
  },
  60_000,
);

test.each(readdirSync(FOUND))('what was found once stays mended: %s', (name) => {
  const text = readFileSync(join(FOUND, name)).toString('latin1');
  for (const farm of FARMS) for (const source of SOURCES) checkMessage(text, source, agent(farm));
});

test('a fault is found, with its run and its input, and the run repeats alone', () => {
  const target = proxyTarget(all);
  const faulty = {
    ...target,
    check: ({ message }: { message: string }) => {
      if (message.includes('%zz')) throw new Finding('planted');
    },
  };
  const { found } = fuzz(faulty, SEED, times(5_000));
  expect(found?.error.message).toBe('planted');
  expect(target.input(randomOf(SEED, found!.run))).toEqual(found!.input);
  expect(fuzz(faulty, SEED, times(found!.run)).found).toBeUndefined();
});

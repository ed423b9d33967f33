/** `npm run fuzz`: the proxy and its readers in this process, then a real agent over the wire, until time is up or something is found. */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { framerTarget } from './framer-target.ts';
import { fuzz, keep } from './fuzz.ts';
import { messages as corpusAndCalls } from './messages.ts';
import { proxyTarget } from './proxy-target.ts';
import { randomOf } from './random.ts';
import { readersTarget } from './readers-target.ts';
import type { Target } from './target.ts';
import { textsTarget } from './texts-target.ts';
import { WireBed, WireFailure } from './wire.ts';

const USAGE = `npm run fuzz -- [options]
  --seed N       repeat the run of this seed; default another one each time
  --seconds N    time for each target, default 30
  --runs N       messages for each target, default as many as the time allows
  --only NAMES   by commas: proxy, framer, readers, texts, wire; default all
  --help`;

const NAMES = ['proxy', 'framer', 'readers', 'texts', 'wire'];
/** Nothing may take longer, on whatever machine this is: a message that does is a way to stop a data thread. */
const PER_MESSAGE_MS = 500;

interface Settings {
  seed: number;
  seconds: number;
  runs: number;
  only: readonly string[];
}

function settingsOf(argv: readonly string[]): Settings {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seed: { type: 'string', default: String(randomInt(2 ** 31)) },
      seconds: { type: 'string', default: '30' },
      runs: { type: 'string', default: 'Infinity' },
      only: { type: 'string', default: NAMES.join(',') },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const number = (name: 'seed' | 'seconds' | 'runs') => {
    const value = Number(values[name]);
    if (!(value >= 0)) throw new Error(`--${name}: found "${values[name]}", allowed is a number from 0`);
    return value;
  };
  const only = values.only.split(',');
  for (const name of only)
    if (!NAMES.includes(name)) throw new Error(`--only: found "${name}", allowed are ${NAMES.join(', ')}`);
  return { seed: number('seed'), seconds: number('seconds'), runs: number('runs'), only };
}

/** False: something was found. */
function inProcess(target: Target, { seed, seconds, runs }: Settings): boolean {
  const until = performance.now() + seconds * 1_000;
  const done = fuzz(target, seed, { runs, until, perMessage: PER_MESSAGE_MS });
  if (done.found === undefined) {
    console.log(`${target.name}: ${done.runs} messages, nothing found`);
    return true;
  }
  const { run, input, error } = done.found;
  console.error(`${target.name}: run ${run} of seed ${seed}: ${error.stack}`);
  console.error(`kept as ${keep(target.name, input.message)}`);
  return false;
}

/** False: the agent suffered. */
async function overTheWire(all: readonly string[], { seed, seconds, runs }: Settings): Promise<boolean> {
  const until = performance.now() + seconds * 1_000;
  const bed = await WireBed.start();
  let progress = { messages: 0, residentBytes: 0, baselineBytes: 0 };
  try {
    for (let batch = 0; performance.now() < until && progress.messages < runs; batch++)
      progress = await bed.batch(randomOf(seed, batch), all);
    const { messages, residentBytes, baselineBytes } = progress;
    console.log(
      `wire: ${messages} messages, nothing found; resident ${baselineBytes >> 20} → ${residentBytes >> 20} MiB`,
    );
    return true;
  } catch (error) {
    console.error(`wire, seed ${seed}, after ${progress.messages} messages: ${(error as Error).message}`);
    if (error instanceof WireFailure) {
      const paths = error.batch.map((text) => keep('wire', text));
      console.error(`one of these, or several together:\n${paths.join('\n')}`);
    }
    return false;
  } finally {
    await bed.close();
  }
}

try {
  const settings = settingsOf(process.argv.slice(2));
  console.log(`seed ${settings.seed}`);
  const all = corpusAndCalls();
  const targets = [proxyTarget(all), framerTarget(all), readersTarget(), textsTarget(all)];
  let clean = true;
  for (const target of targets) if (settings.only.includes(target.name)) clean = inProcess(target, settings) && clean;
  if (settings.only.includes('wire')) clean = (await overTheWire(all, settings)) && clean;
  process.exitCode = clean ? 0 : 1;
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

import { parseArgs } from 'node:util';
import { callsOnBadNetwork } from '../e2e/impaired.ts';
import { Stage } from '../e2e/stage.ts';
import { createTopology } from '../netns/topology.ts';
import { canUseNamespaces } from '../setup/peers.ts';

const USAGE = `npm run soak -- [options]
Calls through an agent on a network that loses 2 %, doubles and reorders; fails if one is lost or the agent's memory grows.

  --minutes N   how long, default 10
  --rate N      calls per second, default 200
  --workers N   data threads of the agent, default 1
  --help

Example: npm run soak -- --minutes 60 --rate 100 --workers 2
Needs root on Linux, and SIPp and the other peers of the tests (npm test installs them).`;

/** What a heap may breathe over ten minutes; a leak of a transaction would be far above at any rate. */
const BREATHING_BYTES = 32 * 2 ** 20;

const options = {
  minutes: { type: 'string', default: '10' },
  rate: { type: 'string', default: '200' },
  workers: { type: 'string', default: '1' },
  help: { type: 'boolean', default: false },
} as const;

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name}: found "${text}", allowed is a number above 0`);
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options });
  if (values.help) return console.log(USAGE);
  if (!canUseNamespaces())
    throw new Error('the soak needs root on Linux and the peers of the tests: run npm test first');
  const seconds = Math.round(positive('minutes', values.minutes) * 60);
  const rate = positive('rate', values.rate);
  const stage = new Stage(await createTopology());
  let shown = 0;
  const progress = (passed: number) => {
    if (passed < shown + 10) return;
    shown = passed;
    console.error(`${Math.round(passed)} of ${seconds} s`);
  };
  try {
    const { calls, memory } = await callsOnBadNetwork(stage, {
      workers: positive('workers', values.workers),
      rate,
      seconds,
      progress,
    });
    const megabytes = memory.map((bytes) => (bytes / 2 ** 20).toFixed(0));
    console.log(
      `${calls.successful} calls, ${calls.failed} lost, ${calls.retransmissions} retransmissions by the callers`,
    );
    console.log(`memory of the agent by quarter: ${megabytes.join(', ')} MiB`);
    if (calls.failed > 0 || calls.successful !== rate * seconds) throw new Error('calls were lost');
    if (memory[3] > memory[1] + BREATHING_BYTES) throw new Error('the memory of the agent grew');
  } finally {
    await stage.close();
  }
}

main().catch((error: Error) => {
  console.error(`soak: ${error.message}`);
  process.exitCode = 1;
});

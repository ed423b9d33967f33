import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { callsOnBadNetwork } from '../e2e/impaired.ts';
import { Stage } from '../e2e/stage.ts';
import type { Agent } from '../interop/agent.ts';
import { createTopology } from '../netns/topology.ts';
import { canUseNamespaces } from '../setup/peers.ts';

const USAGE = `npm run soak -- [options]
Calls through an agent on a network that loses 2 %, doubles and reorders; fails if one is lost or the agent's memory grows.

  --minutes N   how long, default 10
  --rate N      calls per second, default 200
  --workers N   data threads of the agent, default 1
  --exporter-down N   for so many minutes nobody takes the metrics that the agent pushes; fails if any of them is lost
  --help

Example: npm run soak -- --minutes 60 --rate 100 --workers 2
Needs root on Linux, and SIPp and the other peers of the tests (npm test installs them).`;

/** What a heap may breathe over ten minutes; a leak of a transaction would be far above at any rate. */
const BREATHING_BYTES = 32 * 2 ** 20;

const options = {
  minutes: { type: 'string', default: '10' },
  rate: { type: 'string', default: '200' },
  workers: { type: 'string', default: '1' },
  'exporter-down': { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name}: found "${text}", allowed is a number above 0`);
  return value;
}

/** In the agent's own network. */
const RECEIVER_PORT = 4318;
const PUSH_SECONDS = 15;

/** Somebody who takes no metrics for a while, and what the agent needs to push to them. */
async function startReceiver(stage: Stage, seconds: number): Promise<readonly string[]> {
  const script = join(import.meta.dirname, 'receiver.ts');
  const receiver = stage.net.agentA.spawn(process.execPath, [script, String(RECEIVER_PORT), String(seconds)]);
  await receiver.sees(/receiver listens/);
  return ['--otlp-metrics', `http://127.0.0.1:${RECEIVER_PORT}/v1/metrics`, '--push-interval', `${PUSH_SECONDS}s`];
}

/** Everything that waited has arrived. */
async function checkPushes(agent: Agent): Promise<void> {
  const metric = (name: string, ...labels: string[]) => agent.metric(`sipfleet_push_${name}`, ...labels);
  // What came last may wait for its turn.
  for (let i = 0; i < 60 && (await metric('spool_bytes')) > 0; i++) await sleep(1000);
  const taken = await metric('requests_total', 'result="taken"');
  const later = await metric('requests_total', 'result="later"');
  const lost = await metric('dropped_samples_total');
  const waits = await metric('spool_bytes');
  console.log(`pushes: ${taken} taken, ${later} to be sent again, ${lost} samples lost, ${waits} bytes wait`);
  if (later === 0 || taken === 0 || lost > 0 || waits > 0) throw new Error('metrics did not arrive after the outage');
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options });
  if (values.help) return console.log(USAGE);
  if (!canUseNamespaces())
    throw new Error('the soak needs root on Linux and the peers of the tests: run npm test first');
  const seconds = Math.round(positive('minutes', values.minutes) * 60);
  const rate = positive('rate', values.rate);
  const down = values['exporter-down'];
  const downSeconds = down === undefined ? undefined : Math.round(positive('exporter-down', down) * 60);
  if (downSeconds !== undefined && downSeconds + 60 > seconds)
    throw new Error(`--exporter-down: found "${down}", allowed is at least a minute less than --minutes`);
  const stage = new Stage(await createTopology());
  let shown = 0;
  const progress = (passed: number) => {
    if (passed < shown + 10) return;
    shown = passed;
    console.error(`${Math.round(passed)} of ${seconds} s`);
  };
  try {
    const more = downSeconds === undefined ? [] : await startReceiver(stage, downSeconds);
    const { calls, memory, agent } = await callsOnBadNetwork(stage, {
      more,
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
    if (downSeconds !== undefined) await checkPushes(agent);
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

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { lost, measureImpaired } from '../bench/impaired.ts';
import { callsOnBadNetwork } from '../e2e/impaired.ts';
import { Stage } from '../e2e/stage.ts';
import type { Agent } from '../interop/agent.ts';
import { createTopology } from '../netns/topology.ts';
import { canUseNamespaces } from '../setup/peers.ts';

const USAGE = `npm run soak -- [options]
Calls through an agent on a network that loses 2 %, doubles and reorders; fails if one is lost or the agent's memory grows. The agent pushes metrics (OTLP,
remote write) and traces; at first nobody takes them, and none of them may be lost.

  --minutes N   how long, default 10
  --rate N      calls per second, default 200
  --workers N   data threads of the agent, default 1
  --exporter-down N   minutes without a receiver for what is pushed: gone, silent, then answering 503; default a third of all, 0: nothing is pushed
  --half-peak   instead: whole calls at half of the highest rate that the agent does on one core (or at --rate), as \`npm run bench -- --sections impaired\` makes them;
                nothing is pushed, one worker
  --help

Examples: npm run soak -- --minutes 75 --exporter-down 60 --rate 100 --workers 2
          npm run soak -- --half-peak
Needs root on Linux, and SIPp and the other peers of the tests (npm test installs them).`;

/** What a heap may breathe over ten minutes; a leak of a transaction would be far above at any rate. */
const BREATHING_BYTES = 32 * 2 ** 20;
/** What waited while nobody took what is pushed is read from disk, put together and sent in the last quarter. */
const CATCHING_UP_BYTES = 32 * 2 ** 20;

const options = {
  minutes: { type: 'string', default: '10' },
  rate: { type: 'string' },
  workers: { type: 'string', default: '1' },
  'exporter-down': { type: 'string' },
  'half-peak': { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name}: found "${text}", allowed is a number above 0`);
  return value;
}

/** Seconds, of all. What waited needs a while to arrive. */
function outage(text: string | undefined, seconds: number): number {
  if (text === undefined) return Math.round(seconds / 3);
  const down = Math.round(Number(text) * 60);
  if (!(down === 0 || (down >= 30 && down + 60 <= seconds)))
    throw new Error(`--exporter-down: found "${text}", allowed is 0, or from 0.5 to a minute less than --minutes`);
  return down;
}

/** In the agent's own network. */
const RECEIVER_PORT = 4318;
const PUSH_SECONDS = 15;

const EXPORTERS = ['otlp', 'remote-write', 'otlp-traces'] as const;

/** Somebody who takes nothing for a while, and what the agent needs to push to them. */
async function startReceiver(stage: Stage, seconds: number): Promise<readonly string[]> {
  const script = join(import.meta.dirname, 'receiver.ts');
  const receiver = stage.net.agentA.spawn(process.execPath, [script, String(RECEIVER_PORT), String(seconds)]);
  await receiver.sees(/the receiver is away/);
  const url = `http://127.0.0.1:${RECEIVER_PORT}`;
  const pushes = ['--otlp-metrics', `${url}/v1/metrics`, '--remote-write', `${url}/write`];
  return [...pushes, '--otlp-traces', `${url}/v1/traces`, '--push-interval', `${PUSH_SECONDS}s`];
}

/** Everything that waited has arrived. */
async function checkPushes(agent: Agent): Promise<void> {
  const metric = (name: string, ...labels: string[]) => agent.metric(`sipfleet_${name}`, ...labels);
  // What came last may wait for its turn.
  for (let i = 0; i < 60 && (await metric('push_spool_bytes')) > 0; i++) await sleep(1000);
  const faults: string[] = [];
  for (const name of EXPORTERS) {
    const own = `exporter="${name}"`;
    const taken = await metric('push_requests_total', own, 'result="taken"');
    const later = await metric('push_requests_total', own, 'result="later"');
    const lost = await metric('push_dropped_samples_total', own);
    const waits = await metric('push_spool_bytes', own);
    console.log(`${name}: ${taken} taken, ${later} to be sent again, ${lost} samples lost, ${waits} bytes wait`);
    if (later === 0 || taken === 0 || lost > 0 || waits > 0) faults.push(name);
  }
  const spans = await metric('trace_spans_total');
  const without = await metric('trace_spans_dropped_total', 'reason="queue"');
  console.log(`${spans} spans, ${without} of them without room`);
  if (spans === 0 || without > 0) faults.push('spans');
  if (faults.length > 0) throw new Error(`did not arrive after the outage: ${faults.join(', ')}`);
}

/** Faster than SIPp can: the bench's callers and callees, in a network namespace of their own. */
async function soakAtHalfPeak(seconds: number, rate: number | undefined): Promise<void> {
  const [result] = await measureImpaired({ peers: ['sipfleet'], seconds, rate });
  if (!result) throw new Error('nothing was measured');
  const { called, answered, network, memory } = result;
  const megabytes = [memory.before, ...memory.quarters].map((bytes) => (bytes / 2 ** 20).toFixed(0));
  console.log(
    `${called.ended} calls at ${result.rate}/s, ${lost(result)} lost; sent again: ${called.invitesAgain} INVITE, ${called.byesAgain} BYE, ${called.acksAgain} ACK, ${answered.answersAgain} 2xx`,
  );
  console.log(`lost on purpose: ${network.lost} datagrams, doubled ${network.doubled}, held back ${network.delayed}`);
  console.log(`memory of the agent before and by quarter: ${megabytes.join(', ')} MiB`);
  if (lost(result) > 0) throw new Error('calls were lost');
  if (memory.quarters[3] > memory.quarters[1] + BREATHING_BYTES) throw new Error('the memory of the agent grew');
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options });
  if (values.help) return console.log(USAGE);
  if (!canUseNamespaces())
    throw new Error('the soak needs root on Linux and the peers of the tests: run npm test first');
  const seconds = Math.round(positive('minutes', values.minutes) * 60);
  const given = values.rate === undefined ? undefined : positive('rate', values.rate);
  if (values['half-peak']) return soakAtHalfPeak(seconds, given);
  const rate = given ?? 200;
  const downSeconds = outage(values['exporter-down'], seconds);
  const stage = new Stage(await createTopology());
  let shown = 0;
  const progress = (passed: number) => {
    if (passed < shown + 10) return;
    shown = passed;
    console.error(`${Math.round(passed)} of ${seconds} s`);
  };
  try {
    const more = downSeconds === 0 ? [] : await startReceiver(stage, downSeconds);
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
    if (downSeconds > 0) await checkPushes(agent);
    if (calls.failed > 0 || calls.successful !== rate * seconds) throw new Error('calls were lost');
    if (memory[3] > memory[1] + BREATHING_BYTES + (downSeconds > 0 ? CATCHING_UP_BYTES : 0))
      throw new Error('the memory of the agent grew');
  } finally {
    await stage.close();
  }
}

main().catch((error: Error) => {
  console.error(`soak: ${error.message}`);
  process.exitCode = 1;
});

import type { Endpoint } from '../../edge-agent/src/ports.ts';
import { METHOD } from '../../edge-agent/src/sip/method.ts';
import { CallWatch } from '../../edge-agent/src/telemetry/calls/watch.ts';
import { createEventRing, EventWriter, FLAG, LEG, monotonic } from '../../edge-agent/src/telemetry/events.ts';
import { createTape, TapeWriter } from '../../edge-agent/src/telemetry/tape.ts';

/**
 * CPU time of the control thread per transaction that a data thread tells it of: draining the ring, counting, dialogs, recorder.
 *
 *   node test/bench/watch-micro.ts [transactions] [invites | calls] [recorder | off]
 *
 * `invites`: INVITEs alone, whose dialogs never end (as the section `pairs` of the bench has them); `calls`: each is ended by a BYE, 2,000 calls
 * later. Default: calls, recorder. Every 400 transactions (20 ms at 20,000/s) are one drain. Only drains are timed.
 */
const transactions = Number(process.argv[2] ?? 1_000_000);
const calls = process.argv[3] !== 'invites';
const recorded = process.argv[4] !== 'off';
const BATCH = 400;
const STANDING = 2000;

const plan = {
  generation: 1,
  listeners: [],
  farms: [
    {
      name: 'pbx',
      backends: ['pbx1', 'pbx2'].map((name) => ({ name, address: '127.0.0.1', port: 5060 })),
      sessions: new SharedArrayBuffer(8),
    },
  ],
} as unknown as Parameters<CallWatch['use']>[0];
const ring = createEventRing();
const tape = createTape(1 << 24);
const watch = new CallWatch({
  rings: [ring],
  ...(recorded && {
    recorder: {
      tapes: [tape],
      bytes: 32 << 20,
      calls: 1000,
      perSecond: 20,
      redact: (message: Uint8Array) => Buffer.from(message),
      slowAfter: 5,
      sampled: 0.01,
    },
  }),
});
watch.use(plan, 1);
const writer = new EventWriter(ring);
const recorder = new TapeWriter(tape, monotonic);
const message = new Uint8Array(600).fill(65);
const remote = { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0x7f000001, port: 5060 } as Endpoint;

/** 51 bits, alike in every run. */
const hashOf = (n: number): number => (Math.imul(n, 0x9e3779b1) >>> 0) * 0x80000 + (n & 0x7ffff);
function tell(n: number, method: number, flags: number): void {
  const call = hashOf(n);
  const began = performance.now() - 3;
  // Received and sent on: request, 100 and response.
  if (recorded) for (let i = 0; i < 5; i++) recorder.received(call, message, 0, message.length, remote, 0);
  writer.transaction(
    {
      method,
      call,
      plan: 1,
      farm: 0,
      leg: LEG.fromClient,
      flags,
      backend: n & 1,
      source: -1,
      dialogStart: -1,
      binding: 0,
      began,
      provisional: method === METHOD.INVITE ? began + 1 : 0,
      sent: 1,
      attempts: 1,
      failovers: 0,
    },
    200,
    0,
  );
}

let n = 0;
let told = 0;
function batch(): void {
  for (let i = 0; i < BATCH; i += calls ? 2 : 1, n++) {
    tell(n, METHOD.INVITE, 0);
    told++;
    if (!calls || n < STANDING) continue;
    tell(n - STANDING, METHOD.BYE, FLAG.inDialog);
    told++;
  }
}

function run(count: number): number {
  let micros = 0;
  told = 0;
  while (told < count) {
    batch();
    const before = process.cpuUsage();
    watch.drain();
    const { user, system } = process.cpuUsage(before);
    micros += user + system;
  }
  return micros / told;
}

run(20_000);
const each = run(transactions);
const { heapUsed } = process.memoryUsage();
console.log(
  `${calls ? 'calls' : 'invites'}, ${recorded ? 'recorder' : 'no recorder'}: ${each.toFixed(2)} µs per transaction, ` +
    `${transactions} transactions, heap ${(heapUsed / 1e6).toFixed(0)} MB, ${watch.lost} lost`,
);
watch.close();

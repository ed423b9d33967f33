import { describe, expect, test } from 'vitest';
import { messages } from '../fuzz/messages.ts';
import { randomOf } from '../fuzz/random.ts';
import { WireBed } from '../fuzz/wire.ts';
import { sumOf } from '../interop/agent.ts';
import { canUseLoopback } from './loopback.ts';

const SEED = 5118;
const BATCHES = 10;

/** The short form of `npm run fuzz`: the same messages every time, in calls whose course is chance. Needs no root. */
describe.skipIf(!canUseLoopback)('mutated messages over the wire', () => {
  test('a real agent answers on, keeps its data threads, and does not grow', async () => {
    const all = messages();
    const bed = await WireBed.start();
    try {
      let sent = 0;
      // Each batch rejects when the agent suffers by it.
      for (let batch = 0; batch < BATCHES; batch++) sent = (await bed.batch(randomOf(SEED, batch), all)).messages;
      expect(sent).toBeGreaterThan(1_000);
      // It came to where it was meant to: past framing and parsing, into transactions, and into what precedes SIP on a stream.
      const metrics = await bed.metrics();
      const drops = (reason: string) => sumOf(metrics, 'sipfleet_dropped_messages_total', `reason="${reason}"`);
      expect(drops('forged_branch')).toBeGreaterThan(0);
      expect(drops('forged_token')).toBeGreaterThan(0);
      expect(sumOf(metrics, 'sipfleet_failovers_total')).toBeGreaterThan(0);
      for (const transport of ['tcp', 'tls', 'ws', 'wss']) {
        const failed = sumOf(metrics, 'sipfleet_handshakes_failed_total', `transport="${transport}"`);
        expect([transport, failed]).toEqual([transport, expect.toSatisfy((n: number) => n > 0)]);
      }
      // What clients have closed is closed. On TCP the agent has some to a PBX.
      const left = async () => {
        const now = await bed.metrics();
        return ['tls', 'ws', 'wss'].map((t) => sumOf(now, 'sipfleet_connections', `transport="${t}"`));
      };
      await expect.poll(left, { timeout: 10_000 }).toEqual([0, 0, 0]);
    } finally {
      await bed.close();
    }
  });
});

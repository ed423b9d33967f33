import { describe, expect, test } from 'vitest';
import { messages } from '../fuzz/messages.ts';
import { randomOf } from '../fuzz/random.ts';
import { WireBed } from '../fuzz/wire.ts';
import { canUseLoopback } from './loopback.ts';

const SEED = 5118;
const BATCHES = 12;

/** The short form of `npm run fuzz`, the same every time. Needs no root. */
describe.skipIf(!canUseLoopback)('mutated messages over the wire', () => {
  test('a real agent answers on, keeps its data threads, and does not grow', async () => {
    const all = messages();
    const bed = await WireBed.start();
    try {
      let sent = 0;
      // Each batch rejects when the agent suffers by it.
      for (let batch = 0; batch < BATCHES; batch++) sent = (await bed.batch(randomOf(SEED, batch), all)).messages;
      expect(sent).toBeGreaterThan(1_000);
    } finally {
      await bed.close();
    }
  });
});

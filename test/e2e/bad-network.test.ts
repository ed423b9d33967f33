import { describe, expect, test } from 'vitest';
import { canUseNamespaces } from '../setup/peers.ts';
import { callsOnBadNetwork } from './impaired.ts';
import { useStage } from './stage.ts';

const RATE = 60;
const SECONDS = 15;

/** Ten minutes of this at a higher rate: `npm run soak`. */
describe.skipIf(!canUseNamespaces())('a network that loses 2 %, doubles and reorders', () => {
  const stage = useStage();

  test.each([1, 3])('no call is lost, %i workers', async (workers) => {
    const { calls, packets, memory } = await callsOnBadNetwork(stage(), { workers, rate: RATE, seconds: SECONDS });
    expect(calls).toMatchObject({ successful: RATE * SECONDS, failed: 0 });
    // The network was bad indeed: a call is a dozen packets at the agent.
    const least = RATE * SECONDS * 0.02;
    for (const count of [calls.retransmissions, packets.lost, packets.doubled, packets.delayed])
      expect(count).toBeGreaterThan(least);
    expect(memory[3]).toBeLessThan(memory[1] + 64 * 2 ** 20);
  });
});

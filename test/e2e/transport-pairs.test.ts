import { describe, expect, test } from 'vitest';
import type { Call } from '../interop/phone.ts';
import { value, values } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { AGENT, type Bridge, LINES, startBridge } from './bridge.ts';

/** Every transport to every transport, through a Kamailio that is spoken to over each one that it may be: all calls at once. */
describe.skipIf(!canUseNamespaces())('from every transport to every transport', () => {
  test.each([
    ['udp', 1],
    ['tcp', 3],
    ['tls', 3],
  ] as const)(
    'by way of a PBX on %s, %i workers: calls stand, are renewed and end from either side',
    async (towards, workers) => {
      const bridge = await startBridge({ workers, towards });
      await bridge.agent.backendBecomes('kamailio', 'up');
      const phones = async (role: string) =>
        Object.fromEntries(
          await Promise.all(LINES.map(async (line) => [line, await bridge.phone(`${role}-${line}`, line)] as const)),
        ) as Record<(typeof LINES)[number], Awaited<ReturnType<Bridge['phone']>>>;
      const callers = await phones('caller');
      const callees = await phones('callee');
      const pairs = LINES.flatMap((from) => LINES.map((to) => [from, to] as const));
      await Promise.all(
        pairs.map(async ([from, to], i) => {
          const call = await callers[from].call(`callee-${to}`);
          const callId = value(call.first, 'call-id');
          const same = (c: Call) => value(c.first, 'call-id') === callId;
          await expect.poll(() => callees[to].calls.some(same), { timeout: 30_000 }).toBe(true);
          const called = callees[to].calls.find(same) as Call;
          // Each passage that changes transport or side has two entries of ours (RFC 5658).
          const own = values(called.first, 'record-route').filter((route) => route.includes(`@${AGENT}:`));
          expect([from, to, own.length]).toEqual([from, to, (from === towards ? 1 : 2) + (to === towards ? 1 : 2)]);
          for (const side of [call, called]) expect((await side.ask('UPDATE')).status).toBe(200);
          for (const side of [called, call]) expect((await side.ask('INVITE')).status).toBe(200);
          const [first, second] = i % 2 === 0 ? [call, called] : [called, call];
          expect((await first.hangUp()).status).toBe(200);
          await second.ended();
        }),
      );
    },
  );
});

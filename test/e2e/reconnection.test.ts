import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Call, Phone } from '../interop/phone.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { LINES, startBridge } from './bridge.ts';

const STREAMS = LINES.filter((line) => line !== 'udp');
/** Of every phone: among three data threads, connections that all come to the same one are next to impossible. */
const RECONNECTIONS = 3;

/** A phone with a connection, in a call with one on UDP. */
interface Talk {
  transport: (typeof STREAMS)[number];
  phone: Phone;
  own: Call;
  other: Call;
}

/** The agent lives on and knows each client's new connection from its REGISTER, by the client key of the tokens that the PBX and the other phone hold. */
describe.skipIf(!canUseNamespaces())('phones that lose their connections in a call', () => {
  test.each([1, 3])('are reached by the other side over their new ones, %i workers', async (workers) => {
    const bridge = await startBridge({ workers });
    const [caller, callee] = [await bridge.phone('caller-udp', 'udp'), await bridge.phone('callee-udp', 'udp')];
    const talks: Talk[] = [];
    for (const [i, transport] of STREAMS.entries()) {
      const calling = await bridge.phone(`caller-${transport}`, transport);
      const own = await calling.call('callee-udp');
      talks.push({ transport, phone: calling, own, other: await callee.called(i) });
      const called = await bridge.phone(`callee-${transport}`, transport);
      const other = await caller.call(`callee-${transport}`);
      talks.push({ transport, phone: called, own: await called.called(), other });
    }
    const connections = () => bridge.agent.metric('sipfleet_connections');

    for (let i = 0; i < RECONNECTIONS; i++) {
      await expect.poll(connections, { timeout: 20_000 }).toBe(talks.length);
      for (const { phone } of talks) phone.close();
      await expect.poll(connections, { timeout: 20_000 }).toBe(0);
      await Promise.all(
        talks.map(async ({ transport, phone, own, other }) => {
          phone.moveTo(await bridge.line(transport));
          expect(await phone.register()).toEqual([401, 200]);
          expect((await other.ask('INVITE')).status).toBe(200);
          expect((await own.ask('INVITE')).status).toBe(200);
        }),
      );
    }
    await Promise.all(
      talks.map(async ({ own, other }) => {
        expect((await other.hangUp()).status).toBe(200);
        await own.ended();
      }),
    );
  });

  test.each([1, 3])('or left behind, open, in another network, %i workers', async (workers) => {
    const bridge = await startBridge({ workers });
    const caller = await bridge.phone('caller-udp', 'udp');
    await Promise.all(
      STREAMS.map(async (transport) => {
        const user = `callee-${transport}`;
        const phone = await bridge.phone(user, transport, { device: randomUUID() });
        const other = await caller.call(user);
        const own = await phone.called();
        for (let i = 0; i < RECONNECTIONS; i++) {
          phone.moveTo(await bridge.line(transport));
          expect(await phone.register()).toEqual([401, 200]);
          expect((await other.ask('INVITE')).status).toBe(200);
        }
        const later = await caller.call(user);
        for (const call of [other, later]) expect((await call.hangUp()).status).toBe(200);
        await own.ended();
      }),
    );
    // None of the connections left behind was closed by anybody.
    await expect.poll(() => bridge.agent.metric('sipfleet_connections')).toBe(STREAMS.length * (1 + RECONNECTIONS));
  });
});

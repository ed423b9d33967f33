import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { LineTransport } from '../interop/phone-line.ts';
import { value, values } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { AGENT, startBridge } from './bridge.ts';

/** The text of Via and Record-Route; that calls stand over every two transports, transport-pairs.test.ts shows. */
describe.skipIf(!canUseNamespaces())('browsers outside, UDP inside', () => {
  test.each<[LineTransport, LineTransport, number]>([
    ['wss', 'wss', 3],
    ['wss', 'udp', 1],
    ['tls', 'ws', 3],
  ])('REGISTER, INVITE and BYE in both directions, %s and %s, %i workers', async (bonnies, clydes, workers) => {
    const bridge = await startBridge({ workers });
    const bonnie = await bridge.phone('bonnie', bonnies);
    const clyde = await bridge.phone('clyde', clydes);

    const call = await bonnie.call('clyde');
    const called = await clyde.called();
    const { port } = bridge.target(clydes);
    expect(value(called.first, 'via')).toContain(`SIP/2.0/${clydes.toUpperCase()} ${AGENT}:${port}`);
    // RFC 7118 §8: `transport=ws` for both; the URI that the browser sees first is the listener it is connected to.
    const top = values(called.first, 'record-route')[0] ?? '';
    expect(top).toMatch(clydes === 'udp' ? `@${AGENT}:${port};lr>` : `@${AGENT}:${port};transport=ws;lr>`);
    const last = values(call.first, 'record-route').at(-1) ?? '';
    const transport = bonnies === 'wss' ? 'ws' : bonnies;
    expect(last).toMatch(`@${AGENT}:${bridge.target(bonnies).port};transport=${transport};lr>`);
    expect((await call.hangUp()).status).toBe(200);
    await called.ended();

    const back = await clyde.call('bonnie');
    const answered = await bonnie.called();
    expect((await answered.hangUp()).status).toBe(200);
    await back.ended();
  });
});

test.skipIf(!canUseNamespaces())('a browser without the subprotocol is refused, and the agent goes on', async () => {
  const bridge = await startBridge({ workers: 1 });
  const { host, port, ca } = bridge.target('wss');
  const refused = await new Promise<string>((resolve) => {
    new WebSocket(`wss://${host}:${port}/`, [], { ca: ca as string }).once('error', (e) => resolve(e.message));
  });
  expect(refused).toMatch('400');
  await bridge.phone('bonnie', 'wss');
});

import type { FarmInput } from '@sipfleet/contract';
import { describe, expect, test } from 'vitest';
import { type Kamailio, whereRegistered } from '../interop/kamailio.ts';
import { callScenario } from '../interop/scenarios.ts';
import { hostPort } from '../netns/host.ts';
import type { Namespace } from '../netns/namespace.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Stage, type Transport, type User, useStage } from './stage.ts';

const TRANSPORTS: Transport[] = ['udp', 'tcp'];

describe.skipIf(!canUseNamespaces()).each([1, 3])('two registrars without a shared location, %i workers', (workers) => {
  const stage = useStage();

  /** PBXs that challenge calls too, and one agent, with the callee's user as the key. */
  async function setUp(farm: Partial<FarmInput> = {}): Promise<Stage> {
    const s = stage();
    await s.startPbxs({ challengeCalls: true });
    await s.startAgent({ workers, farm: s.farm(farm) });
    return s;
  }

  test.each(TRANSPORTS)('sipp registers and calls in both directions over %s', async (transport) => {
    const s = await setUp();
    const { client1, client2 } = s.net;
    const bonnies = await s.sippPhone('bonnie', client1, { transport });
    const clydes = await s.sippPhone('clyde', client2, { transport });
    expect(bonnies.address).not.toBe(clydes.address);

    const scenario = callScenario({ challenged: true });
    const call = (from: User, host: Namespace, callee: User) =>
      s.sipp(from, host, { port: 5080, transport, scenario, callee }).finished();
    expect(await call('bonnie', client1, 'clyde')).toMatchObject({ successful: 1, failed: 0 });
    expect(await call('clyde', client2, 'bonnie')).toMatchObject({ successful: 1, failed: 0 });
    // The call went to where the callee is registered, although the caller is not.
    expect(clydes.count(/call INVITE from bonnie to clyde here/)).toBe(1);
    expect(bonnies.count(/call INVITE from clyde to bonnie here/)).toBe(1);
  });

  test.each(TRANSPORTS)('baresip registers and calls in both directions over %s', async (transport) => {
    const s = await setUp();
    const bonnie = await s.baresip('bonnie', s.net.client1, { transport, answers: true });
    const clyde = await s.baresip('clyde', s.net.client2, { transport, answers: true });
    expect((await homeOf('bonnie', s.pbxs)).address).not.toBe((await homeOf('clyde', s.pbxs)).address);

    for (const [caller, callee, user] of [
      [bonnie, clyde, 'clyde'],
      [clyde, bonnie, 'bonnie'],
    ] as const) {
      caller.dial(`sip:${user}@${DOMAIN}`);
      await Promise.all([caller.sees('CALL_ESTABLISHED'), callee.sees('CALL_ESTABLISHED')]);
      // Once the caller ends it, once the callee does.
      (user === 'clyde' ? caller : callee).hangUp();
      await Promise.all([caller.sees('CALL_CLOSED'), callee.sees('CALL_CLOSED')]);
    }
  });

  test('a phone on TCP calls a phone on UDP', async () => {
    const s = await setUp();
    const bonnie = await s.baresip('bonnie', s.net.client1, { transport: 'tcp' });
    const clyde = await s.baresip('clyde', s.net.client2, { transport: 'udp', answers: true });
    bonnie.dial(`sip:clyde@${DOMAIN}`);
    await Promise.all([bonnie.sees('CALL_ESTABLISHED'), clyde.sees('CALL_ESTABLISHED')]);
    clyde.hangUp();
    await bonnie.sees('CALL_CLOSED');
  });

  test.each(TRANSPORTS)('IPv6 phones and IPv6 PBXs over %s', async (transport) => {
    const s = stage();
    const { vip, pbx1, pbx2, client1, client2 } = s.net;
    const pbxs = await s.startPbxs({ challengeCalls: true });
    await s.startAgent({
      workers,
      farm: s.farm({
        listeners: [
          { transport: 'udp', address: vip.ipv6, port: 5060 },
          { transport: 'tcp', address: vip.ipv6, port: 5060 },
        ],
        backends: [
          { name: 'kamailio1', address: pbx1.ipv6 },
          { name: 'kamailio2', address: pbx2.ipv6 },
        ],
      }),
    });
    const over = { transport, target: hostPort(vip.ipv6, 5060) };
    await s.sippPhone('bonnie', client1, { ...over, address: client1.ipv6 });
    await s.sippPhone('clyde', client2, { ...over, address: client2.ipv6 });
    expect((await homeOf('bonnie', pbxs)).address).not.toBe((await homeOf('clyde', pbxs)).address);
    const scenario = callScenario({ challenged: true });
    const call = s.sipp('bonnie', client1, { ...over, address: client1.ipv6, port: 5080, scenario, callee: 'clyde' });
    expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
  });

  test.each(TRANSPORTS)('PBXs reached over TCP serve phones on %s', async (transport) => {
    const s = stage();
    const { pbx1, pbx2, client1, client2 } = s.net;
    await s.startPbxs({ challengeCalls: true });
    const backends = [
      { name: 'kamailio1', address: pbx1.ipv4, transport: 'tcp' as const },
      { name: 'kamailio2', address: pbx2.ipv4, transport: 'tcp' as const },
    ];
    await s.startAgent({ workers, farm: s.farm({ backends }) });
    await s.sippPhone('bonnie', client1, { transport });
    await s.sippPhone('clyde', client2, { transport });
    const scenario = callScenario({ challenged: true });
    const call = s.sipp('clyde', client2, { transport, port: 5080, scenario, callee: 'bonnie' });
    expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
  });

  test.each(TRANSPORTS)('a PBX reaches a phone behind NAT through Path over %s', async (transport) => {
    const s = stage();
    await s.startPbxs({ pingPhones: 1 });
    await s.startAgent({ workers });
    await s.baresip('bonnie', s.net.client1, { transport });
    // The PBX itself asks the phone; its answer finds the way back.
    await (await homeOf('bonnie', s.pbxs)).sees(/phone bonnie\S* answered 200 to OPTIONS/);
  });

  test('server A passes the INVITE to server B', async () => {
    const s = stage();
    const { client1, client2 } = s.net;
    const pbxs = await s.startPbxs({ relayTo: `sip:${s.service}` });
    // By Call-ID a call comes to either PBX, whatever its callee: half of the calls are the seed's.
    const farm = s.farm({ balancing: { strategy: 'hash', key: 'call-id' } });
    await s.startAgent({ workers, farm });
    const [onFirst, onSecond] = await callIdsFor(s, pbxs);
    expect((await s.sippPhone('bonnie', client1, { callId: onFirst })).address).toBe(pbxs[0].address);
    expect((await s.sippPhone('clyde', client2, { callId: onSecond })).address).toBe(pbxs[1].address);

    const scenario = callScenario({ challenged: false });
    const call = (from: User, host: Namespace, callee: User, callId: string) =>
      s.sipp(from, host, { port: 5080, scenario, callee, callId }).finished();
    // In both directions, through the caller's own PBX.
    expect(await call('bonnie', client1, 'clyde', onFirst)).toMatchObject({ successful: 1, failed: 0 });
    expect(await call('clyde', client2, 'bonnie', onSecond)).toMatchObject({ successful: 1, failed: 0 });
    const [a, b] = pbxs;
    expect([
      a.count(/call INVITE from bonnie to clyde relayed/),
      b.count(/call INVITE from bonnie to clyde here/),
    ]).toEqual([1, 1]);
    expect([
      b.count(/call INVITE from clyde to bonnie relayed/),
      a.count(/call INVITE from clyde to bonnie here/),
    ]).toEqual([1, 1]);
  });
});

/** The PBX that has registered a user. Waits for it: a registrar tells its log after it has answered the phone. */
async function homeOf(user: User, pbxs: readonly Kamailio[]): Promise<Kamailio> {
  const home = await whereRegistered(user, pbxs);
  expect(
    pbxs.filter((pbx) => pbx.knows(user)),
    `${user} is registered on exactly one PBX`,
  ).toHaveLength(1);
  return home;
}

/** Beginnings of Call-IDs that a farm with the key `call-id` sends to the first and to the second PBX, found by registering somebody else. */
async function callIdsFor(s: Stage, pbxs: readonly Kamailio[]): Promise<[string, string]> {
  const found: (string | undefined)[] = [undefined, undefined];
  for (let i = 0; i < 64 && found.includes(undefined); i++) {
    const callId = `probe${i}`;
    const before = pbxs.map((pbx) => pbx.log.length);
    const phone = s.sippRegistration('blanche', s.net.client2, { port: 5090, callId });
    const at = await Promise.any(
      pbxs.map((pbx, n) => pbx.sees(/registered blanche /, { from: before[n] as number }).then(() => n)),
    );
    await phone.finished();
    found[at] ??= callId;
  }
  return found as [string, string];
}

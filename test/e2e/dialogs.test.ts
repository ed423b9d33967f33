import { describe, expect, test } from 'vitest';
import { notifier, subscriber, TALKED, talkingCallee, talkingCaller } from '../interop/dialog-scenarios.ts';
import { whereRegistered } from '../interop/kamailio.ts';
import type { LineTransport } from '../interop/phone-line.ts';
import { phoneScenario } from '../interop/scenarios.ts';
import { value } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN as BRIDGE_DOMAIN, startBridge } from './bridge.ts';
import { DOMAIN, type Stage, type Transport, useStage } from './stage.ts';

/** Dialogs that last: what comes after the call stands must reach the other side through the same PBX, from either side, over any transport. */
describe.skipIf(!canUseNamespaces()).each([1, 3])('within a dialog, %i workers', (workers) => {
  const stage = useStage();

  async function setUp(): Promise<Stage> {
    const s = stage();
    await s.startPbxs();
    await s.startAgent({ workers, farm: s.farm({ transactions: 'stateful' }) });
    return s;
  }

  test.each<[Transport, Transport]>([
    ['udp', 'udp'],
    ['tcp', 'udp'],
    ['udp', 'tcp'],
    ['tcp', 'tcp'],
  ])('re-INVITE, UPDATE, INFO and MESSAGE from both sides, session timers, %s and %s', async (caller, callee) => {
    const s = await setUp();
    const phone = { scenario: phoneScenario, outOfCall: talkingCallee, transport: callee };
    const home = await s.sippPhone('clyde', s.net.client2, phone);
    const call = s.sipp('bonnie', s.net.client1, {
      port: 5080,
      transport: caller,
      scenario: talkingCaller,
      callee: 'clyde',
    });
    expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
    // Every one of them passed the PBX of the call, and none came to the other.
    for (const [method, sent] of Object.entries(TALKED))
      expect([method, home.count(new RegExp(`in-dialog ${method} from`))]).toEqual([method, sent.length]);
    for (const pbx of s.pbxs) if (pbx !== home) expect(pbx.count(/in-dialog/)).toBe(0);
  });

  test.each<[Transport, Transport]>([
    ['udp', 'udp'],
    ['tcp', 'udp'],
    ['udp', 'tcp'],
  ])('SUBSCRIBE and NOTIFY, %s and %s', async (watcher, watched) => {
    const s = await setUp();
    const phone = { scenario: phoneScenario, outOfCall: notifier, transport: watched };
    const home = await s.sippPhone('clyde', s.net.client2, phone);
    const options = { port: 5080, transport: watcher, scenario: subscriber, callee: 'clyde' as const };
    const subscription = s.sipp('bonnie', s.net.client1, options);
    expect(await subscription.finished()).toMatchObject({ successful: 1, failed: 0 });
    expect(home.count(/in-dialog NOTIFY from/)).toBe(3);
    expect(home.count(/in-dialog SUBSCRIBE from/)).toBe(2);
  });

  test.each<Transport>(['udp', 'tcp'])('baresip holds, resumes and transfers a call, over %s', async (transport) => {
    const s = await setUp();
    const { client1, client2 } = s.net;
    const bonnie = await s.baresip('bonnie', client1, { transport });
    const clyde = await s.baresip('clyde', client2, { transport, answers: true });
    const blanche = await s.baresip('blanche', client2, { transport, answers: true, port: 5064 });
    const home = await whereRegistered('clyde', s.pbxs);
    bonnie.dial(`sip:clyde@${DOMAIN}`);
    await Promise.all([bonnie.sees('CALL_ESTABLISHED'), clyde.sees('CALL_ESTABLISHED')]);
    const again = async (party: typeof bonnie, what: 'hold' | 'resume') => {
      const from = home.log.length;
      party[what]();
      await home.sees(/in-dialog INVITE from/, { from });
      await home.sees(/in-dialog ACK from/, { from });
    };
    await again(bonnie, 'hold');
    await again(bonnie, 'resume');
    await again(clyde, 'hold');
    await again(clyde, 'resume');
    bonnie.transfer(`sip:blanche@${DOMAIN}`);
    await home.sees(/in-dialog REFER from/);
    await blanche.sees('CALL_ESTABLISHED');
    await clyde.sees('CALL_ESTABLISHED');
    clyde.hangUp();
    await blanche.sees('CALL_CLOSED');
  });
});

describe.skipIf(!canUseNamespaces()).each([1, 3])('over any two transports, %i workers', (workers) => {
  const PAIRS: [LineTransport, LineTransport, LineTransport][] = [
    ['udp', 'tls', 'tcp'],
    ['tls', 'udp', 'wss'],
    ['wss', 'tcp', 'udp'],
  ];

  test.each(PAIRS)('a reliable 183 is acknowledged by PRACK, %s and %s', async (bonnies, clydes) => {
    const bridge = await startBridge({ workers });
    const bonnie = await bridge.phone('bonnie', bonnies, { reliable: true });
    const clyde = await bridge.phone('clyde', clydes, { reliable: true });
    const call = await bonnie.call('clyde');
    const called = await clyde.called();
    expect(value(await called.takes('PRACK'), 'rack')).toBe('7 2 INVITE');
    expect(bridge.pbx.count(/in-dialog PRACK from/)).toBe(1);
    for (const side of [call, called]) expect((await side.ask('UPDATE')).status).toBe(200);
    expect((await called.hangUp()).status).toBe(200);
    await call.ended();
  });

  test.each(PAIRS)('an attended transfer, REFER with Replaces: %s talks to %s and %s', async (...transports) => {
    const bridge = await startBridge({ workers });
    const [bonnie, clyde, blanche] = [
      await bridge.phone('bonnie', transports[0]),
      await bridge.phone('clyde', transports[1]),
      await bridge.phone('blanche', transports[2]),
    ];
    const toClyde = await bonnie.call('clyde');
    const clydes = await clyde.called();
    const toBlanche = await bonnie.call('blanche');
    const blanches = await blanche.called();

    // Bonnie asks Clyde to take her place in her call with Blanche.
    const replaces = encodeURIComponent(toBlanche.replaces);
    const referTo = `Refer-To: <sip:blanche@${BRIDGE_DOMAIN}?Replaces=${replaces}>`;
    expect((await toClyde.ask('REFER', [referTo])).status).toBe(200);
    const asked = value(await clydes.takes('REFER'), 'refer-to');
    const named = decodeURIComponent(/Replaces=([^>]+)/.exec(asked)![1]!);
    const instead = await clyde.call('blanche', [`Replaces: ${named}`, 'Require: replaces']);
    const taken = await blanche.called(1);
    const [callId, toTag, fromTag] = blanches.replaces.split(';');
    expect(value(taken.first, 'replaces').split(';')).toEqual([
      callId,
      // What is remote to Bonnie is Blanche's own.
      fromTag!.replace('from', 'to'),
      toTag!.replace('to', 'from'),
    ]);
    const told = ['Event: refer', 'Subscription-State: terminated;reason=noresource'];
    expect((await clydes.ask('NOTIFY', told)).status).toBe(200);
    expect(value(await toClyde.takes('NOTIFY'), 'event')).toBe('refer');
    expect((await blanches.hangUp()).status).toBe(200);
    await toBlanche.ended();
    expect((await toClyde.hangUp()).status).toBe(200);
    await clydes.ended();
    expect((await instead.ask('INVITE')).status).toBe(200);
    expect((await taken.hangUp()).status).toBe(200);
    await instead.ended();
  });
});

import type { FarmInput } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { askRow } from '../interop/pbx-scenarios.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { Fleet, type SippPbx } from './fleet.ts';
import { Client, request } from './loopback.ts';
import { ScriptedUas } from './scripted-uas.ts';

/** Dialogs are counted some time after they began. */
const SOON = { timeout: 20_000 };
const USERS = Array.from({ length: 60 }, (_, i) => askRow({ to: `user${i}` }));
/** The agent is in Milan. */
const sites = ['milan', 'rome'];
const TURNS: Partial<FarmInput> = { sites, balancing: { strategy: 'weighted-round-robin' } };
const HASH: Partial<FarmInput> = { sites, balancing: { strategy: 'hash', key: 'user' } };

describe.skipIf(!canUseNamespaces()).each([1, 3])('strategies over the wire, %i workers', (workers) => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await Fleet.start(`127.21.${workers}`, { pbxs: 4, workers });
  });
  afterAll(() => fleet?.close());

  /** For the rest of the test. */
  async function kill(pbx: SippPbx): Promise<void> {
    onTestFinished(() => pbx.start());
    await fleet.kill(pbx);
  }
  /** Where each user registers now, and is sought. */
  async function homes(): Promise<Map<string, string>> {
    fleet.forget();
    await fleet.ask(USERS, { methods: ['REGISTER', 'MESSAGE'] });
    expect(fleet.homes().size).toBe(USERS.length);
    return fleet.homes();
  }
  const usersOf = (pbx: string, at: Map<string, string>) =>
    [...at.keys()].filter((user) => at.get(user) === pbx).sort();

  test('weighted-round-robin: calls follow the weights, also over snapshots that come in between', async () => {
    const weights = { pbx1: { weight: 3 }, pbx2: { weight: 2 }, pbx3: {} };
    await fleet.serve(TURNS, weights);
    for (const calls of [7, 1, 1, 1, 2]) {
      await fleet.dial(calls);
      await fleet.change(TURNS, weights);
    }
    expect(fleet.counts()).toEqual([6, 4, 2, 0]);
    await fleet.change(TURNS, { pbx4: { weight: 2 }, ...weights, pbx1: {} });
    fleet.forget();
    await fleet.dial(18);
    expect(fleet.counts()).toEqual([3, 6, 3, 6]);
  });

  /** Where 8 calls go. */
  async function share(): Promise<number[]> {
    fleet.forget();
    await fleet.dial(8);
    return fleet.counts();
  }

  test('priorities: the next tier takes over what is missing and no more, and gives it back', async () => {
    const [pbx1, pbx2] = fleet.pbxs as [SippPbx, SippPbx];
    const tiers = { pbx1: {}, pbx2: {}, pbx3: { priority: 2 }, pbx4: { priority: 2 } };
    await fleet.serve(HASH, tiers);
    const before = await homes();
    expect(new Set(before.values())).toEqual(new Set(['pbx1', 'pbx2']));
    await kill(pbx1);
    const after = await homes();
    expect(usersOf('pbx2', after)).toEqual(usersOf('pbx2', before));
    expect(new Set(usersOf('pbx1', before).map((user) => after.get(user)))).toEqual(new Set(['pbx3', 'pbx4']));

    const from = fleet.agent.process.output.length;
    await fleet.serve(TURNS, tiers);
    await fleet.agent.backendBecomes('pbx1', 'down', { from });
    expect(await share()).toEqual([0, 4, 2, 2]);
    await kill(pbx2);
    expect(await share()).toEqual([0, 0, 4, 4]);
    await fleet.restart(pbx1);
    expect(await share()).toEqual([4, 0, 2, 2]);
  });

  test('sites: backends of another one take over what is missing and no more', async () => {
    const sited = { pbx1: { site: 'milan' }, pbx2: {}, pbx3: { site: 'rome' }, pbx4: { site: 'rome' } };
    await fleet.serve(TURNS, sited);
    expect(await share()).toEqual([4, 4, 0, 0]);
    await kill(fleet.pbxs[0]!);
    expect(await share()).toEqual([0, 4, 2, 2]);
  });

  test('hash: a dead backend’s users spread over all others, and nobody else moves', async () => {
    await fleet.serve(HASH);
    const before = await homes();
    expect(new Set(before.values()).size).toBe(4);
    await kill(fleet.pbxs[1]!);
    const after = await homes();
    const orphans = usersOf('pbx2', before);
    expect(new Set(orphans.map((user) => after.get(user)))).toEqual(new Set(['pbx1', 'pbx3', 'pbx4']));
    for (const pbx of ['pbx1', 'pbx3', 'pbx4'])
      expect(usersOf(pbx, after).filter((user) => !orphans.includes(user))).toEqual(usersOf(pbx, before));
  });

  test('least-sessions: new calls go where fewest stand for the weight, whichever thread places them', async () => {
    const farm = { balancing: { strategy: 'least-sessions' } } as const;
    const active = (pbx: string) => fleet.agent.metric('sipfleet_active_sessions', `backend="${pbx}"`);
    const held = async (calls: number) => onTestFinished(await fleet.hold(calls));
    await fleet.serve(farm, { pbx1: { weight: 2 }, pbx2: { drain: true } });
    await held(12);
    await expect.poll(() => active('pbx1'), SOON).toBe(12);
    await fleet.change(farm, { pbx1: { weight: 2 }, pbx2: {} });
    await held(5);
    // 12 for a weight of 2: the other one gets all until it has 6.
    await expect.poll(() => Promise.all(['pbx1', 'pbx2'].map(active)), SOON).toEqual([12, 5]);
  });

  test.each(['stateless', 'stateful'] as const)(
    'a snapshot while a call rings, transactions %s: what the caller repeats and its CANCEL go to the PBX that rings',
    async (transactions) => {
      const pbxs = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const uas = await ScriptedUas.start({ INVITE: (r, from) => uas.reply(r, from, '180 Ringing') });
          onTestFinished(() => uas.close());
          return uas;
        }),
      );
      const phone = await Client.start(`127.21.${workers}.3`);
      onTestFinished(() => phone.close());
      const farm = (order: number[], strategy: 'weighted-round-robin' | 'least-sessions') => ({
        ...{ transactions, checks: [], balancing: { strategy } },
        backends: order.map((i) => ({ name: `ringing${i}`, address: '127.0.0.1', port: pbxs[i]!.port })),
      });
      const strategies = ['weighted-round-robin', 'least-sessions'] as const;
      // Where exchanges are kept, it is they that remember, whatever the strategy.
      for (const strategy of transactions === 'stateless' ? strategies : strategies.slice(0, 1)) {
        const calls = Array.from({ length: 8 }, (_, i) => `${strategy}-${i}`);
        const send = (method: string, call: string) =>
          phone.send(request(method, 'clyde', call, phone.address), fleet.service);
        const seen = (call: string) =>
          pbxs.map((pbx) => pbx.requests.filter((r) => r.get('call-id') === call).map((r) => r.method));
        await fleet.serve(farm([0, 1, 2, 3], strategy));
        for (const call of calls) send('INVITE', call);
        const rings = (call: string) =>
          Promise.any(pbxs.map((pbx) => pbx.sees('INVITE', (r) => r.get('call-id') === call).then(() => pbx)));
        const ringing = await Promise.all(calls.map(rings));
        await fleet.change(farm([3, 1, 0, 2], strategy));
        for (const call of calls) send('INVITE', call);
        for (const call of calls) send('CANCEL', call);
        for (const [i, call] of calls.entries()) {
          await ringing[i]!.sees('CANCEL', (r) => r.get('call-id') === call);
          const repeated = transactions === 'stateless' ? ['INVITE'] : [];
          const [place, ...others] = seen(call).filter((methods) => methods.length > 0);
          expect(others).toEqual([]);
          // The ACK of its 487 may be there or not.
          expect(place?.filter((method) => method !== 'ACK')).toEqual(['INVITE', ...repeated, 'CANCEL']);
        }
      }
    },
  );
});

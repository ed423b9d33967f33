import type { FarmInput } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askRow, type Taken } from '../interop/pbx-scenarios.ts';
import { loopback } from '../netns/host.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { Fleet } from './fleet.ts';

const NET = '127.22.1';
const KEYS = 24;
const numbers = Array.from({ length: KEYS }, (_, i) => i);
/** Beside its key nothing of a request is like the others of the same key. */
const other = (i: number, turn: number) => ({
  from: `caller${i}-${turn}`,
  to: `callee${turn}-${i}`,
  domain: `d${turn}-${i}.test`,
});
type Ask = Parameters<typeof askRow>[0];

/** One key in each stage: requests of many keys, three of each from different data threads. */
describe.skipIf(!canUseNamespaces())('what keeps requests together under hash', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await Fleet.start(NET, { pbxs: 4, workers: 3 });
  });
  afterAll(() => fleet?.close());

  const serve = (key: string): Promise<void> =>
    fleet.serve({ balancing: { strategy: 'hash', key } as FarmInput['balancing'] });

  /** Each key's PBX: one for all of a key's requests, and all PBXs have a part. */
  function expectKept(keyOf: (taken: Taken) => string, requests: number): void {
    const homes = new Map<string, Set<string>>();
    let seen = 0;
    for (const [pbx, taken] of fleet.taken())
      for (const request of taken) {
        seen++;
        homes.set(keyOf(request), (homes.get(keyOf(request)) ?? new Set()).add(pbx));
      }
    expect(seen).toBe(requests);
    expect([...homes].filter(([, pbxs]) => pbxs.size !== 1)).toEqual([]);
    expect(new Set([...homes.values()].flatMap((pbxs) => [...pbxs])).size).toBe(4);
  }

  const threeOfEach = (ask: (i: number, turn: number) => Ask): string[][] =>
    [0, 1, 2].flatMap((turn) => numbers.map((i) => askRow(ask(i, turn))));

  test.each<[string, (i: number, turn: number) => Ask, (taken: Taken) => string]>([
    ['user', (i, turn) => ({ ...other(i, turn), to: `callee${i}` }), ({ to }) => userOf(to)],
    ['domain', (i, turn) => ({ ...other(i, turn), domain: `tenant${i}.test` }), ({ to }) => to.split('@')[1]!],
    ['from-user', (i, turn) => ({ ...other(i, turn), from: `caller${i}` }), ({ from }) => userOf(from)],
    ['header:X-Tenant', (i, turn) => ({ ...other(i, turn), more: `X-Tenant: t${i}` }), ({ tenant }) => tenant],
  ])('%s', async (key, ask, keyOf) => {
    await serve(key);
    // A user or tenant is sought where it registered.
    await fleet.ask(threeOfEach(ask), { methods: ['REGISTER', 'MESSAGE'] });
    expectKept(keyOf, 3 * KEYS * 2);
  });

  test('call-id', async () => {
    await serve('call-id');
    const rows = numbers.map((i) => askRow(other(i, 0)));
    await fleet.ask(rows, { methods: ['REGISTER', 'MESSAGE', 'MESSAGE'], strangers: true, callId: 'call' });
    expectKept(({ callId }) => callId, KEYS * 3);
  });

  test('source-ip', async () => {
    await serve('source-ip');
    const phones = numbers.slice(0, 20).map((i) => ({ ip: `${NET}.${100 + i}`, from: `phone${i}` }));
    for (const { ip, from } of phones)
      await fleet.ask(
        [0, 1, 2].map((turn) => askRow({ ...other(turn, turn), from })),
        { host: loopback(ip) },
      );
    expectKept(({ from }) => userOf(from), phones.length * 3);
  });
});

const userOf = (uri: string): string => uri.slice('sip:'.length).split('@')[0]!;

import type { FarmInput } from '@sipfleet/contract';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Agent } from '../interop/agent.ts';
import { loopback } from '../netns/host.ts';
import { Client, canUseLoopback, EchoPbx, freePort } from './loopback.ts';

const AGENT = '127.0.0.1';
const USERS = Array.from({ length: 10_000 }, (_, i) => `user${i}`);
/** Requests on their way at once: less than a socket's receive buffer holds. */
const WINDOW = 100;

/** Needs no root: the agent and its backends on loopback addresses. */
describe.skipIf(!canUseLoopback).each(['ffi', 'dgram'] as const)('users over backends, datapath %s', (datapath) => {
  let service: { address: string; port: number };
  let client: Client;
  let pbxs: EchoPbx[];
  let agent: Agent | undefined;

  beforeEach(async () => {
    service = { address: AGENT, port: await freePort(AGENT) };
    client = await Client.start('127.0.2.1');
    pbxs = [];
  });
  afterEach(async () => {
    await agent?.close();
    client.close();
    for (const pbx of pbxs) pbx.close();
  });

  async function startPbxs(count: number): Promise<void> {
    for (let i = 1; i <= count; i++) pbxs.push(await EchoPbx.start(`pbx${i}`, `127.0.1.${i}`));
  }

  const farm = (members: EchoPbx[], weight: (index: number) => number): FarmInput => ({
    kind: 'Farm',
    name: 'pbx',
    sites: ['milan'],
    listeners: [{ transport: 'udp', address: service.address, port: service.port }],
    backends: members.map(({ name, port }, i) => ({
      name,
      address: `127.0.1.${name.slice('pbx'.length)}`,
      port,
      weight: weight(i),
    })),
  });

  /** User → the PBX that got its REGISTER. */
  async function registerAll(): Promise<Map<string, string>> {
    const homes = new Map<string, string>();
    const queue = USERS.values();
    const run = async () => {
      for (const user of queue) homes.set(user, await client.ask('REGISTER', user, service));
    };
    await Promise.all(Array.from({ length: WINDOW }, run));
    return homes;
  }

  test('10,000 users over weights 1:3 within one point', async () => {
    await startPbxs(2);
    agent = await Agent.start({
      host: loopback(AGENT),
      workers: 3,
      datapath,
      farm: farm(pbxs, (i) => [1, 3][i] as number),
    });
    const homes = [...(await registerAll()).values()];
    expect(homes).toHaveLength(USERS.length);
    const share = homes.filter((home) => home === 'pbx1').length / homes.length;
    expect(Math.abs(share - 0.25)).toBeLessThanOrEqual(0.01);
  });

  test('taking one of five backends away moves nobody else', async () => {
    await startPbxs(5);
    agent = await Agent.start({ host: loopback(AGENT), workers: 3, datapath, farm: farm(pbxs, () => 1) });
    const before = await registerAll();
    await agent.reload(
      farm(
        pbxs.filter((pbx) => pbx.name !== 'pbx3'),
        () => 1,
      ),
    );
    const after = await registerAll();
    const moved = USERS.filter((user) => before.get(user) !== after.get(user));
    const orphans = USERS.filter((user) => before.get(user) === 'pbx3');
    expect(moved).toEqual(orphans);
    expect(orphans.length).toBeGreaterThan(0);
    // The orphans spread over all that are left.
    expect(new Set(orphans.map((user) => after.get(user))).size).toBe(4);
  });
});

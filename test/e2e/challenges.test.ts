import type { FarmInput } from '@sipfleet/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Agent } from '../interop/agent.ts';
import { Kamailio } from '../interop/kamailio.ts';
import { challengedCallScenario, registerTwiceScenario } from '../interop/retry-scenarios.ts';
import { row, Sipp, type SippOptions } from '../interop/sipp.ts';
import { hostPort, loopback } from '../netns/host.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { freePort } from './loopback.ts';
import { DOMAIN } from './stage.ts';

const PHONES = 12;
/** Others each time: a PBX takes no more than five Contacts of one user. */
const CROWDS = 40;
const PASSWORD = 'gates';
const nameOf = (crowd: number, i: number) => `phone${crowd}-${i}`;
const names = Array.from({ length: CROWDS * PHONES }, (_, n) => nameOf(Math.floor(n / PHONES), n % PHONES));
const users = Object.fromEntries(names.map((name) => [name, PASSWORD]));
const STRATEGIES: FarmInput['balancing'][] = [
  { strategy: 'hash', key: 'user' },
  { strategy: 'hash', key: 'call-id' },
  { strategy: 'weighted-round-robin' },
  { strategy: 'least-sessions' },
];

/** Two PBXs that know nothing of each other's nonces: an answer that comes to the other one is challenged again. */
describe.skipIf(!canUseNamespaces()).each([1, 3])('whoever challenged gets the answer, %i workers', (workers) => {
  const net = `127.23.${workers}`;
  const service = { address: `${net}.1`, port: 0 };
  const pbxs: Kamailio[] = [];
  let agent: Agent | undefined;
  let farms = 0;
  let crowds = 0;

  const farm = (balancing: FarmInput['balancing'], turned = false): FarmInput => {
    const backends = pbxs.map((pbx, i) => ({ name: `kamailio${i + 1}`, address: pbx.address, port: pbx.port }));
    return {
      kind: 'Farm',
      // Another farm each time, with no past.
      name: `farm${farms}`,
      sites: ['milan'],
      listeners: [
        { transport: 'udp', ...service },
        { transport: 'tcp', ...service },
      ],
      balancing,
      backends: turned ? backends.reverse() : backends,
      checks: [],
      // On a busy machine a PBX that is only slow is not to be given up for the other one.
      failover: { timeout: '10s' },
    };
  };
  beforeAll(async () => {
    service.port = await freePort(service.address);
    for (const address of [`${net}.11`, `${net}.12`]) {
      const host = loopback(address);
      pbxs.push(await Kamailio.start({ host, port: await freePort(address), users, challengeCalls: true }));
    }
    agent = await Agent.start({ host: loopback(service.address), workers, farm: farm({ strategy: 'hash' }) });
  });
  afterAll(async () => {
    await agent?.close();
    await Promise.all(pbxs.map((pbx) => pbx.close()));
  });

  const serve = async (balancing: FarmInput['balancing'], turned = false): Promise<void> => {
    if (!turned) farms++;
    await agent!.reload(farm(balancing, turned));
  };
  /** Phones with a socket each. One that is challenged again waits in vain for its answer, and fails; a challenge that comes twice, after a retransmission, does not count. */
  async function phones(scenario: string, options: Partial<SippOptions> = {}): Promise<Sipp> {
    const host = loopback(`${net}.2`);
    const target = hostPort(service.address, service.port);
    const port = await freePort(host.ipv4);
    const crowd = crowds++;
    const rows = Array.from({ length: PHONES }, (_, i) => row(nameOf(crowd, i), PASSWORD, `nobody${i}`));
    return new Sipp({
      host,
      port,
      target,
      domain: DOMAIN,
      scenario,
      rows,
      socketPerCall: true,
      tolerant: true,
      rate: 200,
      ...options,
    });
  }
  const all = { successful: PHONES, failed: 0 };

  test.each(STRATEGIES)('%o: also under another Call-ID', async (balancing) => {
    await serve(balancing);
    // Where registrations lag a callee who is not found is sought at the other PBX, which wants to know the caller as well, once.
    const rounds = balancing?.key === 'user' ? 2 : 1;
    for (const callIds of ['same', 'other'] as const)
      for (const transport of ['udp', 'tcp'] as const) {
        const registers = await phones(registerTwiceScenario(callIds), { transport });
        expect(await registers.finished()).toMatchObject(all);
        const calls = await phones(challengedCallScenario(callIds, rounds), { transport });
        expect(await calls.finished()).toMatchObject(all);
      }
    for (const pbx of pbxs) expect(pbx.count(/registered phone/)).toBeGreaterThan(0);
  });

  test('also over a snapshot that numbers the PBXs otherwise', async () => {
    const balancing = { strategy: 'weighted-round-robin' } as const;
    await serve(balancing);
    const registers = await phones(registerTwiceScenario('other', 1_500));
    const challenges = () => agent!.metric('sipfleet_registration_challenges_total', `farm="farm${farms}"`);
    await expect.poll(challenges, { timeout: 20_000, interval: 50 }).toBe(PHONES);
    await serve(balancing, true);
    expect(await registers.finished()).toMatchObject(all);
  });
});

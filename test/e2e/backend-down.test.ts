import { describe, expect, test } from 'vitest';
import { callScenario, registerScenario } from '../interop/scenarios.ts';
import { row } from '../interop/sipp.ts';
import { between, label, ladder } from '../netns/wire.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { useStage } from './stage.ts';

const checks = [{ name: 'ping', type: 'options' as const, interval: '300ms', timeout: '300ms', rise: 2, fall: 3 }];
const PASSWORD = 'secret';
const USERS = Array.from({ length: 60 }, (_, i) => `user${i}`);

describe.skipIf(!canUseNamespaces()).each([1, 3])('a PBX dies, %i workers', (workers) => {
  const stage = useStage();

  test('nothing new reaches it after `fall` failures, and again after `rise` answers', async () => {
    const s = stage();
    const { agentA, client2, pbx1, pbx2, vip } = s.net;
    const users = Object.fromEntries(USERS.map((user) => [user, PASSWORD]));
    const [, second] = await s.startPbxs({ users });
    const agent = await s.startAgent({ workers, farm: s.farm({ checks }) });
    await Promise.all([agent.backendBecomes('kamailio1', 'up'), agent.backendBecomes('kamailio2', 'up')]);
    const registerAll = () =>
      s
        .sipp('bonnie', client2, {
          port: 5090,
          scenario: registerScenario,
          rows: USERS.map((u) => row(u, PASSWORD)),
          rate: 100,
        })
        .finished();

    const before = await s.capture(agentA);
    expect(await registerAll()).toMatchObject({ successful: USERS.length, failed: 0 });
    const spread = await before.stop();
    for (const pbx of [pbx1, pbx2])
      expect(between(spread, vip.ipv4, pbx.ipv4).map(label), ladder(spread)).toContain('REGISTER');

    let from = agent.process.output.length;
    const dying = await s.capture(agentA);
    await pbx2.kill();
    await agent.backendBecomes('kamailio2', 'down', { from });
    // The probes that it took: at least `fall` without an answer.
    const probes = between(await dying.stop(), vip.ipv4, pbx2.ipv4).filter((m) => m.method === 'OPTIONS');
    expect(probes.length).toBeGreaterThanOrEqual(3);
    expect(await agent.metric('sipfleet_backend_state', 'backend="kamailio2"', 'state="down"')).toBe(1);

    const without = await s.capture(agentA);
    expect(await registerAll()).toMatchObject({ successful: USERS.length, failed: 0 });
    const masked = between(await without.stop(), vip.ipv4, pbx2.ipv4).filter((m) => m.method !== 'OPTIONS');
    expect(masked.map(label)).toEqual([]);

    from = agent.process.output.length;
    await second.stop();
    await second.start();
    await agent.backendBecomes('kamailio2', 'up', { from });
    const after = await s.capture(agentA);
    expect(await registerAll()).toMatchObject({ successful: USERS.length, failed: 0 });
    expect(between(await after.stop(), vip.ipv4, pbx2.ipv4).map(label)).toContain('REGISTER');
    expect(await agent.metric('sipfleet_backend_state', 'backend="kamailio2"', 'state="up"')).toBe(1);
  });

  test('users of the dead PBX register with the other one and are called there', async () => {
    const s = stage();
    const { client1, client2, pbx2 } = s.net;
    const [first] = await s.startPbxs({ challengeCalls: true });
    const agent = await s.startAgent({ workers, farm: s.farm({ checks }) });
    await agent.backendBecomes('kamailio2', 'up');
    await pbx2.kill();
    await agent.backendBecomes('kamailio2', 'down');
    const clydes = await s.sippPhone('clyde', client2);
    expect(clydes.address).toBe(first.address);
    const call = s.sipp('bonnie', client1, {
      port: 5080,
      scenario: callScenario({ challenged: true }),
      callee: 'clyde',
    });
    expect(await call.finished()).toMatchObject({ successful: 1, failed: 0 });
  });
});

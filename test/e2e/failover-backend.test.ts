import { describe, expect, test } from 'vitest';
import { row } from '../interop/sipp.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { USERS, useStage } from './stage.ts';

/** So long that nothing fails over for silence while a test lasts: what does must have been told. */
const patient = { timeout: '30s' };
const once = [{ name: 'ping', type: 'options' as const, interval: '1h', timeout: '500ms', rise: 1, fall: 1 }];
const often = [{ name: 'ping', type: 'options' as const, interval: '300ms', timeout: '300ms', rise: 1, fall: 2 }];

describe.skipIf(!canUseNamespaces()).each([1, 3])('a dead PBX, %i workers', (workers) => {
  const stage = useStage();

  /** The farm with backends spoken to over this transport. */
  const farm = (transport: 'udp' | 'tcp', more = {}) => {
    const plain = stage().farm();
    return { ...plain, failover: patient, backends: plain.backends.map((b) => ({ ...b, transport })), ...more };
  };

  /** Registers bonnie, ends the PBX that has her, and registers her again. */
  async function registerTwice() {
    const s = stage();
    const before = await s.sippPhone('bonnie', s.net.client1);
    const dead = s.pbxs.find((pbx) => pbx.address === before.address)!;
    await dead.stop();
    const after = await s.sippPhone('bonnie', s.net.client2);
    expect(after.address).not.toBe(dead.address);
    return `backend="${dead.address === s.net.pbx1.ipv4 ? 'kamailio1' : 'kamailio2'}"`;
  }

  test.each(['udp', 'tcp'] as const)(
    'its closed %s port tells: the request goes to the next one at once',
    async (transport) => {
      const s = stage();
      await s.startPbxs();
      const agent = await s.startAgent({ workers, farm: farm(transport, { checks: [] }) });
      const dead = await registerTwice();
      expect(await agent.metric('sipfleet_failovers_total', dead)).toBe(1);
      expect(await agent.metric('sipfleet_backend_signals_total', dead, 'signal="refused"')).toBeGreaterThan(0);
      // Had it been the silence, that would have been told.
      expect(await agent.metric('sipfleet_backend_signals_total', dead, 'signal="timeout"')).toBe(0);
    },
  );

  test('traffic finds it dead between two checks, a check at once confirms it', async () => {
    const s = stage();
    await s.startPbxs();
    const agent = await s.startAgent({ workers, farm: farm('udp', { checks: once }) });
    const dead = await registerTwice();
    const name = /"(.*)"/.exec(dead)![1]!;
    // One refusal alone may be a PBX that restarts.
    const rows = Array.from({ length: 5 }, () => row('bonnie', USERS.bonnie));
    const more = s.sippRegistration('bonnie', s.net.client1, { port: 5095, rows });
    expect(await more.finished()).toMatchObject({ successful: rows.length, failed: 0 });
    await agent.backendBecomes(name, 'down');
    expect(agent.process.output).toMatch(/traffic: \d+ × refused in a row/);
  });

  test('cutConnections: a PBX that hangs and is found down loses its connections, and what waits for it goes elsewhere', async () => {
    const s = stage();
    const { pbx1, pbx2, client1, client2 } = s.net;
    await s.startPbxs();
    const agent = await s.startAgent({
      workers,
      farm: farm('tcp', { checks: often, health: { cutConnections: true } }),
    });
    await Promise.all(['kamailio1', 'kamailio2'].map((name) => agent.backendBecomes(name, 'up')));
    const home = await s.sippPhone('bonnie', client1);
    const [hung, name] = home.address === pbx1.ipv4 ? [pbx1, 'kamailio1'] : [pbx2, 'kamailio2'];
    const open = await s.net.agentA.run('ss', connectionsWith(hung.ipv4)).then(localPorts);
    expect(open).not.toEqual([]);

    const from = agent.process.output.length;
    s.keep({ close: () => hung.kill() });
    await hung.freeze();
    const other = s.pbxs.find((pbx) => pbx !== home)!;
    const again = s.sippRegistration('bonnie', client2);
    await Promise.all([other.registered('bonnie'), again.finished(), agent.backendBecomes(name, 'down', { from })]);
    // Probes open others, which end by themselves.
    const still = async () => {
      const now = await s.net.agentA.run('ss', connectionsWith(hung.ipv4)).then(localPorts);
      return now.filter((port) => open.includes(port));
    };
    await expect.poll(still, { timeout: 10_000 }).toEqual([]);
    expect(await agent.metric('sipfleet_failovers_total', `backend="${name}"`)).toBe(1);
  });
});

const connectionsWith = (address: string) => ['-Htn', 'state', 'established', 'dst', address];
const localPorts = (list: string) =>
  list
    .split('\n')
    .filter(Boolean)
    .map((line) => line.trim().split(/\s+/)[2]);

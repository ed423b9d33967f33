import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { AgentView } from '../../control-plane/src/api.ts';
import { Agent } from '../interop/agent.ts';
import { ControlPlane } from '../interop/control-plane.ts';
import { type Call, Phone } from '../interop/phone.ts';
import { openLine } from '../interop/phone-line.ts';
import { loopback } from '../netns/host.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { type FarmSource, Fleet, type SippPbx } from './fleet.ts';

/** Calls of each transport: they alternate between the two PBXs. */
const CALLS = 4;

describe.skipIf(!canUseNamespaces()).each([
  [1, 'udp'],
  [3, 'tcp'],
] as const)('a PBX is drained by apply, %i workers, PBXs on %s', (workers, towards) => {
  test('its calls go on, no new one comes to it, and it is said when it is empty', async () => {
    const net = `127.24.${workers}`;
    const controlPlane = await ControlPlane.start(loopback(`${net}.5`));
    onTestFinished(() => controlPlane.close());
    const data = mkdtempSync(join(tmpdir(), 'sipfleet-drain-'));
    onTestFinished(() => rmSync(data, { recursive: true, force: true }));
    await controlPlane.apply({ kind: 'Site', name: 'milan' });
    const joinToken = (await controlPlane.run('join-token', 'milan')).trim();
    const joined = { controlPlane: controlPlane.url, joinToken, data };
    const source: FarmSource = {
      start: async (host, count, farm) => {
        await controlPlane.apply(farm);
        return Agent.start({ host, workers: count, ...joined });
      },
      change: (_, farm) => controlPlane.apply(farm),
    };
    const balancing = { balancing: { strategy: 'weighted-round-robin' } } as const;
    const fleet = await Fleet.start(net, { pbxs: 2, workers, towards, farm: balancing, source });
    onTestFinished(() => fleet.close());
    const [drained, other] = fleet.pbxs as [SippPbx, SippPbx];

    /** Each from a socket of its own. */
    const call = async (transport: 'udp' | 'tcp', user: string): Promise<Call> => {
      const line = await openLine(transport, {
        host: fleet.service.address,
        port: fleet.service.port,
        from: `${net}.2`,
      });
      onTestFinished(() => line.close());
      return new Phone(line, { user, password: '', domain: 'example.test' }).call('callee');
    };
    const callsOf = async (prefix: string): Promise<Call[]> => {
      const calls: Call[] = [];
      for (let i = 0; i < 2 * CALLS; i++) calls.push(await call(i < CALLS ? 'udp' : 'tcp', `${prefix}${i}`));
      return calls;
    };
    const ok = { status: 200 };
    /** What the operator is shown. */
    const status = () => controlPlane.run('status');
    const inReport = async () =>
      (JSON.parse(await controlPlane.run('status', '-o', 'json')) as AgentView[])[0]!.backends.find(
        (b) => b.backend === drained.name,
      );
    const active = () => fleet.agent.metric('sipfleet_active_sessions', `backend="${drained.name}"`);

    const before = await callsOf('before');
    expect(fleet.counts()).toEqual([CALLS, CALLS]);
    await fleet.change(balancing, { [drained.name]: { drain: true }, [other.name]: {} });
    await expect
      .poll(status, { timeout: 20_000 })
      .toMatch(new RegExp(`${drained.name} +up, draining, ${CALLS} calls `));

    const after = await callsOf('after');
    expect(fleet.counts()).toEqual([CALLS, 3 * CALLS]);
    for (const established of before) expect(await established.ask('INVITE')).toMatchObject(ok);
    expect(await active()).toBe(CALLS);
    for (const established of before) expect(await established.hangUp()).toMatchObject(ok);
    expect(drained.inDialog('INVITE')).toBe(CALLS);
    expect(drained.inDialog('BYE')).toBe(CALLS);

    // Without waiting for the report of the next minute.
    await expect.poll(inReport, { timeout: 20_000 }).toMatchObject({ draining: true, calls: 0 });
    expect(await status()).toMatch(new RegExp(`${drained.name} +up, draining, empty `));
    expect(await active()).toBe(0);
    for (const established of after) expect(await established.hangUp()).toMatchObject(ok);
    expect(fleet.counts()).toEqual([CALLS, 3 * CALLS]);
  });
});

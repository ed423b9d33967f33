import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FarmInput } from '@sipfleet/contract';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CheckView } from '../../control-plane/src/api.ts';
import type { CallSummary } from '../../edge-agent/src/telemetry/admin-calls.ts';
import { Agent } from '../interop/agent.ts';
import { ControlPlane } from '../interop/control-plane.ts';
import { netSipAnswer } from '../interop/netsip.ts';
import { talkScenario } from '../interop/scenarios.ts';
import type { Namespace } from '../netns/namespace.ts';
import { canUseNamespaces } from '../setup/peers.ts';
import { DOMAIN, type Stage, USERS, useStage } from './stage.ts';

const PING = { name: 'ping', type: 'options' as const, interval: '300ms', timeout: '300ms', rise: 1, fall: 3 };
/** As often as slots of 8 s allow, of which there are two in two lanes: one for the agent wanted, one to spare. */
const CALL = {
  name: 'dummy',
  type: 'call' as const,
  command: 'check_sip sip:bonnie@example.test sip:clyde@HOST',
  interval: '8s',
  timeout: '5s',
  rise: 1,
  fall: 1,
  agents: 1,
};
const checks: FarmInput['checks'] = [PING, CALL];
const health = { maxConcurrentCalls: 2 };

describe.skipIf(!canUseNamespaces())('a dummy call as a check', () => {
  const stage = useStage();

  test('a PBX that answers OPTIONS but completes no call is taken down, and comes back when calls complete', async () => {
    const s = stage();
    await s.startPbxs();
    const phone = { target: `${s.net.pbx1.ipv4}:5060`, port: 5090, outOfCall: talkScenario, echoPort: 6000 };
    await s.sippPhone('clyde', s.net.client2, phone);
    const heard = { ...CALL, command: 'check_sip --expect-audio sip:bonnie@example.test sip:clyde@HOST' };
    const agent = await s.startAgent({ workers: 1, farm: s.farm({ checks: [PING, heard], health }) });
    await Promise.all([agent.backendBecomes('kamailio2', 'down'), agent.backendBecomes('kamailio1', 'up')]);
    const { backends } = JSON.parse(await agent.get('/v1/status'));
    expect(backends.find((b: { backend: string }) => b.backend === 'kamailio2').reason).toMatch(/^check dummy: .*404/);
    const success = (backend: string, check: string) =>
      agent.metric('sipfleet_check_results_total', `backend="${backend}"`, `check="${check}"`, 'result="success"');
    expect(await success('kamailio2', 'ping')).toBeGreaterThan(0);
    expect(await success('kamailio1', 'dummy')).toBeGreaterThan(0);
    expect(await agent.metric('sipfleet_check_phase_results_total', 'phase="bye"', 'result="success"')).toBeGreaterThan(
      0,
    );

    const from = agent.process.output.length;
    // The next one is of another make.
    const proxy = `${s.net.pbx2.ipv4}:5060`;
    const second = { host: s.net.client2, proxy, domain: DOMAIN, user: 'clyde', password: USERS.clyde, port: 5092 };
    const clyde = netSipAnswer(second);
    await agent.backendBecomes('kamailio2', 'up', { from });
    expect(await clyde.succeeds()).toBe('registered\nringing\nanswered\nended\n');
  });
});

describe.skipIf(!canUseNamespaces())('checks that a control plane schedules', () => {
  const stage = useStage();
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sipfleet-checks-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  async function join2(s: Stage, controlPlane: ControlPlane) {
    const joined = async (host: Namespace, name: string) => ({
      host,
      name,
      workers: 1,
      controlPlane: controlPlane.url,
      data: join(directory, name),
      joinToken: (await controlPlane.run('join-token', 'milan')).trim(),
    });
    await s.net.moveVip(s.net.agentA);
    const [a, b] = [await joined(s.net.agentA, 'edge-a'), await joined(s.net.agentB, 'edge-b')];
    const agents = { 'edge-a': s.keep(await Agent.start(a)), 'edge-b': s.keep(await Agent.start(b)) };
    return { agents, again: { 'edge-a': a, 'edge-b': b } };
  }

  test('one agent makes the call and the other hears of it; that one when it dies; and the last schedule holds without a control plane', async () => {
    const s = stage();
    await s.startPbxs();
    const controlPlane = s.keep(await ControlPlane.start(s.net.pbx2));
    const farm = s.farm({ checks, health });
    await controlPlane.apply({ kind: 'Site', name: 'milan' }, { ...farm, backends: farm.backends.slice(0, 1) });
    const { agents, again } = await join2(s, controlPlane);

    const dummy = async (): Promise<CheckView['agents']> => {
      const all = JSON.parse(await controlPlane.run('checks', 'pbx', '-o', 'json')) as CheckView[];
      return all.find((c) => c.check === 'dummy')?.agents ?? [];
    };
    const SOON = { timeout: 60_000, interval: 1_000 };
    await expect.poll(async () => (await dummy()).map((a) => a.periodMs), SOON).toEqual([8000]);
    const [maker] = (await dummy()) as [CheckView['agents'][number]];
    const first = maker.name as keyof typeof agents;
    const second = first === 'edge-a' ? 'edge-b' : 'edge-a';
    // Nobody answers yet. What the one finds, the other hears of, although its own OPTIONS are answered.
    await Promise.all(Object.values(agents).map((agent) => agent.backendBecomes('kamailio1', 'down')));
    const reason = async (): Promise<string> => JSON.parse(await agents[second].get('/v1/status')).backends[0].reason;
    // It may have made the call itself until the other one joined.
    await expect.poll(reason, SOON).toMatch(new RegExp(`^check dummy by ${first}: .*404`));
    // What it sent and got is kept like a call that failed.
    const failed = JSON.parse(await agents[first].get('/v1/calls?failed')) as { calls: CallSummary[] };
    const kept = failed.calls.find(({ reasons }) => reasons.includes('check'));
    expect(kept).toMatchObject({ farm: 'pbx', method: 'INVITE', backends: ['kamailio1'] });
    expect(kept?.results[0]).toMatch(/^check dummy of kamailio1: .*404/);
    expect(await agents[first].get(`/v1/calls/${kept?.callId}/ladder`)).toMatch(/INVITE[\s\S]*404/);
    await s.sippPhone('clyde', s.net.client2, { target: `${s.net.pbx1.ipv4}:5060`, port: 5090 });
    await Promise.all(Object.values(agents).map((agent) => agent.backendBecomes('kamailio1', 'up')));

    expect(await controlPlane.run('checks', 'run', 'pbx/kamailio1/dummy')).toMatch(
      new RegExp(`success.*\\nby ${first} \\(milan\\) in`),
    );

    await agents[first].process.end('SIGKILL');
    await expect.poll(async () => (await dummy()).map((a) => a.name), SOON).toEqual([second]);
    const calls = (agent: Agent) => agent.metric('sipfleet_check_results_total', 'check="dummy"', 'result="success"');
    await expect.poll(() => calls(agents[second]), SOON).toBeGreaterThan(0);

    await controlPlane.kill();
    const before = await calls(agents[second]);
    await expect.poll(() => calls(agents[second]), SOON).toBeGreaterThan(before);
    // Also one that starts anew without it.
    await agents[second].process.end('SIGTERM');
    const { joinToken: _used, ...options } = again[second];
    const restarted = s.keep(await Agent.start(options));
    await expect.poll(() => calls(restarted), SOON).toBeGreaterThan(0);
  });
});

import { expect, test } from 'vitest';
import { site, testCli } from './cli.fixture.ts';

const FARM = `kind: Farm
name: pbx
sites: [milan]
listeners: [{ transport: udp, port: 5060 }]
backends: [{ name: pbx1, address: 10.0.0.11 }]
checks:
  - { name: ping, type: options }
  - { name: dummy, type: call, command: "check_sip -T 9 -S welcome.data sip:Bonnie@192.0.2.1 sip:Clyde@HOST" }
`;

async function setUp() {
  const cli = await testCli();
  await cli.file('a.yaml', `${site('milan')}---\n${FARM}`);
  await cli.sipfleet('apply -f a.yaml');
  return cli;
}

test('checks shows who makes what, what was found last, and where agents disagree', async () => {
  const { sipfleet, control } = await setUp();
  expect((await sipfleet('checks pbx')).out).toMatch(/pbx\/pbx1\/dummy +call +1m +nobody +no agent lives/);
  const agents = [await control.enrol(), await control.enrol()];
  for (const [i, { jwt }] of agents.entries()) {
    const [state, result, evidence] = i === 0 ? ['down', 'failure', '486 Busy Here'] : ['up', 'success', '200 OK'];
    const now = new Date(control.clock.now).toISOString();
    const named = { farm: 'pbx', backend: 'pbx1' };
    const found = { ...named, check: 'dummy', state, result, phase: 'invite', evidence, seconds: 1, at: now };
    const body = {
      version: '1',
      uptimeSeconds: 1,
      snapshot: { status: 'NONE', etag: null, generation: null, running: null },
      backends: [{ ...named, state, since: now, reason: evidence }],
      checks: [found],
    };
    await control.ask('POST', '/v1/agent/report', { as: { bearer: await jwt() }, body });
  }
  control.clock.now += 1000;
  const { out } = await sipfleet('checks');
  expect(out).toMatch(/pbx\/pbx1\/ping +options +5s +all \(2\) +no failure/);
  expect(out).toMatch(/pbx\/pbx1\/dummy +call +1m +edge-1 \(milan\) +in \d+s +/);
  expect(out).toContain('down, failure (invite): 486 Busy Here at');
  expect(out).toContain('agents at milan disagree about pbx/pbx1: 1 up, 1 down');
  expect(JSON.parse((await sipfleet('checks pbx -o json')).out)).toHaveLength(2);
  expect(await sipfleet('checks fax')).toMatchObject({ code: 1, err: 'sipfleet: there is no Farm fax\n' });
});

test.each([
  ['success', 0],
  ['failure', 1],
])('checks run tells what an agent finds now: %s', async (result, code) => {
  const { sipfleet, control } = await setUp();
  const { agentId, jwt } = await control.enrol();
  control.hub.connectedIds.add(agentId);
  const running = sipfleet('checks run pbx/pbx1/dummy');
  await expect.poll(() => control.hub.runs).toHaveLength(1);
  const { id } = control.hub.runs[0] as { id: string };
  const named = { farm: 'pbx', backend: 'pbx1', check: 'dummy' };
  const at = new Date(control.clock.now).toISOString();
  const report = { ...named, state: 'unknown', result, phase: 'ring', evidence: 'it rang', seconds: 2.5, at };
  await control.ask('POST', '/v1/agent/check-results', { as: { bearer: await jwt() }, body: { id, report } });
  const { out, ...ended } = await running;
  expect(ended.code).toBe(code);
  expect(out).toBe(`unknown, ${result} (ring): it rang at ${at}\nby edge-1 (milan) in 2.50s\n`);
});

test('checks run for programs', async () => {
  const { sipfleet, control } = await setUp();
  const { agentId, jwt } = await control.enrol();
  control.hub.connectedIds.add(agentId);
  const running = sipfleet('checks run pbx/pbx1/dummy -o json');
  await expect.poll(() => control.hub.runs).toHaveLength(1);
  const { id } = control.hub.runs[0] as { id: string };
  const at = new Date(control.clock.now).toISOString();
  const found = { farm: 'pbx', backend: 'pbx1', check: 'dummy', state: 'down', result: 'failure' };
  const report = { ...found, evidence: '486 Busy Here', seconds: 2.5, at };
  await control.ask('POST', '/v1/agent/check-results', { as: { bearer: await jwt() }, body: { id, report } });
  const { out, code } = await running;
  expect([code, JSON.parse(out)]).toEqual([1, { agent: 'edge-1', site: 'milan', report }]);
});

test('checks run names what is wrong with its argument', async () => {
  const { sipfleet } = await setUp();
  expect(await sipfleet('checks run pbx/pbx1')).toMatchObject({
    code: 1,
    err: expect.stringContaining('FARM/BACKEND/CHECK'),
  });
  expect(await sipfleet('checks run pbx/pbx1/none')).toMatchObject({
    code: 1,
    err: 'sipfleet: there is no check pbx/pbx1/none\n',
  });
});

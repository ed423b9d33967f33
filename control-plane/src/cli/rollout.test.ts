import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';
import type { Io } from './io.ts';

type Cli = Awaited<ReturnType<typeof testCli>>;

/** Two agents that run what they are given at every look. */
async function fleet({ control, sipfleet, file }: Cli) {
  await file('a.yaml', `${site('milan')}---\n${farm('pbx')}`);
  await sipfleet('apply -f a.yaml');
  const agents = [await control.enrol(), await control.enrol()];
  control.clock.now += 1000;
  const report = async (status: 'APPLIED' | 'FAILED' = 'APPLIED') => {
    for (const agent of agents) {
      const as = { bearer: await agent.jwt() };
      const { body, headers } = await control.ask('GET', '/v1/agent/snapshot', { as });
      const etag = headers.get('etag')?.slice(1, -1) as string;
      const snapshot = { status, etag, generation: body.generation, running: status === 'FAILED' ? null : etag };
      const reported = { version: '1', uptimeSeconds: 1, snapshot, backends: [] };
      await control.ask('POST', '/v1/agent/report', { as, body: reported });
    }
  };
  await report();
  /** What happens while a command sleeps: a minute goes by. */
  const sleep: Io['sleep'] = async () => {
    control.clock.now += 60_000;
    await report();
    await control.look();
    return true;
  };
  await file('b.yaml', `${site('milan')}---\n${farm('pbx', 5060, '[{ name: pbx2, address: 10.0.0.12 }]')}`);
  return { report, sleep };
}

test('apply --rollout opens one, and says how to follow it; --wait follows it to the end', async () => {
  const cli = await testCli();
  const { sleep } = await fleet(cli);
  const { code, out } = await cli.sipfleet('apply -f b.yaml --rollout canary --bake 1m --wait', { sleep });
  expect(code).toBe(0);
  expect(out).toContain('Rollout 2 is under way: sipfleet rollout status');
  expect(out).toMatch(/stage \[1\] → 10% → 50% → 100%, each watched for 1m/);
  expect(out).toContain('1/2 agents moved, 0 applied it, waiting for edge-1');
  expect(out).toContain('no traffic compared yet: acknowledgements and the bake time alone count');
  expect(out).toContain('Rollout 2: completed');
  expect((await cli.sipfleet('rollout list')).out).toMatch(/2 +completed +pbx +milan/);
});

test('a rollout that is rolled back is exit code 3, with the reason', async () => {
  const cli = await testCli();
  const { report } = await fleet(cli);
  const sleep: Io['sleep'] = async () => {
    await cli.control.look();
    cli.control.clock.now += 1000;
    await report('FAILED');
    await cli.control.look();
    return true;
  };
  const { code, out } = await cli.sipfleet('apply -f b.yaml --rollout 1,100% --wait', { sleep });
  expect(code).toBe(3);
  expect(out).toContain('Rollout 2: rolled-back: agent edge-1 refused the change: it gave no reason');
  const again = await cli.sipfleet('rollback');
  expect([again.code, again.err]).toEqual([
    1,
    'sipfleet: rollout 2 was rolled back last: name the revision to return to\n',
  ]);
});

test('pause, resume and abort go to the last one; what is not possible says what is', async () => {
  const cli = await testCli();
  await fleet(cli);
  expect((await cli.sipfleet('rollout status')).err).toContain('there was no rollout yet');
  await cli.sipfleet('apply -f b.yaml --rollout canary');
  await cli.control.look();
  expect((await cli.sipfleet('rollout pause')).out).toContain('Rollout 2: paused');
  expect((await cli.sipfleet('rollout pause')).err).toContain('possible now: resume, abort');
  expect((await cli.sipfleet('apply -f a.yaml')).err).toContain('rollout 2 is paused and concerns this');
  expect((await cli.sipfleet('rollout resume 2')).out).toContain('Rollout 2: running');
  expect((await cli.sipfleet('rollout abort')).out).toContain('rolled-back: aborted by a-admin');
  expect((await cli.sipfleet('get farm pbx -o json')).out).toContain('pbx1');
  expect(JSON.parse((await cli.sipfleet('rollout status -o json')).out)).toMatchObject({
    number: 2,
    state: 'rolled-back',
  });
});

test('rollback makes the farms what they were, and says what it leaves', async () => {
  const cli = await testCli();
  await fleet(cli);
  await cli.sipfleet('apply -f b.yaml');
  await cli.file('c.yaml', `${site('rome')}---\n${farm('fax', 5070)}`);
  await cli.sipfleet('apply -f c.yaml');
  const dry = await cli.sipfleet('rollback --to 1 --dry-run');
  expect(dry.out).toContain('− Farm fax\n');
  expect(dry.out).toContain('~ Farm pbx\n    backends[pbx2]: ');
  expect(dry.out).toContain('Changed since and left as it is: Site rome');
  expect(dry.out).toContain('Dry run: nothing was written.');
  const done = await cli.sipfleet('rollback --to 1');
  expect(done.out).toContain('Farms are as they were at revision 1. Revision 4.');
  expect((await cli.sipfleet('get farms')).out).toMatch(/pbx +milan +udp:5060 +pbx1/);
  expect((await cli.sipfleet('rollback --to 1')).out).toBe(
    'Changed since and left as it is: Site rome\nEvery farm is what it was at revision 1.\n',
  );
  // Without a revision: the last change is undone.
  expect((await cli.sipfleet('rollback')).out).toContain('Farms are as they were at revision 3.');
  expect((await cli.sipfleet('rollback --to 99')).err).toContain('not an older one');
});

test('apply --wait counts the agents that run it, and tells who refuses', async () => {
  const cli = await testCli();
  const { report } = await fleet(cli);
  for (const { agentId } of (await cli.control.store.agents({ limit: 9 })).items)
    cli.control.hub.connectedIds.add(agentId);
  const good = await cli.sipfleet('apply -f b.yaml --wait', { sleep: () => report().then(() => true) });
  expect([good.code, good.out.split('\n').slice(-3, -1)]).toEqual([0, ['0/2 agents run it', '2/2 agents run it']]);
  const bad = await cli.sipfleet('apply -f a.yaml --wait', { sleep: () => report('FAILED').then(() => true) });
  expect([bad.code, bad.err]).toEqual([1, 'sipfleet: agent edge-1 refused it: no reason given\n']);
});

test.each([
  ['apply -f b.yaml --bake 5m', '--bake needs --rollout'],
  ['apply -f b.yaml --rollout half', 'allowed: canary'],
  ['apply -f b.yaml --rollout 10%,50%', 'end with 100%'],
  ['apply -f b.yaml --rollout canary --bake soon', 'rollout.bake'],
  ['rollout status x', 'allowed: a whole number'],
])('%s is refused', async (args, why) => {
  const cli = await testCli();
  await fleet(cli);
  const { code, err } = await cli.sipfleet(args);
  expect([code, err]).toEqual([1, expect.stringContaining(why)]);
});

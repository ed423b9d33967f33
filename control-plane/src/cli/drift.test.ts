import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';

test('drift says who does not run what it should, and of one agent which fields', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', `${site('milan')}---\n${farm('pbx')}`);
  await sipfleet('apply -f a.yaml');
  const agent = await control.enrol();
  const fetchSnapshot = async () => {
    const asked = await control.ask('GET', '/v1/agent/snapshot', { as: { bearer: await agent.jwt() } });
    return { etag: JSON.parse(asked.headers.get('etag') as string) as string, generation: asked.body.generation };
  };
  const report = async (snapshot: object) =>
    control.ask('POST', '/v1/agent/report', {
      as: { bearer: await agent.jwt() },
      body: { version: '1', uptimeSeconds: 1, snapshot, backends: [] },
    });
  expect(await sipfleet('drift')).toMatchObject({
    code: 2,
    out: expect.stringMatching(/edge-1 +milan +behind: runs none/),
  });

  const { etag, generation } = await fetchSnapshot();
  const applied = { status: 'APPLIED', etag, generation, running: etag };
  await report(applied);
  expect(await sipfleet('drift')).toMatchObject({ code: 0, out: '✓ 1 agent: all run what they should.\n' });
  expect(await sipfleet('drift edge-1')).toMatchObject({ code: 0, out: 'edge-1: current (generation 1)\n' });

  await file('a.yaml', `${site('milan')}---\n${farm('pbx', 5070)}`);
  await sipfleet('apply -f a.yaml');
  const target = await fetchSnapshot();
  await report({ ...applied, status: 'FAILED', ...target, reason: 'port 5070 is taken' });
  const refused = await sipfleet('drift edge-1');
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.out).toBe(
    'edge-1: refused generation 2: port 5070 is taken\n    farms[pbx].listeners[0].port: 5060 → 5070\n',
  );
  expect(refused.out).not.toContain('tokenKeys');
  const asJson = JSON.parse((await sipfleet('drift edge-1 -o json')).out);
  expect(asJson).toMatchObject({ drift: 'refused', running: { etag, generation: 1 }, target: { generation: 2 } });

  await report({ ...applied, etag: 'f'.repeat(64), running: 'f'.repeat(64) });
  expect((await sipfleet('drift edge-1')).out).toContain('What it runs is not kept here');
  control.clock.now += 200_000;
  expect((await sipfleet('drift')).out).toMatch(/silent: what it runs is not known/);
  expect((await sipfleet('drift edge-9')).err).toBe('sipfleet: there is no agent edge-9\n');
});

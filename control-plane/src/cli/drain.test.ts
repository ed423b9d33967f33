import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';

async function setUp() {
  const cli = await testCli();
  const backends = '[{ name: pbx1, address: 10.0.0.11 }, { name: pbx2, address: 10.0.0.12 }]';
  await cli.file('a.yaml', `${site('milan')}---\n${farm('pbx', 5060, backends)}`);
  await cli.sipfleet('apply -f a.yaml');
  return cli;
}
const backendsOf = async (cli: Awaited<ReturnType<typeof setUp>>) =>
  JSON.parse((await cli.sipfleet('get farm pbx -o json')).out).backends;

test('drain sets one field of one backend, undrain takes it away again', async () => {
  const cli = await setUp();
  const before = await backendsOf(cli);
  expect(await cli.sipfleet('drain pbx/pbx1')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^~ Farm pbx: backend pbx1 drains\. Revision \d+\.\n$/),
  });
  expect(await backendsOf(cli)).toEqual([{ ...before[0], drain: true }, before[1]]);
  expect((await cli.sipfleet('drain pbx/pbx1')).out).toBe('= Farm pbx: backend pbx1 drains already\n');
  expect((await cli.sipfleet('undrain pbx/pbx1')).out).toMatch(/backend pbx1 serves again/);
  expect(await backendsOf(cli)).toEqual(before);
});

test('applying a file that does not drain it ends the drain, and the plan says so', async () => {
  const cli = await setUp();
  await cli.sipfleet('drain pbx/pbx2');
  expect((await cli.sipfleet('diff -f a.yaml')).out).toMatch(/backends\S*pbx2\S*drain: true → /);
});

test('what somebody else writes in between is kept', async () => {
  const cli = await setUp();
  let interfered = false;
  const fetchPast: typeof fetch = async (url, init) => {
    if (init?.method === 'PUT' && !interfered) {
      interfered = true;
      await cli.sipfleet('drain pbx/pbx2');
    }
    return cli.control.app.request(String(url), init);
  };
  expect(await cli.sipfleet('drain pbx/pbx1', { fetch: fetchPast })).toMatchObject({ code: 0 });
  expect((await backendsOf(cli)).map((b: { drain?: boolean }) => b.drain)).toEqual([true, true]);
});

test.each([
  ['drain pbx', 'sipfleet: found "pbx"; allowed: FARM/BACKEND, such as pbx/pbx1\n'],
  ['drain fax/pbx1', 'sipfleet: there is no Farm fax\n'],
  ['undrain pbx/pbx9', 'sipfleet: Farm pbx has no backend pbx9; allowed: one of pbx1, pbx2\n'],
])('%s', async (command, err) => {
  expect(await (await setUp()).sipfleet(command)).toMatchObject({ code: 1, err });
});

test.each([
  [undefined, 'up, draining'],
  [3, 'up, draining, 3 calls'],
  [1, 'up, draining, 1 call'],
  [0, 'up, draining, empty'],
])('status shows which agents drain it, and what is left there: %s', async (calls, shown) => {
  const cli = await setUp();
  const { jwt } = await cli.control.enrol();
  const since = new Date(cli.control.clock.now).toISOString();
  const pbx1 = { farm: 'pbx', backend: 'pbx1', state: 'up', draining: true, since, reason: '200 OK' };
  const body = {
    version: '1',
    uptimeSeconds: 1,
    snapshot: { status: 'NONE', etag: null, generation: null, running: null },
    backends: [{ ...pbx1, ...(calls !== undefined && { calls }) }],
  };
  await cli.control.ask('POST', '/v1/agent/report', { as: { bearer: await jwt() }, body });
  expect((await cli.sipfleet('status')).out).toMatch(new RegExp(`pbx +pbx1 +${shown}  +`));
});

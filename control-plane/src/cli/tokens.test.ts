import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';

test('tokens are made, listed and revoked; one that is bound to a site says what it lacks', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', `${site('milan')}---\n${site('rome')}---\n${farm('pbx')}`);
  await sipfleet('apply -f a.yaml');
  const made = await sipfleet('token create ci --role operator --site rome --ttl 90d');
  expect([made.code, made.out]).toEqual([0, expect.stringMatching(/^sft_\S{43}\n$/)]);
  await file('b.yaml', farm('pbx', 5062));
  const refused = await sipfleet(`apply -f b.yaml --token ${made.out.trim()}`);
  expect([refused.code, refused.err]).toEqual([
    1,
    'sipfleet: farm pbx concerns site milan, which this token may not change. Nothing was written.\n',
  ]);
  expect((await sipfleet('token list')).out).toMatch(/^NAME +ID +ROLE.*\n(.*\n)*ci +[0-9a-f]{12} +operator +rome /);
  expect(JSON.parse((await sipfleet('token list -o json')).out)).toContainEqual(
    expect.objectContaining({ name: 'ci', sites: ['rome'] }),
  );
  expect((await sipfleet('token revoke ci')).out).toBe('− token ci\n');
  expect((await sipfleet(`get farms --token ${made.out.trim()}`)).err).toContain('refused the token');
  expect((await sipfleet('token revoke ci')).err).toBe('sipfleet: there is no token ci\n');
  expect((await sipfleet('token create x')).err).toContain("required option '--role <role>'");
});

test('agent revoke takes an agent out by its name; what else is said goes to the agent', async () => {
  const { sipfleet, control, launched } = await testCli();
  await control.put({ kind: 'Site', name: 'milan' });
  const { agentId, jwt } = await control.enrol();
  expect((await sipfleet('agent revoke edge-1')).out).toBe('− Agent edge-1\n');
  expect(control.hub.disconnected).toEqual([agentId]);
  expect((await control.ask('GET', '/v1/agent/snapshot', { as: { bearer: await jwt() } })).status).toBe(401);
  expect((await sipfleet('agent revoke edge-1')).err).toContain('there is no agent edge-1');
  await sipfleet('agent --help');
  await sipfleet('agent --control-plane http://revoke --iam-join eu-south-1');
  expect(launched).toEqual([['--help'], ['--control-plane', 'http://revoke', '--iam-join', 'eu-south-1']]);
});

test.each([
  ['--oidc-role ops=operator', '--oidc-role needs --oidc-issuer'],
  ['--oidc-issuer http://login.example.com', 'allowed: an https URL'],
  ['--oidc-issuer https://login.example.com --oidc-role ops=root', 'allowed: VALUE=viewer'],
  ['--iam-join milan=arn:aws:sts::123456789012:assumed-role/*/*', 'allowed: SITE=arn:aws:sts'],
  ['--iam-join milan', 'allowed: SITE=arn:aws:sts'],
])('control-plane %s is refused', async (args, why) => {
  const { accessOf } = await import('./access-options.ts');
  const { sipfleet, launched } = await testCli();
  const { code, err } = await sipfleet(`control-plane ${args}`);
  if (code === 0) expect(() => accessOf(launched[0] as never)).toThrow(why);
  else expect(err).toContain(why);
});

test('control-plane hands over who else is let in', async () => {
  const { accessOf } = await import('./access-options.ts');
  const { sipfleet, launched } = await testCli();
  await sipfleet(
    'control-plane --oidc-issuer https://l.example --oidc-role a=viewer --oidc-role b=admin --oidc-sites all',
  );
  await sipfleet('control-plane --iam-join milan=arn:aws:sts::123456789012:assumed-role/edge/*');
  await sipfleet('control-plane');
  expect(launched.map((flags) => accessOf(flags as never))).toEqual([
    {
      oidc: {
        issuer: 'https://l.example',
        audience: 'sipfleet',
        roleClaim: 'roles',
        roles: { a: 'viewer', b: 'admin' },
        sitesClaim: 'sites',
        sitesDefault: 'all',
      },
    },
    { iam: { audience: 'sipfleet', rules: [{ site: 'milan', arn: 'arn:aws:sts::123456789012:assumed-role/edge/*' }] } },
    {},
  ]);
});

test('for programs: tokens with what belongs to them, and the verdict about the audit log', async () => {
  const { sipfleet, control } = await testCli();
  await control.put({ kind: 'Site', name: 'milan' });
  const made = JSON.parse((await sipfleet('token create ci --role viewer -o json')).out);
  expect(made).toMatchObject({ name: 'ci', role: 'viewer', sites: null, token: expect.stringMatching(/^sft_/) });
  const joining = JSON.parse((await sipfleet('join-token milan --ttl 10m -o json')).out);
  expect(joining).toEqual({ token: expect.stringMatching(/^sfj_/), site: 'milan', expiresAt: expect.any(String) });
  const verified = await sipfleet('audit verify -o json');
  expect([verified.code, JSON.parse(verified.out)]).toEqual([
    0,
    { entries: 3, head: { sequence: 3, hash: expect.any(String) }, faults: [] },
  ]);
});

import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';

test('get prints what apply takes', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', `${site('milan')}---\n${farm('pbx')}---\n${farm('fax', 5070)}`);
  await sipfleet('apply -f a.yaml');
  const list = await sipfleet('get farms');
  expect(list.out.split('\n').map((row) => row.split(/ {2,}/).slice(0, 6))).toEqual([
    ['NAME', 'SITES', 'LISTENERS', 'BACKENDS', 'BALANCING', 'REVISION'],
    ['fax', 'milan', 'udp:5070', 'pbx1', 'hash by user', '1'],
    ['pbx', 'milan', 'udp:5060', 'pbx1', 'hash by user', '1'],
    [''],
  ]);
  for (const format of ['yaml', 'json']) {
    const { out } = await sipfleet(`get farms -o ${format}`);
    expect(await sipfleet('diff -f -', { readInput: async () => out })).toMatchObject({
      code: 0,
      out: '= 2 unchanged\n',
    });
  }
  expect(JSON.parse((await sipfleet('get farm pbx -o json')).out)).toMatchObject({ kind: 'Farm', name: 'pbx' });
  expect(await sipfleet('get site rome')).toMatchObject({ code: 1, err: 'sipfleet: there is no Site rome\n' });
  expect(await sipfleet('get barns')).toMatchObject({
    code: 1,
    err: expect.stringContaining('allowed: sites, farms, secrets, agents'),
  });
});

test('delete takes a farm away, and a site only when nothing stands on it', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', `${site('milan')}---\n${farm('pbx')}`);
  await sipfleet('apply -f a.yaml');
  expect(await sipfleet('delete site milan')).toMatchObject({ code: 1, err: expect.stringContaining('pbx') });
  expect(await sipfleet('delete farm pbx')).toEqual({ code: 0, out: '− Farm pbx\n', err: '' });
  expect(await sipfleet('delete site milan')).toMatchObject({ code: 0 });
  expect(await sipfleet('delete farm pbx')).toMatchObject({ code: 1, err: 'sipfleet: there is no Farm pbx\n' });
});

test('status says what runs, what should, and why a backend is down', async () => {
  const { sipfleet, control } = await testCli();
  expect((await sipfleet('status')).out).toContain('No agent has joined');
  await control.put({ kind: 'Site', name: 'milan' });
  const { jwt } = await control.enrol();
  expect((await sipfleet('status')).out).toMatch(/edge-1 +milan +away +behind: runs none, target generation 0 +never/);
  const report = async (snapshot: object) =>
    control.ask('POST', '/v1/agent/report', {
      as: { bearer: await jwt() },
      body: {
        version: '1',
        uptimeSeconds: 1,
        snapshot,
        backends: [{ farm: 'pbx', backend: 'pbx1', state: 'down', since: '2026-01-02T03:04:05Z', reason: 'refused' }],
      },
    });
  const target = (await report({ status: 'NONE', etag: null, generation: null, running: null })).body;
  await report({ status: 'FAILED', etag: target.etag, generation: 0, reason: 'port taken', running: null });
  expect((await sipfleet('status')).out).toContain('refused generation 0: port taken');
  await report({ status: 'APPLIED', etag: target.etag, generation: 0, running: target.etag });
  const { out } = await sipfleet('status');
  expect(out).toContain('current (generation 0)');
  expect(out).toMatch(/pbx +pbx1 +down +2026-01-02T03:04:05Z +edge-1 +refused/);
  expect((await sipfleet('get agents')).out).toMatch(/edge-1 +milan +agt_/);
  expect(await sipfleet('delete agent edge-1')).toMatchObject({ code: 0 });
});

test('join-token prints the token alone', async () => {
  const { sipfleet, control } = await testCli();
  await control.put({ kind: 'Site', name: 'milan' });
  expect((await sipfleet('join-token milan --ttl 10m')).out).toMatch(/^sfj_\S+\n$/);
  expect(await sipfleet('join-token rome')).toMatchObject({ code: 1, out: '' });
  expect(await sipfleet('join-token milan --ttl forever')).toMatchObject({
    code: 1,
    err: expect.stringContaining('ttl'),
  });
});

test('the token comes from the flag, the environment, a file, or var/token', async () => {
  const { sipfleet, file, control } = await testCli();
  const env = { SIPFLEET_URL: 'http://control-plane.test' };
  const token = await control.token('viewer');
  expect(await sipfleet('get sites', { env })).toMatchObject({
    code: 1,
    err: expect.stringContaining('refused the token'),
  });
  expect((await sipfleet(`get sites --token ${token}`, { env })).code).toBe(0);
  expect((await sipfleet('get sites', { env: { ...env, SIPFLEET_TOKEN: token } })).code).toBe(0);
  await file('t', `${token}\n`);
  expect((await sipfleet('get sites --token-file t', { env })).code).toBe(0);
  expect(await sipfleet('get sites --token-file none', { env })).toMatchObject({
    code: 1,
    err: expect.stringContaining('--token-file none'),
  });
});

test.each([
  ['no command', '', 'Usage'],
  ['an unknown command', 'aply', 'Did you mean apply'],
  ['apply without a file', 'apply', "required option '-f"],
  ['a missing file', 'apply -f none.yaml', 'none.yaml: no such file or directory'],
  ['an unknown format', 'get farms -o xml', 'Allowed choices are table, json, yaml'],
  ['an address without a port', 'up --sip localhost', 'allowed: HOST:PORT'],
  ['a rate without a unit', 'up --traffic 5', 'allowed: a rate up to 200/s'],
  ['a store that is none', 'control-plane --store etcd', 'Allowed choices are sqlite, dynamodb'],
  ['a URL that is none', 'get farms --url localhost:8080', 'allowed: an http or https URL'],
  ['nobody who answers', 'get farms --url http://127.0.0.1:9', 'no control plane answers'],
])('%s is exit code 1 and says why', async (_, args, why) => {
  const { sipfleet, launched } = await testCli();
  const { code, err } = await sipfleet(args, { fetch });
  expect([code, launched]).toEqual([1, []]);
  expect(err).toContain(why);
});

test('every command has help with examples and exit codes', async () => {
  const { sipfleet } = await testCli();
  const commands = ['up', 'control-plane', 'apply', 'diff', 'get', 'delete', 'status', 'join-token', 'version'];
  for (const command of commands) {
    const { code, out } = await sipfleet(`${command} --help`);
    expect([command, code]).toEqual([command, 0]);
    expect(out).toContain(`Examples:\n  sipfleet ${command}`);
    expect(out).toContain('Exit codes: 0');
  }
  expect((await sipfleet('--help')).out).toContain('Exit codes: 0');
  expect((await sipfleet('version')).out).toMatch(/^sipfleet \d+\.\d+\.\d+\n$/);
});

test('up, agent and control-plane hand over what they were given', async () => {
  const { sipfleet, launched } = await testCli();
  await sipfleet('up --sip [::1]:0 --traffic 30/m -f a -f b');
  await sipfleet('agent --control-plane http://x --join-token t --workers 2');
  await sipfleet('control-plane --store dynamodb --table t --endpoint http://127.0.0.1:8000');
  expect(launched).toMatchObject([
    {
      sip: { host: '::1', port: 0 },
      http: { host: '127.0.0.1', port: 8080 },
      traffic: 0.5,
      file: ['a', 'b'],
      data: './var',
    },
    ['--control-plane', 'http://x', '--join-token', 't', '--workers', '2'],
    { store: 'dynamodb', table: 't', endpoint: 'http://127.0.0.1:8000' },
  ]);
});

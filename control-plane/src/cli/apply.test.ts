import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { farm, site, testCli } from './cli.fixture.ts';

const both = `${site('milan')}---\n${farm('pbx')}`;

test('creates, then finds nothing to do, and makes no revision', async () => {
  const { sipfleet, file, control } = await testCli();
  // The farm stands before the site that it needs: the order of writing is ours.
  await file('a.yaml', `${farm('pbx')}---\n${site('milan')}`);
  const first = await sipfleet('apply -f a.yaml');
  expect(first).toEqual({
    code: 0,
    out: '+ Farm pbx\n+ Site milan\nNo agent has joined milan yet.\n2 created, 0 updated. Revision 1.\n',
    err: '',
  });
  expect(await sipfleet('apply -f a.yaml')).toEqual({ code: 0, out: '= 2 unchanged\nNothing to do.\n', err: '' });
  expect(await control.store.revision()).toBe(1);
});

test('shows what an update changes, field by field', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', both);
  await sipfleet('apply -f a.yaml');
  await file(
    'a.yaml',
    `${site('milan')}description: here\n---\n${farm('pbx', 5070, '[{ name: pbx1, address: 10.0.0.11, weight: 3 }, { name: pbx2, address: 10.0.0.12 }]')}`,
  );
  const { code, out } = await sipfleet('apply -f a.yaml');
  expect(code).toBe(0);
  expect(out.split('\n')).toEqual([
    '~ Site milan',
    '    description: (none) → "here"',
    '~ Farm pbx',
    '    listeners[0].port: 5060 → 5070',
    '    backends[pbx1].weight: 1 → 3',
    expect.stringContaining('    backends[pbx2]: (none) → {"name":"pbx2","address":"10.0.0.12"'),
    'No agent has joined milan yet.',
    '0 created, 2 updated. Revision 2.',
    '',
  ]);
});

test('a dry run and a diff write nothing; the exit code of diff says whether anything differs', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', both);
  expect(await sipfleet('apply -f a.yaml --dry-run')).toMatchObject({
    code: 0,
    out: expect.stringContaining('+ Farm pbx'),
  });
  expect(await sipfleet('diff -f a.yaml')).toEqual({ code: 2, out: '+ Site milan\n+ Farm pbx\n', err: '' });
  expect(await control.store.revision()).toBe(0);
  await sipfleet('apply -f a.yaml');
  expect(await sipfleet('diff -f a.yaml')).toEqual({ code: 0, out: '= 2 unchanged\n', err: '' });
});

test('what the control plane finds wrong names file and line; nothing is written', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('sites.yaml', site('rome'));
  await file('farm.yaml', `# two comments\n# before it\n${farm('pbx')}---\n${farm('other')}`);
  const { code, out, err } = await sipfleet('apply -f sites.yaml -f farm.yaml');
  expect([code, out]).toEqual([1, '']);
  expect(err.split('\n').map((line) => line.split(': ').slice(0, 2).join(': '))).toEqual([
    'farm.yaml:5: sites[0]',
    'farm.yaml:11: sites[0]',
    'farm.yaml:12: listeners[0].port',
    '',
  ]);
  expect(await control.store.revision()).toBe(0);
});

test('faults of files come before any word to the control plane', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', `${farm('pbx').replace('udp', 'sctp')}vip: x\n`);
  const { code, err } = await sipfleet('apply -f a.yaml', {
    fetch: () => Promise.reject(new Error('asked')),
  });
  expect(code).toBe(1);
  expect(err).toBe(
    'a.yaml:6: vip: not supported yet; found "x"; allowed: nothing: leave this field out\n' +
      'a.yaml:4: listeners[0].transport: found "sctp"; allowed: one of udp, tcp, tls, ws, wss (sctp is not supported yet)\n',
  );
});

test('prune deletes farms before sites, and only when somebody said so', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', `${both}---\n${site('rome')}`);
  await sipfleet('apply -f a.yaml');
  await file('b.yaml', site('rome'));
  expect(await sipfleet('apply -f b.yaml')).toMatchObject({ code: 0, out: '= 1 unchanged\nNothing to do.\n' });

  const refused = await sipfleet('apply -f b.yaml --prune');
  expect(refused).toMatchObject({
    code: 1,
    out: '− Farm pbx\n− Site milan\n= 1 unchanged\nNo agent has joined milan yet.\n',
  });
  expect(refused.err).toContain('add --yes');
  const declined = await sipfleet('apply -f b.yaml --prune', { ask: async () => 'n' });
  expect(declined).toMatchObject({ code: 1, err: 'sipfleet: Nothing was written.\n' });
  expect(await control.store.revision()).toBe(1);

  const done = await sipfleet('apply -f b.yaml --prune', { ask: async () => 'y' });
  expect(done).toMatchObject({ code: 0, out: expect.stringContaining('0 created, 0 updated, 2 deleted.') });
  expect((await sipfleet('get sites')).out).not.toContain('milan');
});

test('where somebody else was faster nothing is written', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', both);
  await sipfleet('apply -f a.yaml');
  await file('a.yaml', `${site('milan')}description: x\n---\n${farm('pbx', 5070)}`);
  const { code, err } = await sipfleet('apply -f a.yaml', {
    fetch: (async (url, init) => {
      // Between plan and write, another operator deletes the farm.
      if (String(url).endsWith('/v1/changes'))
        await control.ask('DELETE', '/v1/farms/pbx', { headers: { 'if-match': '"1"' } });
      return control.app.request(String(url), init);
    }) as typeof fetch,
  });
  expect(code).toBe(1);
  expect(err).toBe(
    'sipfleet: somebody else was faster: there is no farm pbx to replace: create it with If-None-Match: *; run the command again to see what it would do now. Nothing was written.\n',
  );
});

test('prune renames a farm on its port, in one revision', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', both);
  await sipfleet('apply -f a.yaml');
  await file('a.yaml', `${site('milan')}---\n${farm('renamed')}`);
  // Without prune both farms would bind the port.
  expect(await sipfleet('apply -f a.yaml')).toMatchObject({
    code: 1,
    err: expect.stringContaining('farm pbx already'),
  });
  const { code, out } = await sipfleet('apply -f a.yaml --prune --yes');
  expect([code, out.split('\n').at(-2)]).toEqual([0, '1 created, 0 updated, 1 deleted. Revision 2.']);
  expect([...(await control.store.configuration()).farms.keys()]).toEqual(['renamed']);
});

test('more than fits into one revision becomes several, and says how far it came', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', Array.from({ length: 40 }, (_, i) => site(`s${i}`)).join('---\n'));
  const { out } = await sipfleet('apply -f a.yaml');
  expect(out).toContain('40 created, 0 updated. Revision 2.\n');
  await file('a.yaml', Array.from({ length: 40 }, (_, i) => `${site(`s${i}`)}description: x\n`).join('---\n'));
  let asked = 0;
  const fetch = (async (url, init) => {
    if (String(url).endsWith('/v1/changes') && ++asked === 2)
      await control.ask('PUT', '/v1/sites/s39', {
        body: { kind: 'Site', name: 's39', description: 'y' },
        headers: { 'if-match': '*' },
      });
    return control.app.request(String(url), init);
  }) as typeof globalThis.fetch;
  const { code, err } = await sipfleet('apply -f a.yaml', { fetch });
  expect([code, err]).toEqual([1, expect.stringContaining('Before that: 0 created, 31 updated.')]);
});

test('an answer that is lost is asked for again, and nothing is done twice', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', site('milan'));
  let lost = 0;
  const fetch = (async (url, init) => {
    const answer = await control.app.request(String(url), init);
    if (String(url).endsWith('/v1/changes') && lost++ === 0)
      throw new TypeError('fetch failed', { cause: { code: 'ECONNRESET' } });
    return answer;
  }) as typeof globalThis.fetch;
  expect(await sipfleet('apply -f a.yaml', { fetch })).toMatchObject({
    code: 0,
    out: expect.stringContaining('Revision 1.'),
  });
  expect([lost, await control.store.revision()]).toEqual([2, 1]);
});

test('colours on a terminal, unless NO_COLOR', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', site('milan'));
  const env = { SIPFLEET_TOKEN: 'sft_x', TERM: 'xterm' };
  const ask = {
    terminal: true,
    fetch: (async () =>
      Response.json({
        changes: [{ kind: 'Site', name: 'milan', action: 'create', revision: null }],
        blastRadius: { sites: [], agents: 0, unknown: [], calls: null, registrations: null, farms: [] },
      })) as typeof fetch,
  };
  expect((await sipfleet('diff -f a.yaml', { ...ask, env })).out).toBe('\u001b[32m+ Site milan\u001b[39m\n');
  expect((await sipfleet('diff -f a.yaml', { ...ask, env: { ...env, NO_COLOR: '1' } })).out).toBe('+ Site milan\n');
});

test('the plan says whom it touches: agents, their live calls and registrations, and who did not say', async () => {
  const { sipfleet, file, control } = await testCli();
  await file('a.yaml', both);
  await sipfleet('apply -f a.yaml');
  const [talking] = [await control.enrol(), await control.enrol()];
  const zero = { sessionAttempts: 0, sessionsEstablished: 0, sessionFailures: 0 };
  const none = { registrationAttempts: 0, registrationFailures: 0, checksFailed: 0 };
  await control.ask('POST', '/v1/agent/report', {
    as: { bearer: await talking.jwt() },
    body: {
      version: '1',
      uptimeSeconds: 1,
      snapshot: { status: 'NONE', etag: null, generation: null, running: null },
      backends: [],
      traffic: [{ farm: 'pbx', ...zero, ...none, activeSessions: 1, activeRegistrations: 20 }],
    },
  });
  await file('a.yaml', `${site('milan')}---\n${farm('pbx', 5070)}`);
  expect((await sipfleet('apply -f a.yaml --dry-run')).out).toContain(
    'Touches 2 agents at milan: 1 live call and 20 registrations on the farms that change; 1 agent did not say: edge-1.\nDry run: nothing was written.\n',
  );
});

test('for programs: one document on standard output, the rest on standard error, and no value of a Secret', async () => {
  const { sipfleet, file } = await testCli();
  const secret = 'kind: Secret\nname: login\ndata: { username: bonnie, password: parker-1934 }\n';
  await file('a.yaml', `${both}---\n${secret}`);
  const change = (kind: string, name: string, action: string, revision: number | null) => ({
    kind,
    name,
    action,
    revision,
  });
  const created = [change('Site', 'milan', 'create', null), change('Farm', 'pbx', 'create', null)];
  const all = [...created, change('Secret', 'login', 'create', null)];
  const planned = await sipfleet('diff -f a.yaml -o json');
  expect([planned.code, planned.err, JSON.parse(planned.out).changes]).toEqual([2, '', all]);
  const applied = await sipfleet('apply -f a.yaml -o json');
  expect([applied.code, JSON.parse(applied.out)]).toMatchObject([
    0,
    { changes: all, revision: 1, blastRadius: { agents: 0 } },
  ]);
  expect(applied.err).toContain('3 created, 0 updated. Revision 1.');
  await file('a.yaml', `${site('milan')}---\n${farm('pbx', 5070)}---\n${secret.replace('1934', '1935')}`);
  const dry = await sipfleet('apply -f a.yaml --dry-run -o yaml');
  expect(parse(dry.out)).toMatchObject({
    changes: [{ action: 'none' }, { action: 'update', fields: [{ field: 'listeners[0].port' }] }, { action: 'update' }],
    revision: null,
  });
  expect(dry.out + dry.err + applied.out + applied.err + planned.out).not.toContain('parker');
  await sipfleet('apply -f a.yaml');
  const rolledBack = await sipfleet('rollback -o json');
  expect(JSON.parse(rolledBack.out)).toMatchObject({
    to: 1,
    changes: [{ name: 'pbx', action: 'update' }],
    revision: 3,
  });
  expect((await sipfleet('apply -f a.yaml -o xml')).code).toBe(1);
});

import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';

test('history lists versions; with revisions it shows what lies between', async () => {
  const { sipfleet, file } = await testCli();
  await file('a.yaml', `${site('milan')}---\n${farm('pbx')}`);
  await sipfleet('apply -f a.yaml');
  await file('a.yaml', `${site('milan')}---\n${farm('pbx', 5070)}`);
  await sipfleet('apply -f a.yaml');
  await sipfleet('delete farm pbx');
  const { out } = await sipfleet('history farm pbx');
  expect(out.split('\n').map((row) => row.split(/ {2,}/).filter((_, i) => i !== 2))).toEqual([
    ['REVISION', 'ACTION', 'BY'],
    ['3', 'delete', 'a-admin'],
    ['2', 'update', 'a-admin'],
    ['1', 'create', 'a-admin'],
    [''],
  ]);
  expect((await sipfleet('history farm pbx --from 1 --to 2')).out).toBe('listeners[0].port: 5060 → 5070\n');
  expect((await sipfleet('history farm pbx --from 1 --to 1')).out).toBe('No field differs.\n');
  expect((await sipfleet('history farm pbx --from 2')).out).toContain('kind: "Farm" → (none)\n');
  expect(JSON.parse((await sipfleet('history farm pbx --limit 1 -o json')).out)).toMatchObject([
    { revision: 3, spec: null },
  ]);
  expect(await sipfleet('history farm other')).toMatchObject({ code: 1, err: expect.stringContaining('never was') });
  expect(await sipfleet('history secret tls')).toMatchObject({ code: 1, err: expect.stringContaining('site, farm') });
  expect(await sipfleet('history farm pbx --from x')).toMatchObject({ code: 1 });
});

test('audit shows the newest first; verify checks all of it', async () => {
  const { sipfleet, file, control } = await testCli();
  expect((await sipfleet('audit verify')).out).toContain('✓ 0 entries');
  await file('a.yaml', `${site('milan')}---\n${farm('pbx')}`);
  await sipfleet('apply -f a.yaml');
  await sipfleet('delete farm pbx');
  const { out } = await sipfleet('audit');
  expect(out.split('\n').slice(1, 3)).toEqual([
    expect.stringMatching(/^2 +\S+ +a-admin +sipfleet +− Farm pbx \(revision 2\)$/),
    expect.stringMatching(/^1 +\S+ +a-admin +sipfleet +\+ Site milan, \+ Farm pbx \(revision 1\)$/),
  ]);
  const verified = await sipfleet('audit verify');
  expect(verified).toMatchObject({ code: 0, out: expect.stringContaining('✓ 2 entries, each as it was written') });
  const end = /(\d+:[0-9a-f]{64})/.exec(verified.out)?.[1] as string;
  expect((await sipfleet(`audit verify --expect ${end}`)).code).toBe(0);
  const other = await sipfleet(`audit verify --expect 2:${'0'.repeat(64)}`);
  expect(other).toMatchObject({
    code: 1,
    err: expect.stringContaining('✗ entry 2: it has another hash than expected'),
  });
  // Whatever stands between: an answer that was changed on its way is found as well.
  const fetch = (async (url, init) => {
    const answer = await control.app.request(String(url), init);
    return new Response((await answer.text()).replaceAll('a-admin', 'somebody'), answer);
  }) as typeof globalThis.fetch;
  const tampered = await sipfleet('audit verify', { fetch });
  expect([tampered.code, tampered.err.split('\n')]).toEqual([
    1,
    [
      '✗ entry 1: changed: its content does not have its hash',
      '✗ entry 2: changed: its content does not have its hash',
      'sipfleet: the audit log of 2 entries was tampered with: 2 faults',
      '',
    ],
  ]);
});

test('schema prints what the control plane serves', async () => {
  const { sipfleet, control } = await testCli();
  const printed = JSON.parse((await sipfleet('schema')).out);
  expect(printed).toMatchObject({ title: 'Sipfleet resource', oneOf: [{}, {}, {}] });
  const served = await control.ask('GET', '/v1/schema.json', { as: null });
  expect([served.body, served.headers.get('content-type')]).toEqual([printed, 'application/schema+json']);
});

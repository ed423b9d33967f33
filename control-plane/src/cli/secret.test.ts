import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { farm, site, testCli } from './cli.fixture.ts';

const CANARY = 'canary-in-a-coal-mine';
const secret = (password = CANARY) =>
  `kind: Secret\nname: pbx-check\ndescription: checks\ndata:\n  username: "30"\n  password: ${password}\n`;
const checked = `${farm('pbx')}checks: [{ name: reg, type: register, interval: 5m, credentials: pbx-check }]\n`;

test('a Secret is applied before the farm that names it, and shown without its values', async () => {
  const cli = await testCli();
  await cli.file('all.yaml', [checked, secret(), site('milan')].join('---\n'));
  const applied = await cli.sipfleet('apply -f all.yaml');
  expect(applied).toMatchObject({ code: 0, err: '' });
  expect(applied.out).toContain('+ Secret pbx-check\n');
  expect((await cli.sipfleet('apply -f all.yaml')).out).toContain('Nothing to do.');
  const shown = [
    await cli.sipfleet('get secrets'),
    await cli.sipfleet('get secret pbx-check -o yaml'),
    await cli.sipfleet('get secrets -o json'),
  ];
  expect(shown[0]?.out).toMatch(/^NAME +KEYS +DESCRIPTION +REVISION +UPDATED\npbx-check +username,password +checks /);
  expect(shown[1]?.out).toContain('fingerprints:\n  username: ');
  expect(JSON.stringify([applied, shown])).not.toContain(CANARY);
});

test('diff names the keys that change and shows neither value', async () => {
  const cli = await testCli();
  await cli.file('secret.yaml', secret());
  await cli.sipfleet('apply -f secret.yaml');
  await cli.file('secret.yaml', `${secret(`${CANARY}2`).replace('username: "30"', 'realm: "r"')}`);
  expect(await cli.sipfleet('diff -f secret.yaml')).toEqual({
    code: 2,
    err: '',
    out: `~ Secret pbx-check
    data.password: (secret) → (secret), another
    data.realm: (none) → (secret)
    data.username: (secret) → (none)
`,
  });
});

test('values come from files beside the document', async () => {
  const cli = await testCli();
  await cli.file('key.pem', `${CANARY}\n`);
  const document = (file: string) => `kind: Secret\nname: tls\ndata:\n  privateKey: { file: ${file} }\n`;
  await cli.file('secret.yaml', document('./key.pem'));
  expect(await cli.sipfleet('apply -f secret.yaml')).toMatchObject({ code: 0, err: '' });
  await cli.file('inline.yaml', `kind: Secret\nname: tls\ndata:\n  privateKey: |\n    ${CANARY}\n`);
  expect((await cli.sipfleet('diff -f inline.yaml')).code).toBe(0);
  const piped = await cli.sipfleet('diff -f -', { readInput: async () => document('key.pem') });
  expect(piped.code).toBe(0);
  await cli.file('missing.yaml', document('none.pem'));
  expect((await cli.sipfleet('apply -f missing.yaml')).err).toBe(
    'missing.yaml:4: data.privateKey.file: no such file; found "none.pem"; allowed: a file of UTF-8 text of at most 65536 bytes, relative to this document\n',
  );
});

test('what is wrong in a file of Secrets is named without what stands there', async () => {
  const cli = await testCli();
  await cli.file('syntax.yaml', `kind: Secret\nname: tls\ndata:\n  privateKey: "${CANARY}\n`);
  await cli.file('value.yaml', `kind: Secret\nname: tls\ndata:\n  privateKey: [${CANARY}]\n`);
  for (const name of ['syntax', 'value']) {
    const { code, err } = await cli.sipfleet(`apply -f ${name}.yaml`);
    expect(code).toBe(1);
    expect(err).toContain('found (secret)');
    expect(err).not.toContain(CANARY);
  }
});

test('prune leaves Secrets alone; delete takes one that nobody names', async () => {
  const cli = await testCli();
  await cli.file('all.yaml', [site('milan'), secret(), checked].join('---\n'));
  await cli.file('site.yaml', site('milan'));
  await cli.sipfleet('apply -f all.yaml');
  expect((await cli.sipfleet('delete secret pbx-check')).err).toContain('still used by farm pbx');
  expect((await cli.sipfleet('apply -f site.yaml --prune --yes')).out).toContain('− Farm pbx');
  expect(await cli.sipfleet('delete secret pbx-check')).toMatchObject({ code: 0, out: '− Secret pbx-check\n' });
});

test('the example is one that applies', async () => {
  const cli = await testCli();
  const example = new URL('../../../infra/examples/secret.yaml', import.meta.url);
  await cli.file('secret.yaml', await readFile(example, 'utf8'));
  expect((await cli.sipfleet('apply -f secret.yaml')).err).toContain('data.certificate.file: no such file');
  await cli.file('sip.example.com.pem', 'PEM');
  await cli.file('sip.example.com.key', 'PEM');
  expect(await cli.sipfleet('apply -f secret.yaml')).toMatchObject({ code: 0, err: '' });
});

test('the signing key is rotated', async () => {
  const cli = await testCli();
  expect(await cli.sipfleet('rotate-signing-key')).toMatchObject({
    code: 0,
    out: 'Snapshots are signed with key 2 from now on.\n',
  });
});

import { expect, test } from 'vitest';
import { compileSnapshot } from './compile.ts';
import { configuration, farm, site } from './configuration.fixture.ts';
import { bundleEtag, type SealedSecret, secretsOfSite, sitesOfSecret, usersOfSecret } from './secrets.ts';
import { validateChanges } from './validate.ts';

const sealed = (name: string): SealedSecret => ({
  kind: 'Secret',
  name,
  fingerprints: { username: '4567', password: '0123' },
  wrappedKey: 'w',
  box: 'b',
});
const checked = (name: string, sites: string[], credentials: string, port: number) =>
  farm(name, sites, {
    listeners: [{ transport: 'udp', port }],
    checks: [{ name: 'register', type: 'register', interval: '5m', credentials }],
  });
const stored = configuration([
  site('milan'),
  site('rome'),
  sealed('a'),
  sealed('b'),
  checked('one', ['milan'], 'a', 5060),
  checked('two', ['milan', 'rome'], 'b', 5070),
]);

test('a site has the Secrets that its farms name, and no other', () => {
  expect(secretsOfSite(stored, 'milan').map(({ spec }) => spec.name)).toEqual(['a', 'b']);
  expect(secretsOfSite(stored, 'rome').map(({ spec }) => spec.name)).toEqual(['b']);
  expect(usersOfSecret(stored, 'b')).toEqual(['two']);
  expect(sitesOfSecret(stored, 'b')).toEqual(['milan', 'rome']);
  expect(sitesOfSecret(stored, 'c')).toEqual([]);
});

test('a snapshot carries their revisions, and is another one when a Secret is', () => {
  const { body, generation } = compileSnapshot(stored, 'rome');
  expect(JSON.parse(body)).toMatchObject({ secrets: { b: 4 } });
  expect(generation).toBe(6);
  const rotated = {
    ...stored,
    revision: 7,
    secrets: new Map([...stored.secrets, ['b', { spec: sealed('b'), revision: 7, updatedAt: '' }] as const]),
  };
  const after = compileSnapshot(rotated, 'rome');
  expect(JSON.parse(after.body)).toMatchObject({ secrets: { b: 7 }, generation: 7 });
  expect(compileSnapshot(configuration([site('rome')]), 'rome').body).not.toContain('secrets');
});

test('a farm that names an unknown Secret is at fault, with the field; one of the same set counts', () => {
  expect(validateChanges(stored, [checked('new', ['rome'], 'c', 5080)])).toEqual([
    {
      resource: 0,
      field: 'checks[0].credentials',
      found: '"c"',
      allowed: 'one of a, b',
      message: 'no such Secret',
    },
  ]);
  const secret = { kind: 'Secret', name: 'c', data: { username: 'u', password: 'p' } } as const;
  expect(validateChanges(stored, [checked('new', ['rome'], 'c', 5080), secret])).toEqual([]);
  const [fault] = validateChanges(configuration([site('rome')]), [checked('new', ['rome'], 'c', 5080)]);
  expect(fault?.allowed).toBe('a Secret that exists: there is none yet');
});

test('a Secret has what is taken from it, when the farm comes and when the Secret changes', () => {
  const secret = (data: Record<string, string>, name = 'b') => ({ kind: 'Secret', name, data }) as const;
  expect(validateChanges(stored, [secret({ username: 'u' })])).toEqual([
    {
      resource: 0,
      field: 'data.password',
      found: 'nothing',
      allowed: 'a value: farm two takes it for checks[0].credentials',
    },
  ]);
  // The farm that took it is replaced in the same set.
  expect(validateChanges(stored, [secret({ username: 'u' }), farm('two', ['rome'])])).toEqual([]);
  expect(validateChanges(stored, [secret({ token: 't' }, 'c'), checked('new', ['rome'], 'c', 5080)])).toEqual([
    {
      resource: 1,
      field: 'checks[0].credentials',
      found: '"c"',
      allowed: 'a Secret with username and password',
      message: 'it has token',
    },
  ]);
});

test('a bundle is another one for another agent, key, set or revision', () => {
  const to = { agentId: 'agt_1', sealKey: 'x' };
  const both = secretsOfSite(stored, 'milan');
  const etags = [
    bundleEtag(to, both),
    bundleEtag({ ...to, agentId: 'agt_2' }, both),
    bundleEtag({ ...to, sealKey: 'y' }, both),
    bundleEtag(to, secretsOfSite(stored, 'rome')),
    bundleEtag(
      to,
      both.map((secret) => ({ ...secret, revision: 9 })),
    ),
  ];
  expect(new Set(etags).size).toBe(5);
  expect(bundleEtag(to, both)).toBe(etags[0]);
});

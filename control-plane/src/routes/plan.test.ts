import { beforeEach, expect, test } from 'vitest';
import { farm, milan, problemOf, type TestApp, testApp } from './app.fixture.ts';

let t: TestApp;
beforeEach(async () => {
  t = testApp();
  await t.put(milan);
});

const plan = (resources: unknown) => t.ask('POST', '/v1/plan', { as: 'viewer', body: { resources } });

test('says what would change, and changes nothing', async () => {
  const asked = await plan([milan, { ...milan, name: 'rome' }, farm('pbx', ['milan', 'rome'])]);
  expect(asked).toMatchObject({ status: 200 });
  expect(asked.body.changes).toEqual([
    { kind: 'Site', name: 'milan', action: 'none', revision: 1 },
    { kind: 'Site', name: 'rome', action: 'create', revision: null },
    { kind: 'Farm', name: 'pbx', action: 'create', revision: null },
  ]);
  expect(await t.store.revision()).toBe(1);
  expect((await plan([])).body).toMatchObject({ changes: [], blastRadius: { sites: [], agents: 0, calls: null } });
});

test('all schema faults of all resources, each with the index of its resource', async () => {
  const asked = await plan([milan, { kind: 'Farmm' }, { ...milan, colour: 'red' }, 'text']);
  expect(asked.status).toBe(422);
  expect(problemOf(asked).faults).toEqual([
    { resource: 1, field: 'kind', found: '"Farmm"', allowed: 'one of Site, Farm, Secret' },
    {
      resource: 2,
      field: 'colour',
      found: '"colour"',
      allowed: 'one of kind, name, description',
      message: 'unknown field',
    },
    { resource: 3, field: '', found: '"text"', allowed: 'a mapping with a kind: Site or Farm or Secret' },
  ]);
});

test('faults across resources, as they would be after applying', async () => {
  const asked = await plan([farm('a', ['milan']), farm('b', ['milan']), farm('c', ['nowhere'])]);
  expect(problemOf(asked).faults).toMatchObject([
    { resource: 1, field: 'listeners[0].port' },
    { resource: 2, field: 'sites[0]', found: '"nowhere"' },
  ]);
});

test('the request itself is checked', async () => {
  expect(problemOf(await plan('all')).faults?.[0]?.field).toBe('resources');
  expect((await t.ask('POST', '/v1/plan', { body: { resources: [], more: 1 } })).status).toBe(422);
});

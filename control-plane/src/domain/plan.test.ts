import { expect, test } from 'vitest';
import { configuration, farm, site } from './configuration.fixture.ts';
import { planChanges } from './plan.ts';
import type { SecretSealer } from './secrets.ts';

/** Not to be used by sets without Secrets. */
const noSecrets = {} as SecretSealer;

test('create, update and none, in the order of the set', async () => {
  const stored = configuration([site('milan'), farm('pbx', ['milan'])]);
  const moved = farm('pbx', ['milan'], { listeners: [{ transport: 'udp', port: 5070 }] });
  expect(await planChanges(stored, [moved, site('milan'), site('rome')], noSecrets)).toEqual([
    { kind: 'Farm', name: 'pbx', action: 'update', revision: 2 },
    { kind: 'Site', name: 'milan', action: 'none', revision: 1 },
    { kind: 'Site', name: 'rome', action: 'create', revision: null },
  ]);
});

test('defaults written out and keys in another order are the same content', async () => {
  const stored = configuration([site('milan'), farm('pbx', ['milan'])]);
  const same = farm('pbx', ['milan'], { mode: 'proxy', balancing: { key: 'user', strategy: 'hash' }, checks: [] });
  expect((await planChanges(stored, [same], noSecrets))[0]?.action).toBe('none');
});

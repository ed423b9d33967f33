import { expect, test } from 'vitest';
import { configuration, farm, site } from './configuration.fixture.ts';
import { planChanges } from './plan.ts';

test('create, update and none, in the order of the set', () => {
  const stored = configuration([site('milan'), farm('pbx', ['milan'])]);
  const moved = farm('pbx', ['milan'], { listeners: [{ transport: 'udp', port: 5070 }] });
  expect(planChanges(stored, [moved, site('milan'), site('rome')])).toEqual([
    { kind: 'Farm', name: 'pbx', action: 'update', revision: 2 },
    { kind: 'Site', name: 'milan', action: 'none', revision: 1 },
    { kind: 'Site', name: 'rome', action: 'create', revision: null },
  ]);
});

test('defaults written out and keys in another order are the same content', () => {
  const stored = configuration([site('milan'), farm('pbx', ['milan'])]);
  const same = farm('pbx', ['milan'], { mode: 'proxy', balancing: { key: 'user', strategy: 'hash' }, checks: [] });
  expect(planChanges(stored, [same])[0]?.action).toBe('none');
});

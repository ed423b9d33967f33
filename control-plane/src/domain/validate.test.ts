import { describe, expect, test } from 'vitest';
import { configuration, farm, site } from './configuration.fixture.ts';
import { usersOfSite, validateChanges } from './validate.ts';

const stored = configuration([site('milan'), site('turin'), farm('pbx', ['milan'])]);

describe('unknown sites', () => {
  test('names the site and those that exist', () => {
    expect(validateChanges(stored, [farm('new', ['turin', 'rome'])])).toEqual([
      { resource: 0, field: 'sites[1]', found: '"rome"', allowed: 'one of milan, turin', message: 'no such site' },
    ]);
  });

  test('a site of the same set counts, before or after its farm', () => {
    expect(validateChanges(stored, [farm('new', ['rome']), site('rome')])).toEqual([]);
  });

  test('says so where there is no site at all, and does not list hundreds', () => {
    expect(validateChanges(configuration([]), [farm('new', ['rome'])])[0]?.allowed).toBe(
      'a site that exists: there is none yet',
    );
    const many = configuration(Array.from({ length: 300 }, (_, i) => site(`s${i}`)));
    expect(validateChanges(many, [farm('new', ['rome'])])[0]?.allowed).toMatch(/^one of s0, .* and 290 more$/);
  });
});

describe('one socket, two farms', () => {
  const listening = (address: string | undefined, port: number, transport: 'udp' | 'tcp' = 'udp') => ({
    listeners: [{ transport, port, ...(address === undefined ? {} : { address }) }],
    backends: [{ name: 'pbx1', address: address?.includes(':') ? '2001:db8::9' : '10.0.0.11', transport }],
  });

  test('the agent’s own address at one site: the new farm is at fault', () => {
    expect(validateChanges(stored, [farm('new', ['turin', 'milan'])])).toEqual([
      {
        resource: 0,
        field: 'listeners[0].port',
        found: '5060',
        allowed: 'a transport, address and port that no other farm binds at the same site',
        message: 'farm pbx already binds udp port 5060 of the agent’s own address at site milan',
      },
    ]);
  });

  test('another site, port, transport or address is no conflict', () => {
    const others = [
      farm('a', ['turin']),
      farm('b', ['milan'], listening(undefined, 5070)),
      farm('c', ['milan'], listening(undefined, 5060, 'tcp')),
      farm('d', ['milan'], listening('10.0.1.5', 5060)),
      farm('e', ['milan'], listening('10.0.1.6', 5060)),
    ];
    expect(validateChanges(stored, others)).toEqual([]);
  });

  test('an IPv6 address is the same however it is written', () => {
    const faults = validateChanges(stored, [
      farm('a', ['milan'], listening('2001:db8::1', 5060)),
      farm('b', ['milan'], listening('2001:0DB8:0:0::1', 5060)),
    ]);
    expect(faults).toMatchObject([{ resource: 1, field: 'listeners[0].port' }]);
    expect(faults[0]?.message).toContain('farm a already binds udp port 5060 of 2001:db8::1');
  });

  test('a farm replaced in the same set frees what it held', () => {
    expect(
      validateChanges(stored, [farm('new', ['milan']), farm('pbx', ['milan'], listening(undefined, 5070))]),
    ).toEqual([]);
  });
});

test('one resource twice in a set', () => {
  expect(validateChanges(stored, [site('rome'), site('milan'), site('rome')])).toEqual([
    {
      resource: 2,
      field: 'name',
      found: '"rome"',
      allowed: 'a name of its own for each Site',
      message: 'resource 1 of this set is the same Site',
    },
  ]);
  expect(validateChanges(stored, [site('twin'), farm('twin', ['turin'])])).toEqual([]);
});

test('who uses a site', () => {
  expect(usersOfSite(stored, 'milan')).toEqual(['pbx']);
  expect(usersOfSite(stored, 'turin')).toEqual([]);
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Farm } from './farm.ts';
import { formatFault, type ValidationError } from './faults.ts';
import { parseResource } from './resource.ts';
import { secretReferences } from './secret.ts';

const CANARY = 'canary-in-a-coal-mine';
const secret = { kind: 'Secret', name: 'tls', data: { certificate: 'c', privateKey: CANARY } };

/** The faults of a Secret as a person reads them. */
function faultsOf(input: unknown): string[] {
  try {
    parseResource(input);
  } catch (error) {
    return (error as ValidationError).faults.map(formatFault);
  }
  return expect.unreachable('it was taken');
}

test('a Secret is read as it is', () => {
  expect(parseResource(secret)).toEqual(secret);
  const large = 'x'.repeat(65_536);
  expect(parseResource({ ...secret, data: { a: large } })).toMatchObject({ data: { a: large } });
});

describe('faults name the key, and never the value', () => {
  test.each([
    [{ privateKey: 5 }, 'data.privateKey: found (secret); allowed: text of 1 to 65536 bytes'],
    [{ privateKey: '' }, 'data.privateKey: found (secret); allowed: text of 1 to 65536 bytes'],
    [{ privateKey: `${CANARY}${'ü'.repeat(32_768)}` }, 'data.privateKey: found (secret)'],
    [{ privateKey: { value: CANARY } }, 'data.privateKey: found (secret)'],
    [{ 'private key': CANARY }, 'data.private key: found (secret); allowed: 1 to 63 letters, digits'],
    [CANARY, 'data: found (secret); allowed: a mapping of 1 to 16 keys'],
    [[CANARY], 'data: found (secret)'],
    [{}, 'data: found (secret); allowed: a mapping of 1 to 16 keys to texts, at most 262144 bytes together'],
    [Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, CANARY])), 'data: found (secret)'],
    [Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`k${i}`, CANARY + 'x'.repeat(60_000)])), 'data: found'],
    [undefined, 'data: found (secret)'],
  ])('%#', (data, expected) => {
    const faults = faultsOf({ ...secret, data });
    expect(faults[0]).toContain(expected);
    expect(faults.join()).not.toContain(CANARY);
  });

  test('whatever stands in data', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          parseResource({ ...secret, data: { k: value, x: CANARY, y: { z: CANARY } } });
        } catch (error) {
          expect((error as Error).message).not.toContain(CANARY);
        }
      }),
    );
  });
});

test('every place of a farm that names a Secret is found, and those of fields that are not there are not', () => {
  const farm = Farm.parse({
    kind: 'Farm',
    name: 'pbx',
    sites: ['milan'],
    listeners: [{ transport: 'udp', port: 5060 }],
    backends: [{ name: 'pbx1', address: '10.0.0.11' }],
  });
  expect(secretReferences(farm)).toEqual([]);
  const full = {
    ...farm,
    listeners: [
      { ...farm.listeners[0], certificate: 'a' },
      { ...farm.listeners[0], certificates: ['b', 'c'], clientCertificate: { ca: 'd' } },
    ],
    backends: [{ ...farm.backends[0], tls: { ca: 'e' } }],
    checks: [{ name: 'register', credentials: 'f' }],
  } as unknown as Farm;
  const certificate = ['certificate', 'privateKey'];
  expect(secretReferences(full)).toEqual([
    { field: 'listeners[0].certificate', name: 'a', keys: certificate },
    { field: 'listeners[1].certificates[0]', name: 'b', keys: certificate },
    { field: 'listeners[1].certificates[1]', name: 'c', keys: certificate },
    { field: 'listeners[1].clientCertificate.ca', name: 'd', keys: ['ca'] },
    { field: 'backends[0].tls.ca', name: 'e', keys: ['ca'] },
    { field: 'checks[0].credentials', name: 'f', keys: ['username', 'password'] },
  ]);
});

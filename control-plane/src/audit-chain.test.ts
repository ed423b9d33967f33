import { expect, test } from 'vitest';
import { type AuditEntry, type AuditEvent, type AuditHead, chained, EMPTY_LOG, verifyChain } from './audit-chain.ts';

const event = (actor: string): AuditEvent => ({
  id: actor,
  at: '2026-01-02T03:04:05.000Z',
  actor,
  source: 'test',
  action: 'change',
  revision: 1,
  changes: [{ action: 'create', kind: 'Site', name: 'milan', from: null, sha256: null }],
  details: {},
});

function logOf(length: number): AuditEntry[] {
  const entries: AuditEntry[] = [];
  let head: AuditHead = EMPTY_LOG;
  for (let i = 0; i < length; i++) {
    const entry = chained(head, event(`actor-${i}`));
    entries.push(entry);
    head = entry;
  }
  return entries;
}

function faultsOf(entries: readonly AuditEntry[], head: AuditHead, expected?: AuditHead): string[] {
  const verifier = verifyChain(EMPTY_LOG, expected);
  for (const entry of entries) verifier.take(entry);
  return verifier.end(head).faults.map(({ sequence, message }) => `${sequence} ${message}`);
}

const whole = logOf(5);
const end = whole[4] as AuditEntry;

test('a log as it was written has no fault, and an empty one neither', () => {
  expect(faultsOf(whole, end)).toEqual([]);
  expect(faultsOf([], EMPTY_LOG)).toEqual([]);
});

test.each([
  ['actor', { actor: 'nobody' }],
  ['time', { at: '2020-01-01T00:00:00.000Z' }],
  ['what was done', { changes: [] }],
  ['revision', { revision: 2 }],
  ['source', { source: 'elsewhere' }],
])('a changed %s is found at its entry', (_, change) => {
  const changed = whole.map((entry, i) => (i === 2 ? { ...entry, ...change } : entry));
  expect(faultsOf(changed, end)).toEqual(['3 changed: its content does not have its hash']);
});

test('an entry made anew with its own hash is found at the one after it', () => {
  const forged = chained(whole[1] as AuditEntry, event('nobody'));
  const log = whole.map((entry, i) => (i === 2 ? forged : entry));
  expect(faultsOf(log, end)).toEqual(['4 it does not follow from the entry before: one of the two was replaced']);
});

test('a removed entry is found where it is missing: in the middle, at the beginning, at the end', () => {
  const less = (index: number) => whole.filter((_, i) => i !== index);
  expect(faultsOf(less(2), end)).toEqual(['3 missing: entry 4 follows entry 2']);
  expect(faultsOf(less(0), end)).toEqual(['1 missing: entry 2 follows entry 0']);
  expect(faultsOf(less(4), end)).toEqual(['5 missing: the log should end with entry 5']);
});

test('reordered entries are found', () => {
  const [a, b, c, d, e] = whole as [AuditEntry, AuditEntry, AuditEntry, AuditEntry, AuditEntry];
  expect(faultsOf([a, c, b, d, e], end)[0]).toBe('2 missing: entry 3 follows entry 1');
  // Numbers and all: the hashes still tell.
  expect(faultsOf([a, { ...c, sequence: 2 }, { ...b, sequence: 3 }, d, e], end).length).toBeGreaterThanOrEqual(3);
});

test('a whole log made anew is found by a head that was written down elsewhere', () => {
  const forged = logOf(2);
  for (let i = 2; i < 5; i++) forged.push(chained(forged.at(-1) as AuditEntry, event('nobody')));
  const head = forged[4] as AuditEntry;
  expect(faultsOf(forged, head)).toEqual([]);
  expect(faultsOf(forged, head, end)).toEqual(['5 it has another hash than expected: the log was made anew']);
  expect(faultsOf(whole.slice(0, 3), whole[2] as AuditEntry, end)).toEqual(['5 missing: it is expected and not there']);
});

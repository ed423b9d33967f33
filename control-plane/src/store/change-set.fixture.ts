import { randomUUID } from 'node:crypto';
import type { Kind } from '@sipfleet/contract';
import type { StoredSpec } from '../domain/configuration.ts';
import type { ChangeSet, DeleteWrite, PutWrite, Store } from './store.ts';

/** Not in the past: DynamoDB removes by the wall clock what has expired. */
export const AT = '2099-01-02T03:04:05.000Z';

export function putOf(spec: StoredSpec, expected: number | null): PutWrite {
  const tokenKeys = spec.kind === 'Farm' ? [{ id: 1, key: '00112233445566778899aabbccddeeff' }] : [];
  return { action: 'put', spec, tokenKeys, expected };
}

export const deleteOf = (kind: Kind, name: string, expected: number): DeleteWrite => ({
  action: 'delete',
  kind,
  name,
  expected,
});

export function setOf(base: number, writes: ChangeSet['writes'], over: Partial<ChangeSet> = {}): ChangeSet {
  const affects = writes.flatMap((write) =>
    write.action === 'put' && write.spec.kind === 'Farm' ? write.spec.sites : [],
  );
  const id = randomUUID().replaceAll('-', '');
  return { id, base, actor: 'tester', source: 'test', at: AT, affects, writes, ...over };
}

/** One resource as it would follow on from what is stored now. */
export async function putNow(
  store: Store,
  spec: StoredSpec,
  over: Partial<ChangeSet & { expected: number | null }> = {},
) {
  const stored = await store.get(spec.kind, spec.name);
  const { expected = stored?.revision ?? null, ...rest } = over;
  return store.write(setOf(await store.revision(), [putOf(spec, expected)], rest));
}

import { show } from './faults.ts';
import { canonicalJson } from './resource.ts';
import { HIDDEN, type Secret, type SecretView } from './secret.ts';

/** A field that an update changes. List items are told apart by name where they have one: `backends[pbx1].weight`. */
export interface FieldChange {
  field: string;
  from: string;
  to: string;
}

/** What stands where a field is not there. */
const ABSENT = '(none)';
const text = (value: unknown): string => (value === undefined ? ABSENT : show(value));

type Mapping = Record<string, unknown>;
const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const nameOf = (item: unknown): unknown => (isMapping(item) ? item.name : undefined);
const areNamed = (list: readonly unknown[]): boolean => list.every((item) => typeof nameOf(item) === 'string');

/** Every field that differs, in the order of the fields. */
export function fieldChanges(from: object, to: object): FieldChange[] {
  return [...differences('', from, to)];
}

/** Which of a Secret's keys change, and never to what. `keys`: those that the control plane found changed. */
export function secretChanges(from: SecretView, to: Secret | SecretView, keys: readonly string[]): FieldChange[] {
  const after = 'data' in to ? to.data : to.fingerprints;
  const changes = keys.map((key) => ({
    field: `data.${key}`,
    from: key in from.fingerprints ? HIDDEN : ABSENT,
    to: key in after ? `${HIDDEN}${key in from.fingerprints ? ', another' : ''}` : ABSENT,
  }));
  return [...differences('description', from.description, to.description), ...changes];
}

function* differences(field: string, from: unknown, to: unknown): Generator<FieldChange> {
  if (isMapping(from) && isMapping(to)) {
    for (const key of new Set([...Object.keys(from), ...Object.keys(to)]))
      yield* differences(field === '' ? key : `${field}.${key}`, from[key], to[key]);
    return;
  }
  if (Array.isArray(from) && Array.isArray(to) && [...from, ...to].every(isMapping)) {
    yield* listDifferences(field, from, to);
    return;
  }
  if ((from === undefined) !== (to === undefined) || (from !== undefined && canonicalJson(from) !== canonicalJson(to)))
    yield { field, from: text(from), to: text(to) };
}

function* listDifferences(field: string, from: unknown[], to: unknown[]): Generator<FieldChange> {
  if (!areNamed(from) || !areNamed(to)) {
    for (let i = 0; i < Math.max(from.length, to.length); i++) yield* differences(`${field}[${i}]`, from[i], to[i]);
    return;
  }
  const before = new Map(from.map((item) => [nameOf(item), item]));
  const after = new Map(to.map((item) => [nameOf(item), item]));
  const names = [...new Set([...before.keys(), ...after.keys()])];
  for (const name of names) yield* differences(`${field}[${String(name)}]`, before.get(name), after.get(name));
  const order = (list: Map<unknown, unknown>) => [...list.keys()].filter((n) => before.has(n) && after.has(n));
  if (canonicalJson(order(before)) !== canonicalJson(order(after)))
    yield { field: `${field} (order)`, from: text(order(before)), to: text(order(after)) };
}

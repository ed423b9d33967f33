import { z } from 'zod';
import { Farm, pendingFields } from './farm.ts';
import { type Fault, faultsOf, show, ValidationError } from './faults.ts';
import { HIDDEN, Secret } from './secret.ts';
import { Site } from './site.ts';

export const KINDS = { Site, Farm, Secret } as const;
export type Kind = keyof typeof KINDS;
export type Resource = Site | Farm | Secret;

/** The schema that stands at a path inside a resource's schema, for naming what a field may hold. */
function schemaAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): z.core.$ZodType | undefined {
  let at: z.core.$ZodType | undefined = schema;
  for (const key of path) {
    at = unwrap(at);
    if (at instanceof z.ZodObject) at = at.shape[String(key)] as z.core.$ZodType | undefined;
    else if (at instanceof z.ZodArray) at = at.element as z.core.$ZodType;
    else return undefined;
  }
  return unwrap(at);
}

function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  let at = schema;
  while (at instanceof z.ZodOptional || at instanceof z.ZodDefault || at instanceof z.ZodPrefault)
    at = at.def.innerType as z.core.$ZodType;
  return at;
}

/**
 * Reads one resource. Throws {@link ValidationError} naming every field that is wrong, what was found there and what is allowed.
 *
 * @example parseResource({ kind: 'Site', name: 'milan' })
 */
export function parseResource(input: unknown): Resource {
  const kind = (input as { kind?: unknown } | null)?.kind;
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw new ValidationError([
      { field: '', found: show(input), allowed: `a mapping with a kind: ${Object.keys(KINDS).join(' or ')}` },
    ]);
  if (typeof kind !== 'string' || !Object.hasOwn(KINDS, kind))
    throw new ValidationError([
      { field: 'kind', found: show(kind), allowed: `one of ${Object.keys(KINDS).join(', ')}` },
    ]);
  const schema = KINDS[kind as Kind];
  return parseWith<Resource>(schema as unknown as z.ZodType<Resource>, input);
}

/** Reads anything by its schema, with the same faults as {@link parseResource}. */
export function parseWith<T>(schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const faults: Fault[] = faultsOf(result.error, input, (path) => {
    const at = schemaAt(schema, path);
    if (!(at instanceof z.ZodObject)) return 'no further fields';
    const fields = Object.entries(at.shape).filter(([, field]) => !pendingFields.has(field as object));
    return `one of ${fields.map(([key]) => key).join(', ')}`;
  });
  throw new ValidationError((schema as unknown) === Secret ? faults.map(hidden) : faults);
}

/** A fault in a Secret's data says where, and never what stands there: faults end up in logs and on screens. */
function hidden(fault: Fault): Fault {
  return /^data\b/.test(fault.field) ? { ...fault, found: HIDDEN } : fault;
}

/** `{"b":1,"a":2}` → `{"a":2,"b":1}`, at every depth: the same content gives the same bytes, hence the same hash (RFC 8785's idea for our value range). */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) =>
    v !== null && typeof v === 'object' && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}

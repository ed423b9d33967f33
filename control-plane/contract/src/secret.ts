import { z } from 'zod';
import { resourceName } from './address.ts';
import type { Farm } from './farm.ts';

const MAX_KEYS = 16;
const MAX_VALUE_BYTES = 65_536;
/** Of all values as JSON: sealed and in base64 it must fit an item of DynamoDB, which holds 400 KB. */
const MAX_DATA_BYTES = 262_144;

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

const allowedKey = '1 to 63 letters, digits, dots, hyphens and underscores, beginning with a letter';
const secretKey = z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,62}$/, { error: allowedKey });

const allowedValue = `text of 1 to ${MAX_VALUE_BYTES} bytes`;
const secretValue = z
  .string({ error: allowedValue })
  .refine((text) => text !== '' && bytesOf(text) <= MAX_VALUE_BYTES, { error: allowedValue });

const allowedData = `a mapping of 1 to ${MAX_KEYS} keys to texts, at most ${MAX_DATA_BYTES} bytes together`;

/**
 * Values that must not be seen, named by farms: certificates with their keys, credentials of checks. Write-only: what comes back is
 * a {@link SecretView}.
 *
 * @example { kind: 'Secret', name: 'pbx-check', data: { username: '30', password: '…' } }
 */
export const Secret = z.strictObject({
  kind: z.literal('Secret'),
  name: resourceName,
  description: z.string().max(200, { error: 'at most 200 characters' }).optional(),
  data: z
    .record(secretKey, secretValue, { error: ({ code }) => (code === 'invalid_key' ? allowedKey : allowedData) })
    .refine(
      (data) => {
        const keys = Object.keys(data).length;
        return keys >= 1 && keys <= MAX_KEYS && bytesOf(JSON.stringify(data)) <= MAX_DATA_BYTES;
      },
      { error: allowedData },
    ),
});
export type Secret = z.infer<typeof Secret>;

/** A Secret as operators may see it: a fingerprint in place of each value, the same as long as the value is. */
export const SecretView = z.strictObject({
  kind: z.literal('Secret'),
  name: resourceName,
  description: z.string().optional(),
  fingerprints: z.record(z.string(), z.string()),
});
export type SecretView = z.infer<typeof SecretView>;

/** The input that stands behind a fault is shown to people, except inside a Secret. */
export const HIDDEN = '(secret)';

/** A place where a farm names a Secret. */
export interface SecretReference {
  /** In the form of a fault's field: `listeners[0].certificate`. */
  field: string;
  /** The Secret's name. */
  name: string;
  /** What is taken from it: it must have these. */
  keys: readonly string[];
}

const CERTIFICATE = ['certificate', 'privateKey'];

/** Where a farm may name Secrets, `*` standing for every item of a list, and what is taken from them there. */
const REFERENCES: readonly { path: readonly string[]; keys: readonly string[] }[] = [
  { path: ['listeners', '*', 'certificate'], keys: CERTIFICATE },
  { path: ['listeners', '*', 'certificates', '*'], keys: CERTIFICATE },
  { path: ['listeners', '*', 'clientCertificate', 'ca'], keys: ['ca'] },
  { path: ['backends', '*', 'tls', 'ca'], keys: ['ca'] },
  { path: ['checks', '*', 'credentials'], keys: ['username', 'password'] },
];

/** Every place of a farm that names a Secret, in the order of its fields. */
export function secretReferences(farm: Farm): SecretReference[] {
  return REFERENCES.flatMap(({ path, keys }) => [...namesAt(farm, path, '')].map((found) => ({ ...found, keys })));
}

function* namesAt(value: unknown, path: readonly string[], field: string): Generator<Omit<SecretReference, 'keys'>> {
  const [step, ...rest] = path;
  if (step === undefined) {
    if (typeof value === 'string') yield { field, name: value };
  } else if (step === '*') {
    if (Array.isArray(value)) for (const [i, item] of value.entries()) yield* namesAt(item, rest, `${field}[${i}]`);
  } else if (typeof value === 'object' && value !== null) {
    yield* namesAt((value as Record<string, unknown>)[step], rest, field === '' ? step : `${field}.${step}`);
  }
}

import { duration, resourceName } from '@sipfleet/contract';
import { z } from 'zod';

/** Operators' tokens as the HTTP API has them. */

const role = z.enum(['viewer', 'operator', 'admin'], { error: 'viewer, operator or admin' });

export const TokenRequest = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._@-]{0,62}$/, { error: 'up to 63 of a-z, 0-9, ., _, @ and -' }),
  role,
  sites: z
    .array(resourceName, { error: 'a list of sites' })
    .min(1, { error: 'at least one site, or none of this field for all' })
    .max(200, { error: 'at most 200 sites' })
    .optional()
    .meta({ description: 'What it may change is bound to these; left out: all. Reading is not bound' }),
  ttl: duration('1m', '3650d').optional().meta({ description: 'Left out: it does not expire' }),
});
export type TokenRequest = z.infer<typeof TokenRequest>;

/** A token as operators see it: never the token itself. */
export const TokenView = z
  .object({
    id: z.string().meta({ description: 'The beginning of its SHA-256' }),
    name: z.string(),
    role,
    sites: z.array(z.string()).nullable(),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Token' });
export type TokenView = z.infer<typeof TokenView>;

export const TokenMade = TokenView.extend({ token: z.string() });
export type TokenMade = z.infer<typeof TokenMade>;

import { z } from 'zod';
import { resourceName } from './address.ts';

/** A place where agents stand: a data centre, a region, an office. */
export const Site = z.strictObject({
  kind: z.literal('Site'),
  name: resourceName,
  description: z.string().max(200, { error: 'at most 200 characters' }).optional(),
});
export type Site = z.infer<typeof Site>;

import { resourceName } from '@sipfleet/contract';
import { z } from 'zod';
import { askSts } from '../auth/iam.ts';
import { createOidc } from '../auth/oidc.ts';
import { ROLES } from '../domain/identity.ts';
import type { AppDeps } from '../routes/deps.ts';

/** The same as the options of `sipfleet control-plane` (docs/access.md), as JSON in the environment. */
const Oidc = z.strictObject({
  issuer: z.url({ protocol: /^https$/ }),
  audience: z.string().default('sipfleet'),
  roleClaim: z.string().default('roles'),
  roles: z.record(z.string(), z.enum(ROLES)).default({ viewer: 'viewer', operator: 'operator', admin: 'admin' }),
  sitesClaim: z.string().default('sites'),
  sitesDefault: z.enum(['all', 'none']).default('none'),
});
const IamJoin = z.strictObject({
  audience: z.string().default('sipfleet'),
  rules: z.array(z.strictObject({ site: resourceName, arn: z.string() })).min(1),
});

/** Who is let in beside API tokens and join tokens: SIPFLEET_OIDC and SIPFLEET_IAM_JOIN. Throws an Error that names the variable. */
export function accessOf(env: Readonly<Record<string, string | undefined>>): Pick<AppDeps, 'oidc' | 'iam'> {
  const oidc = read(env, 'SIPFLEET_OIDC', Oidc);
  const iam = read(env, 'SIPFLEET_IAM_JOIN', IamJoin);
  return { oidc: oidc && createOidc(oidc), iam: iam && { ...iam, ask: askSts() } };
}

function read<T>(env: Readonly<Record<string, string | undefined>>, name: string, schema: z.ZodType<T>): T | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`the environment variable ${name} is not understood: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

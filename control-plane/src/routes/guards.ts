import { createMiddleware } from 'hono/factory';
import { authenticateAgent } from '../auth/agent.ts';
import { AuthError } from '../auth/auth-error.ts';
import { authenticateOperator } from '../auth/operator.ts';
import { beyond, type Operator, type Role } from '../domain/identity.ts';
import type { AppDeps, AppEnv } from './deps.ts';

/** Lets operators through whose role allows it. */
export const operatorGuard = ({ store, oidc, now }: Pick<AppDeps, 'store' | 'oidc' | 'now'>, role: Role) => ({
  scheme: 'operator' as const,
  middleware: createMiddleware<AppEnv>(async (c, next) => {
    const proofs = { apiToken: (hash: string) => store.apiToken(hash), oidc, now };
    c.set('operator', await authenticateOperator(proofs, c.req.header('authorization'), role));
    await next();
  }),
});

/** @throws AuthError where the operator may not change what is at one of these sites. `what`: what they are asked for */
export function requireSites(operator: Operator, sites: readonly string[], what: string): void {
  const missing = beyond(operator, sites);
  if (missing.length > 0)
    throw new AuthError(403, `${what} concerns site ${missing.join(', ')}, which ${operator.name} may not change`);
}

/** @throws AuthError where the operator is bound to some sites, and this concerns all. */
export function requireAllSites({ name, sites }: Operator, what: string): void {
  if (sites !== null)
    throw new AuthError(403, `${what} concerns all sites; ${name} may change ${sites.join(', ') || 'none'}`);
}

/** Lets enrolled agents through. */
export const agentGuard = ({ store, now, tokens }: Pick<AppDeps, 'store' | 'now' | 'tokens'>) => ({
  scheme: 'agent' as const,
  middleware: createMiddleware<AppEnv>(async (c, next) => {
    c.set('agent', await authenticateAgent(store, c.req.header('authorization'), now, tokens));
    await next();
  }),
});

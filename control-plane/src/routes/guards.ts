import { createMiddleware } from 'hono/factory';
import { authenticateAgent } from '../auth/agent.ts';
import { AuthError } from '../auth/auth-error.ts';
import { authenticateOperator } from '../auth/operator.ts';
import { beyond, type Operator, type Role } from '../domain/identity.ts';
import type { AppDeps, AppEnv } from './deps.ts';
import { problemOf } from './problems.ts';

/** Lets operators through whose role allows it. */
export const operatorGuard = (
  { store, oidc, now, limits }: Pick<AppDeps, 'store' | 'oidc' | 'now' | 'limits'>,
  role: Role,
) => ({
  scheme: 'operator' as const,
  middleware: createMiddleware<AppEnv>(async (c, next) => {
    const proofs = { apiToken: (hash: string) => store.apiToken(hash), oidc, now };
    const operator = await authenticateOperator(proofs, c.req.header('authorization'), role);
    limits.operator(operator.name);
    c.set('operator', operator);
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
export const agentGuard = ({ store, now, tokens, limits }: Pick<AppDeps, 'store' | 'now' | 'tokens' | 'limits'>) => ({
  scheme: 'agent' as const,
  middleware: createMiddleware<AppEnv>(async (c, next) => {
    const agent = await authenticateAgent(store, c.req.header('authorization'), now, tokens);
    limits.agent(agent.agentId);
    c.set('agent', agent);
    await next();
  }),
});

/** What is asked of the health of this process is asked by load balancers, which must not be told no. */
const UNLIMITED = '/healthz';
/** It carries its proof in its body. */
const ENROL = '/v1/agents/enrol';

/**
 * Who proves nothing is limited by address: before anything is done where there is no proof, afterwards where it was wrong. A right proof is always
 * looked at, whatever else comes from its address.
 */
export const limitStrangers = ({ limits, addressOf, log }: Pick<AppDeps, 'limits' | 'addressOf' | 'log'>) =>
  createMiddleware<AppEnv>(async (c, next) => {
    if (c.req.path === UNLIMITED) return next();
    const proves = c.req.header('authorization') !== undefined || c.req.path === ENROL;
    if (!proves) limits.address(addressOf(c));
    await next();
    if (!proves || c.res.status !== 401) return;
    try {
      limits.address(addressOf(c));
    } catch (error) {
      c.res = problemOf(error, log);
    }
  });

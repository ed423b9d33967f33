import { createMiddleware } from 'hono/factory';
import { authenticateAgent } from '../auth/agent.ts';
import { authenticateOperator } from '../auth/operator.ts';
import type { Role } from '../domain/identity.ts';
import type { AppDeps, AppEnv } from './deps.ts';

/** Lets operators through whose role allows it. */
export const operatorGuard = ({ store }: Pick<AppDeps, 'store'>, role: Role) => ({
  scheme: 'operator' as const,
  middleware: createMiddleware<AppEnv>(async (c, next) => {
    c.set('operator', await authenticateOperator(store, c.req.header('authorization'), role));
    await next();
  }),
});

/** Lets enrolled agents through. */
export const agentGuard = ({ store, now, tokens }: Pick<AppDeps, 'store' | 'now' | 'tokens'>) => ({
  scheme: 'agent' as const,
  middleware: createMiddleware<AppEnv>(async (c, next) => {
    c.set('agent', await authenticateAgent(store, c.req.header('authorization'), now, tokens));
    await next();
  }),
});

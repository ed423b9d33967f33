import { randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import { AuditPage, AuditQuery } from '../api-changes.ts';
import type { AppDeps, Audit } from './deps.ts';
import { operatorGuard } from './guards.ts';
import { pagingOf } from './paging.ts';
import { type App, addRoute } from './route.ts';
import { sourceOf } from './writes.ts';

/** Appends entries in the name of who asks. */
export const auditor =
  (c: Context, { store, now }: Pick<AppDeps, 'store' | 'now'>): Audit =>
  async (entry) => {
    const at = new Date(now()).toISOString();
    const id = randomUUID().replaceAll('-', '');
    await store.appendAudit({ id, at, source: sourceOf(c), revision: null, changes: [], ...entry });
  };

/** `GET /v1/audit`: the log as it is stored, with its hashes, so that who asks can verify it without trusting this server. */
export function auditRoute(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/audit',
      summary: 'The audit log: who did what, when; each entry holds the hash of the one before',
      guard: operatorGuard(deps, 'viewer'),
      query: AuditQuery,
      answers: { 200: { description: 'One page, and where the whole log ends', schema: AuditPage } },
      problems: [401, 422],
    },
    async (c, { query: { order, ...query } }) => {
      const paging = pagingOf(`audit ${order}`);
      // Before the page: an entry that comes in meanwhile is then one more than the end that is told, never one less.
      const head = await deps.store.auditHead();
      const found = await deps.store.audit({ ...paging.request(query), newestFirst: order === 'newest-first' });
      const { sequence, hash } = head;
      return c.json({ ...paging.answer(found, (entry) => entry), head: { sequence, hash } }, 200);
    },
  );
}

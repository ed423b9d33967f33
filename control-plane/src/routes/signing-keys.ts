import { page, SigningKeyView } from '../api.ts';
import type { StoredSigningKey } from '../domain/identity.ts';
import type { AppDeps } from './deps.ts';
import { operatorGuard, requireAllSites } from './guards.ts';
import { type App, addRoute } from './route.ts';

const viewOf = ({ sequence, x, createdAt }: StoredSigningKey): SigningKeyView => ({ sequence, x, createdAt });

/** The keys that snapshots are signed with, as operators see them: public halves alone. */
export function signingKeyRoutes(app: App, deps: AppDeps): void {
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/signing-keys',
      summary: 'List the keys that snapshots were signed with, the one in use last',
      guard: operatorGuard(deps, 'viewer'),
      answers: { 200: { description: 'All of them', schema: page(SigningKeyView) } },
      problems: [401],
    },
    async (c) => c.json({ items: (await deps.signer.chain()).map(viewOf) }, 200),
  );

  addRoute(
    app,
    {
      method: 'post',
      path: '/v1/signing-keys',
      summary: 'Rotate: make a new key, which signs from now on and which agents learn from the one before it',
      guard: operatorGuard(deps, 'admin'),
      audit: { action: 'signing-key.rotate' },
      answers: { 201: { description: 'The new key', schema: SigningKeyView } },
      problems: [401, 403],
    },
    async (c) => {
      requireAllSites(c.get('operator'), 'the signing key');
      const made = await deps.signer.rotate();
      deps.log.info({ sequence: made.sequence, actor: c.get('operator').name }, 'the signing key was rotated');
      return c.json(viewOf(made), 201);
    },
  );
}

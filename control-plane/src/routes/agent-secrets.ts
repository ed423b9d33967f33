import { createPublicKey, verify } from 'node:crypto';
import { AgentKey, AgentKeys, KeyChain, keyProofText, SecretBundle, SIGNATURE_HEADER } from '@sipfleet/contract';
import { AuthError } from '../auth/auth-error.ts';
import { bundleEtag, secretsOfSite } from '../domain/secrets.ts';
import type { AppDeps } from './deps.ts';
import { agentGuard } from './guards.ts';
import { etagOf, isKnown } from './preconditions.ts';
import { ProblemError } from './problems.ts';
import { type App, addRoute } from './route.ts';

/** What an agent needs beside its snapshot: the values of its site's Secrets, and the keys that all of it is signed with. */
export function agentSecretRoutes(app: App, deps: AppDeps): void {
  const guard = agentGuard(deps);

  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/agent/secrets',
      summary: 'The Secrets that the farms of this agent’s site name, sealed to this agent',
      guard,
      answers: {
        200: { description: 'The bundle, signed as the snapshot is', schema: SecretBundle },
        304: { description: 'If-None-Match has this bundle: no value, Secret or key has changed' },
      },
      problems: [401, 409],
    },
    async (c) => {
      const agent = c.get('agent');
      const { agentId, site, sealKey } = agent;
      if (sealKey === null)
        throw new ProblemError(409, `agent ${agentId} has no key to seal to: register one by PUT /v1/agent/keys`);
      const secrets = secretsOfSite(await deps.current.configurationFor(agent), site);
      const to = { agentId, sealKey };
      const etag = etagOf(bundleEtag(to, secrets));
      c.header('etag', etag);
      c.header('cache-control', 'no-store');
      if (isKnown(c, etag)) return c.body(null, 304);
      const body = JSON.stringify(await deps.secrets.bundle(to, secrets));
      c.header(SIGNATURE_HEADER, await deps.signer.sign('secrets', body));
      return c.body(body, 200, { 'content-type': 'application/json' });
    },
  );

  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/agent/keys',
      summary: 'Every key that snapshots were ever signed with, each signed by the one before it',
      guard,
      answers: { 200: { description: 'Oldest first; the last one signs', schema: KeyChain } },
      problems: [401],
    },
    async (c) => {
      const keys = (await deps.signer.chain()).map(({ sequence, x, signature }) => ({ sequence, x, signature }));
      return c.json({ keys }, 200);
    },
  );

  addRoute(
    app,
    {
      method: 'put',
      path: '/v1/agent/keys',
      summary: 'Register the key that Secrets are sealed to from now on',
      guard,
      body: AgentKeys,
      answers: { 204: { description: 'Registered' } },
      problems: [400, 401, 413, 422],
    },
    async (c, { body }) => {
      const { agentId } = c.get('agent');
      if (!(await deps.store.setSealKey(agentId, body.sealKey.x)))
        throw new AuthError(401, `agent ${agentId} was revoked`);
      deps.log.info({ agent: agentId }, 'an agent registered a key to seal to');
      return c.body(null, 204);
    },
  );

  addRoute(
    app,
    {
      method: 'put',
      path: '/v1/agent/key',
      summary: 'Rotate: register the key that this agent signs with from now on; the one before opens nothing any more',
      guard,
      body: AgentKey,
      answers: { 204: { description: 'Registered, or registered already' } },
      problems: [400, 401, 413, 422],
    },
    async (c, { body: { publicKey, proof } }) => {
      const { agentId, name } = c.get('agent');
      const key = createPublicKey({ key: publicKey, format: 'jwk' });
      const text = Buffer.from(keyProofText(agentId, publicKey.x));
      if (!verify(null, text, key, Buffer.from(proof, 'base64url')))
        throw new AuthError(401, 'the proof of the new key is not made with it');
      if (!(await deps.store.setPublicKey(agentId, publicKey.x)))
        throw new AuthError(401, `agent ${agentId} was revoked`);
      await c.get('audit')({ actor: `agent ${name}`, action: 'agent.rotate-key', details: { agent: agentId } });
      deps.log.info({ agent: agentId }, 'an agent rotated its key');
      return c.body(null, 204);
    },
  );
}

import { exportJWK, generateKeyPair } from 'jose';
import { createClient } from './client.ts';
import { signJwt } from './routes/app.fixture.ts';
import type { ControlPlane } from './server.ts';

export const clientOf = (plane: ControlPlane) => createClient({ url: plane.url, token: plane.adminToken });

/** An agent of site milan as far as the control plane sees one. */
export async function joinAgent(plane: ControlPlane) {
  const { token } = await clientOf(plane).createJoinToken('milan');
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const { kty, crv, x } = await exportJWK(publicKey);
  const body = { joinToken: token, name: 'edge-1', publicKey: { kty, crv, x }, version: '1.0.0' };
  const enrolled = await fetch(`${plane.url}/v1/agents/enrol`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const { agentId } = (await enrolled.json()) as { agentId: string };
  const authorization = async () => ({ authorization: `Bearer ${await signJwt(agentId, privateKey, Date.now())}` });
  return { agentId, authorization };
}

import type { EnrolRequest, IamProof } from '@sipfleet/contract';
import { AuthError } from '../auth/auth-error.ts';
import { type CallerIdentity, StsUnavailable, verifyIamProof } from '../auth/iam.ts';
import { hashSecret } from '../auth/secret.ts';
import { ruleFor } from '../domain/join-rule.ts';
import type { AppDeps, IamJoin } from './deps.ts';
import { ProblemError } from './problems.ts';

/** One that is not used at once is not used at all. */
const TOKEN_MS = 300_000;

/**
 * The hash of a join token that the proof of an IAM role buys: one for each pair of keys, so that the same agent that asks again, its answer lost,
 * gets the same identity, and one that was revoked does not come back with the same keys.
 */
export async function iamToken(deps: AppDeps, { publicKey, sealKey }: EnrolRequest, proof: IamProof): Promise<string> {
  const { iam } = deps;
  if (iam === undefined)
    throw new AuthError(
      401,
      'agents join by join token here: the control plane has no rule for IAM roles (--iam-join)',
    );
  const checked = verifyIamProof(proof, { audience: iam.audience, publicKey, sealKey, now: deps.now() });
  const { arn } = await askedOf(iam, checked);
  const rule = ruleFor(iam.rules, arn);
  if (rule === undefined) throw new AuthError(401, `no rule lets ${arn} join a site`);
  const hash = hashSecret(`iam ${arn} ${publicKey.x} ${sealKey?.x ?? ''}`);
  if (!(await deps.store.hasJoinToken(hash))) {
    const createdAt = new Date(deps.now()).toISOString();
    const expiresAt = new Date(deps.now() + TOKEN_MS).toISOString();
    await deps.store.putJoinToken({ hash, site: rule.site, createdAt, expiresAt });
  }
  return hash;
}

async function askedOf({ ask }: IamJoin, proof: IamProof): Promise<CallerIdentity> {
  try {
    return await ask(proof);
  } catch (error) {
    if (error instanceof StsUnavailable) throw new ProblemError(503, error.message);
    throw error;
  }
}

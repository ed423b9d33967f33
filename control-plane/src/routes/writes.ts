import { canonicalJson, ValidationError } from '@sipfleet/contract';
import type { Context } from 'hono';
import { z } from 'zod';
import { sha256 } from '../audit-chain.ts';
import { AuthError } from '../auth/auth-error.ts';
import type { RolloutPolicy } from '../domain/rollout.ts';
import { someOf } from '../domain/validate.ts';
import type { CommitOutcome, ExpectedChange } from '../store/commit.ts';
import type { AppDeps, AppEnv } from './deps.ts';
import { ProblemError } from './problems.ts';

/** What every write of resources has in common: who, through what, whether it is only tried, whether it is a repetition. */

export const DryRunQuery = z.strictObject({
  dryRun: z
    .enum(['true', 'false'], { error: 'true or false' })
    .default('false')
    .meta({ description: 'true: validate, say what would change and whom it would touch, and store nothing' }),
});
export type DryRunQuery = z.infer<typeof DryRunQuery>;

export const WRITE_HEADERS = {
  'Idempotency-Key':
    'Chosen by the client, 1 to 200 printable characters, quoted or not: the same request with it again, within a day, gets the same answer and changes nothing more; another request with it is 422',
};

/** The program behind a request, as it names itself. */
export function sourceOf(c: Context): string {
  const agent = c.req.header('user-agent')?.replace(/[^\x20-\x7e]/g, '') ?? '';
  return agent === '' ? 'unknown' : agent.slice(0, 100);
}

/** Commits changes in the name of the operator who asks. `body`: what the request is told from another by, beside its line and preconditions. */
export function commitFor(
  c: Context<AppEnv>,
  deps: AppDeps,
  changes: readonly ExpectedChange[],
  { dryRun, body, rollout }: { dryRun: boolean; body: unknown; rollout?: RolloutPolicy | undefined },
): Promise<CommitOutcome> {
  const { name: actor, sites: scope } = c.get('operator');
  return deps.commit({
    actor,
    scope,
    source: sourceOf(c),
    changes,
    dryRun,
    rollout,
    idempotency: idempotencyOf(c, actor, body),
  });
}

function idempotencyOf(c: Context, actor: string, body: unknown) {
  const header = c.req.header('idempotency-key');
  if (header === undefined) return undefined;
  const key = /^"(.*)"$/.exec(header.trim())?.[1] ?? header.trim();
  if (!/^[\x20-\x7e]{1,200}$/.test(key))
    throw new ProblemError(400, 'Idempotency-Key: 1 to 200 printable ASCII characters, in double quotes or not');
  const { method, path } = c.req;
  const preconditions = [c.req.header('if-match') ?? '', c.req.header('if-none-match') ?? ''];
  return {
    key: sha256(`${actor}\n${key}`),
    request: sha256(canonicalJson({ method, path, preconditions, body: body ?? null })),
  };
}

/** 422 where an idempotency key comes with another request than the first time. */
export function checkRepeated(c: Context, outcome: CommitOutcome & { status: 'repeated' }, body: unknown): void {
  const actor = (c as Context<AppEnv>).get('operator').name;
  if (idempotencyOf(c, actor, body)?.request !== outcome.request)
    throw new ProblemError(422, 'this Idempotency-Key was used for another request: take a new one for each');
}

/** Why changes were not stored. */
export function refusalOf(outcome: CommitOutcome): Error {
  switch (outcome.status) {
    case 'invalid':
      return new ValidationError(outcome.faults);
    case 'stale': {
      const what = `${outcome.kind.toLowerCase()} ${outcome.name}`;
      return outcome.actual === null
        ? new ProblemError(412, `there is no ${what} to replace: create it with If-None-Match: *`)
        : new ProblemError(412, `${what} is at revision ${outcome.actual} now: read it again and decide anew`);
    }
    case 'forbidden': {
      const { kind, name, missing } = outcome;
      const sites = missing.length === 1 ? `site ${missing[0]}` : `sites ${someOf(missing)}`;
      return new AuthError(403, `${kind.toLowerCase()} ${name} concerns ${sites}, which this token may not change`);
    }
    case 'in-rollout':
      return new ProblemError(
        409,
        `rollout ${outcome.number} is ${outcome.state} and concerns this: wait until it has ended, or abort it (sipfleet rollout abort)`,
      );
    case 'in-use': {
      const users = [
        ...outcome.farms.map((farm) => `farm ${farm}`),
        ...outcome.agents.map((agent) => `agent ${agent}`),
      ];
      return new ProblemError(409, `${outcome.kind.toLowerCase()} ${outcome.name} is still used by ${someOf(users)}`);
    }
    default:
      return new Error(`a commit ended ${outcome.status}`);
  }
}

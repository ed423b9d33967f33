import { type Check, type CheckReport, parseDuration } from '@sipfleet/contract';
import type { RunCheckResponse } from '../api.ts';
import type { AppDeps } from './deps.ts';
import { ProblemError } from './problems.ts';

/** Beyond the check's own timeout: the way to the agent, a probe that was under way already, and back. */
const WAY_MS = 5_000;

interface Candidate {
  readonly agentId: string;
  readonly name: string;
  readonly site: string;
}

interface Waiting {
  readonly agentId: string;
  readonly done: (report: CheckReport | null) => void;
}

/** Checks that operators wait for. Held in memory: who asks and the agent must be at the same process. */
export interface Runs {
  /** Has the first of these agents that is connected make the check. Throws ProblemError 503 without a result in time. */
  run(
    candidates: readonly Candidate[],
    path: { farm: string; backend: string; check: string },
    check: Check,
  ): Promise<RunCheckResponse>;
  /** Without effect where nobody waits for this id from this agent. */
  finished(agentId: string, id: string, report: CheckReport | null): void;
}

export function createRuns({ hub, randomBytes }: Pick<AppDeps, 'hub' | 'randomBytes'>): Runs {
  const waiting = new Map<string, Waiting>();

  return {
    async run(candidates, path, check) {
      const id = Buffer.from(randomBytes(12)).toString('hex');
      const agent = candidates.find((candidate) => hub.runCheck(candidate.agentId, { id, ...path }));
      if (!agent) throw new ProblemError(503, 'no agent of the farm’s sites is connected to this control plane');
      const timeoutMs = (parseDuration(check.timeout ?? '') as number) + WAY_MS;
      const report = await new Promise<CheckReport | null | undefined>((resolve) => {
        const timer = setTimeout(() => resolve(undefined), timeoutMs);
        const done = (found: CheckReport | null): void => {
          clearTimeout(timer);
          resolve(found);
        };
        waiting.set(id, { agentId: agent.agentId, done });
      }).finally(() => waiting.delete(id));
      if (report === undefined)
        throw new ProblemError(503, `agent ${agent.name} sent no result within ${timeoutMs / 1000}s`);
      if (report === null)
        throw new ProblemError(503, `agent ${agent.name} does not run this check: it has not applied the farm yet`);
      return { agent: agent.name, site: agent.site, report };
    },
    finished(agentId, id, report) {
      const run = waiting.get(id);
      if (run?.agentId === agentId) run.done(report);
    },
  };
}

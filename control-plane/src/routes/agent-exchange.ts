import { AgentReport, answerText, MAX_EXCHANGE, parseWith, type Question, type Target } from '@sipfleet/contract';
import { AuthError } from '../auth/auth-error.ts';
import type { CompiledSnapshot } from '../domain/compile.ts';
import type { AgentIdentity } from '../domain/identity.ts';
import type { AppDeps } from './deps.ts';
import { problemOf } from './problems.ts';

/** What this room uses of the metrics. */
interface Metrics {
  exchanged(exchange: { type: Question['type']; code: number; ms: number }): void;
}

/** Takes a report and says what this agent should run. @throws AuthError where there is no such agent any more */
export async function takeReport(deps: AppDeps, agent: AgentIdentity, report: AgentReport): Promise<Target> {
  const { agentId, site } = agent;
  const at = new Date(deps.now()).toISOString();
  if (!(await deps.store.recordReport(agent, report, at))) throw new AuthError(401, `agent ${agentId} was revoked`);
  deps.checks.reported(agent, report, at);
  deps.rollouts.reported();
  const { snapshot, configuration } = await deps.current.targetFor(agent);
  const { generation, etag } = snapshot;
  const schedule = (await deps.checks.schedule(agent, configuration)).etag;
  return { site, generation, etag, schedule, ...deps.hub.reach() };
}

/** Signs a snapshot that is about to be given to an agent, and remembers that it was. */
export async function giveSnapshot(deps: AppDeps, snapshot: CompiledSnapshot): Promise<{ signature: string }> {
  const signature = await deps.signer.sign('snapshot', snapshot.body);
  // What cannot be kept is given all the same: it only cannot be told later what this agent runs.
  await deps.archive.keep(snapshot).catch((error: unknown) => {
    deps.log.error({ err: error, site: snapshot.site, etag: snapshot.etag }, 'a snapshot cannot be kept');
  });
  return { signature };
}

/**
 * The same over an agent's push socket, whose upgrade was verified. That the agent is still there, and still has the key of then, is asked of the store each
 * time: revocation and a change of keys take effect with the next question.
 */
export function createExchanges(deps: AppDeps, metrics: Metrics) {
  async function known({ agentId, publicKey }: { agentId: string; publicKey: string }): Promise<AgentIdentity> {
    const agent = await deps.store.identity(agentId);
    if (agent?.publicKey !== publicKey) throw new AuthError(401, `agent ${agentId} is not known here by this key`);
    return agent;
  }

  async function answerTo(asker: { agentId: string; publicKey: string }, question: Question) {
    const agent = await known(asker);
    deps.limits.agent(asker.agentId);
    const { id } = question;
    if (question.type === 'report') {
      const target = await takeReport(deps, agent, parseWith(AgentReport, question.report));
      return { status: 200, text: answerText({ id, status: 200 }, JSON.stringify(target)) };
    }
    const snapshot = await deps.current.snapshotFor(agent);
    const { etag, body } = snapshot;
    const status = etag === question.running ? 304 : Buffer.byteLength(body) > MAX_EXCHANGE ? 303 : 200;
    if (status !== 200) return { status, text: answerText({ id, status, etag }) };
    return { status, text: answerText({ id, status, etag, ...(await giveSnapshot(deps, snapshot)) }, body) };
  }

  return {
    async answer(asker: { agentId: string; publicKey: string }, question: Question) {
      const started = deps.now();
      const { id, type } = question;
      const answer = await answerTo(asker, question).catch(async (error: unknown) => {
        const problem = problemOf(error, deps.log);
        const { status } = problem;
        const retryAfter = problem.headers.get('retry-after');
        const head = { id, status, ...(retryAfter === null ? {} : { retryAfter: Number(retryAfter) }) };
        return { status, text: answerText(head, await problem.text()) };
      });
      const { status, text } = answer;
      const ms = deps.now() - started;
      metrics.exchanged({ type, code: status, ms });
      // As for requests: who was refused is told.
      deps.log[status === 401 ? 'info' : 'debug']({ agent: asker.agentId, type, status, ms }, 'exchange');
      return { text, known: status !== 401 };
    },
  };
}

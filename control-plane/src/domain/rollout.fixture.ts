import { configuration } from './configuration.fixture.ts';
import { openRollout, type Rollout, type RolloutPolicy, rolledBack } from './rollout.ts';
import {
  advance,
  type Fleet,
  noProgress,
  type RolloutProgress,
  type SeenAgent,
  type SeenReport,
} from './rollout-gate.ts';

export const START = Date.parse('2026-01-02T03:00:00Z');
export const ALIVE_MS = 150_000;
export const POLICY: RolloutPolicy = {
  stages: [{ agents: 1 }, { percent: 10 }, { percent: 50 }, { percent: 100 }],
  scope: 'fleet',
  bakeMs: 300_000,
  ackTimeoutMs: 180_000,
};

/** One simulated agent. */
export interface SimAgent {
  name: string;
  site: string;
  running: string;
  refuses?: string;
  silentSince?: number;
  backends: SeenReport['backends'];
  counts: { attempts: number; established: number; failed: number; checksFailed: number };
}

/** A fleet that runs what its rollout gives it, and reports every minute. */
export class Sim {
  rollout: Rollout;
  progress: RolloutProgress = noProgress(7);
  now = START;
  /** What calls do: whether one fails, by whether its agent has the change. */
  callFails: (moved: boolean) => boolean = () => false;
  callsPerMinute = 0;
  readonly agents: SimAgent[];

  constructor(sites: Record<string, number>, policy: Partial<RolloutPolicy> = {}) {
    this.rollout = openRollout(configuration([]), {
      policy: { ...POLICY, ...policy },
      actor: 'tester',
      at: iso(START),
      farms: ['pbx'],
      sites: Object.keys(sites),
    });
    this.agents = Object.entries(sites).flatMap(([site, count]) =>
      Array.from({ length: count }, (_, i) => ({
        name: `${site}-${i + 1}`,
        site,
        running: 'before',
        backends: [],
        counts: { attempts: 0, established: 0, failed: 0, checksFailed: 0 },
      })),
    );
  }

  fleet(): Fleet {
    const seen = this.agents.map((agent, i): SeenAgent => {
      const heardAt = agent.silentSince ?? this.now;
      const { running, backends, counts } = agent;
      return {
        agentId: agent.name,
        number: i + 1,
        name: agent.name,
        site: agent.site,
        firstSeenAt: iso(START - 86_400_000),
        heardAt,
        alive: this.now - heardAt < ALIVE_MS,
        report: {
          snapshot: agent.refuses
            ? { status: 'FAILED', etag: 'next', generation: 7, reason: agent.refuses, running }
            : { status: 'APPLIED', etag: running, generation: 7, running },
          backends,
          traffic: [
            {
              farm: 'pbx',
              sessionAttempts: counts.attempts,
              sessionsEstablished: counts.established,
              sessionFailures: counts.failed,
              registrationAttempts: 0,
              registrationFailures: 0,
              checksFailed: counts.checksFailed,
            },
          ],
        },
      };
    });
    const targets = new Map(this.rollout.sites.map((site) => [site, { next: 'next', before: 'before' }]));
    return { agents: seen, targets };
  }

  /** A look, and what follows from it. */
  look(): void {
    if (this.rollout.state !== 'running') return;
    const { next, halt, progress } = advance(this.rollout, this.progress, this.fleet(), this.now, ALIVE_MS);
    this.progress = progress;
    if (halt !== undefined) this.rollout = rolledBack(this.rollout, halt, iso(this.now));
    else if (next !== undefined) this.rollout = next;
  }

  /** A minute of traffic, then reports and a look. `apply`: whether this agent takes what it is given. */
  minute(target: (agent: SimAgent) => 'next' | 'before'): void {
    this.now += 60_000;
    for (const agent of this.agents) {
      if (agent.silentSince !== undefined) continue;
      for (let i = 0; i < this.callsPerMinute; i++) {
        agent.counts.attempts++;
        if (this.callFails(agent.running === 'next')) agent.counts.failed++;
        else agent.counts.established++;
      }
    }
    this.look();
    for (const agent of this.agents)
      if (agent.silentSince === undefined && !agent.refuses) agent.running = target(agent);
  }
}

export const iso = (ms: number): string => new Date(ms).toISOString();

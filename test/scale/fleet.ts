import { generateKeyPairSync, type KeyObject } from 'node:crypto';

import { type Member, SimulatedAgent, type Witness } from './agent.ts';
import type { Api, EnrolResponse, JoinTokenResponse } from './api.ts';
import type { Traffic } from './connection.ts';

export const siteName = (index: number): string => `site-${String(index).padStart(3, '0')}`;

/** Times of one event at every agent, in milliseconds after it began. */
export interface Spread {
  p50: number;
  p99: number;
  max: number;
  agents: number;
}

export function spreadOf(times: readonly number[]): Spread {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? Number.NaN, agents: sorted.length };
}

/** Simulated agents, and what they saw. */
export class Fleet implements Witness {
  readonly agents: SimulatedAgent[];
  readonly traffic: Traffic = { requests: 0, exchanges: 0, sockets: new Set(), bytesSent: 0, bytesReceived: 0 };
  readonly failures = new Map<string, number>();
  #connections: number[] = [];
  #hints: number[] = [];
  #acks: number[] = [];
  #awaited = Number.NaN;

  private constructor(members: readonly Member[]) {
    this.agents = members.map((member) => new SimulatedAgent(member, this));
  }

  /** Has them join, dealt over the sites. */
  static async enrol(
    api: Api,
    { count, sites, overSocket }: { count: number; sites: number; overSocket: boolean },
    log: (text: string) => void,
  ): Promise<Fleet> {
    const members: Member[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < count) {
        const index = next++;
        members[index] = { ...(await enrolOne(api, siteName(index % sites), index)), overSocket };
        if ((index + 1) % 1000 === 0) log(`${index + 1} agents joined`);
      }
    };
    await Promise.all(Array.from({ length: 16 }, work));
    return new Fleet(members);
  }

  /** Opens all push sockets over so many milliseconds. Resolves when all are open and run something. */
  async start(overMs: number): Promise<Spread> {
    const began = performance.now();
    this.#connections = [];
    for (const [index, agent] of this.agents.entries())
      setTimeout(() => agent.start(), (index / this.agents.length) * overMs);
    await this.#until(
      () => this.#connections.length >= this.agents.length && this.agents.every((a) => a.generation !== undefined),
    );
    return spreadOf(this.#connections.map((at) => at - began));
  }

  /** From `change`, which makes the generation that it returns, to every agent's hint and acknowledgement. */
  async follow(change: () => Promise<number>): Promise<{ hint: Spread; ack: Spread }> {
    this.#hints = [];
    this.#acks = [];
    // Hints may come before the answer to the change does: whatever is new belongs to it.
    this.#awaited = Math.max(...this.agents.map((agent) => agent.generation ?? 0)) + 1;
    const began = performance.now();
    await change();
    await this.#until(() => this.#acks.length >= this.agents.length);
    return { hint: spreadOf(this.#hints.map((at) => at - began)), ack: spreadOf(this.#acks.map((at) => at - began)) };
  }

  /** From now until all are connected again. `peak`: most that came back within one second. */
  async comeBack(): Promise<Spread & { peak: number }> {
    const began = performance.now();
    this.#connections = [];
    await this.#until(() => this.#connections.length >= this.agents.length);
    const times = this.#connections.map((at) => at - began);
    const perSecond = new Map<number, number>();
    for (const ms of times) perSecond.set(Math.floor(ms / 1000), (perSecond.get(Math.floor(ms / 1000)) ?? 0) + 1);
    return { ...spreadOf(times), peak: Math.max(...perSecond.values()) };
  }

  close(): void {
    for (const agent of this.agents) agent.close();
  }

  connected(at: number): void {
    this.#connections.push(at);
  }
  hinted(generation: number, at: number): void {
    if (generation >= this.#awaited) this.#hints.push(at);
  }
  acknowledged(generation: number, at: number): void {
    if (generation >= this.#awaited && this.#acks.length < this.agents.length) this.#acks.push(at);
  }
  failed(what: string): void {
    this.failures.set(what, (this.failures.get(what) ?? 0) + 1);
  }

  async #until(done: () => boolean): Promise<void> {
    const deadline = performance.now() + 300_000;
    while (!done()) {
      if (performance.now() > deadline)
        throw new Error(`not after five minutes; failures: ${JSON.stringify([...this.failures].slice(0, 5))}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function enrolOne(api: Api, site: string, index: number): Promise<Omit<Member, 'overSocket'>> {
  const { token } = await api.post<JoinTokenResponse>('/v1/join-tokens', { site });
  const { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject } = generateKeyPairSync('ed25519');
  const { kty, crv, x } = publicKey.export({ format: 'jwk' });
  const body = { joinToken: token, name: `edge-${index}`, publicKey: { kty, crv, x }, version: '0.1.0' };
  const { agentId } = await api.post<EnrolResponse>('/v1/agents/enrol', body);
  return { agentId, key: privateKey, port: api.port, localAddress: `127.0.0.${2 + (index % 4)}` };
}

import { networkInterfaces } from 'node:os';
import { UserAgent } from './agent.ts';
import type { Authenticator } from './authentication.ts';
import type { Dialog } from './dialog.ts';
import { ProbeFault } from './fault.ts';
import type { IncomingEvents } from './incoming.ts';
import type { Invitation } from './invitation.ts';
import { Journal } from './journal.ts';
import { type Limit, within } from './limit.ts';
import { hostPort, locate, type Peer, type Place } from './locate.ts';
import { BYE_MS, GRACE_MS, type ProbeOptions } from './options.ts';
import type { ProbePlan } from './plan.ts';
import { Registration, statusOf } from './registration.ts';
import type { Phase } from './result.ts';
import type { Session } from './session.ts';

/** The way out of a probe that a peer has never answered. */
const SILENT_MS = 500;
/** Of a short deadline the way out has this part. */
const GRACE_PART = 1 / 3;
/** A binding outlives the probe that made it by at most this, should the probe be killed. Registrars take no less than a minute. */
const BINDING_REST_S = 60;

/** What a probe has open, with the limits that hold for it. */
export class Probe {
  readonly journal = new Journal();
  /** The caller's signal, or the deadline less the way out. */
  readonly work: Limit;
  /** Everything up to the answer. Its fault says how far the probe got. */
  readonly setup: Limit;
  /** The deadline itself. */
  readonly hard: Limit;
  registration: Registration | undefined;
  invitation: Invitation | undefined;
  session: Session | undefined;
  readonly #plan: ProbePlan;
  readonly #options: ProbeOptions;
  readonly #agents: UserAgent[] = [];
  readonly #ends: number;

  constructor(plan: ProbePlan, options: ProbeOptions, signal: AbortSignal) {
    this.#plan = plan;
    this.#options = options;
    const late = () => {
      const missing = MISSING[this.journal.current ?? 'invite'];
      return new ProbeFault(`deadline of ${seconds(plan.deadlineMs)} passed${missing ? `: ${missing}` : ''}`);
    };
    const grace = Math.min(GRACE_MS, plan.deadlineMs * GRACE_PART);
    this.#ends = performance.now() + plan.deadlineMs;
    this.hard = within(plan.deadlineMs, late);
    this.work = within(plan.deadlineMs - grace, late, signal);
    const slow = () => {
      const missing = MISSING[this.journal.current ?? 'invite'] ?? 'not done';
      return new ProbeFault(`${missing} in ${seconds(plan.timeoutMs)}`);
    };
    this.setup = within(plan.timeoutMs, slow, this.work.signal);
  }

  resolve(place: Place, signal: AbortSignal): Promise<Peer> {
    return locate(place, this.#plan.transport, this.#options.nameServers, signal);
  }

  /** An agent for a peer; two roles of one peer share one. */
  async connect(peer: Peer, user: string, authenticator: Authenticator, signal: AbortSignal): Promise<UserAgent> {
    const same = this.#agents.find(({ peer: other }) => other.address === peer.address && other.port === peer.port);
    if (same) return same;
    const leg = this.#plan.leg ?? ownLeg(this.#plan.from.host, peer.address);
    const { trace, tap } = this.#options;
    const identity = { user, authenticator, trace, tap };
    const settings = { ...(leg ? { leg } : {}), tls: this.#options.tls ?? {} };
    const agent = await UserAgent.open(peer, settings, identity, this.#incoming, signal);
    this.#agents.push(agent);
    return agent;
  }

  async register(agent: UserAgent, signal: AbortSignal): Promise<void> {
    const lifetime = Math.ceil(this.#plan.deadlineMs / 1000) + BINDING_REST_S;
    const registration = new Registration(agent, this.#plan.from, lifetime);
    this.registration = registration;
    this.journal.enter('register');
    const response = await registration.register(signal);
    this.journal.done(statusOf(response), response.status);
  }

  /** Closes what is open, in order where the call went well, at once where it did not. Returns if all of it was confirmed. */
  async leave(wentWell: boolean): Promise<boolean> {
    const left = this.#ends - performance.now();
    const heard = this.#agents.some((agent) => agent.heard);
    const most = wentWell ? BYE_MS : heard ? GRACE_MS : SILENT_MS;
    const text = (what: string): string => `${what} not answered in ${seconds(Math.min(most, left))}`;
    const ways = [
      () => this.#hangUp(most, text('BYE')),
      () => this.#abandon(most),
      () => this.#unregister(most, text('REGISTER with Expires 0')),
    ];
    if (!wentWell) return (await Promise.all(ways.map((way) => way()))).every(Boolean);
    let clean = true;
    for (const way of ways) clean = (await way()) && clean;
    return clean;
  }

  /** Frees sockets and timers. */
  close(): void {
    for (const agent of this.#agents) agent.close();
    for (const limit of [this.setup, this.work, this.hard]) limit.done();
  }

  async #hangUp(ms: number, late: string): Promise<boolean> {
    const { session } = this;
    if (!session) return true;
    return this.#last('bye', ms, late, async (signal) => {
      const response = await session.hangUp(signal);
      if (!response) return { evidence: 'hung up by the peer' };
      // 481: the peer had ended it already.
      const ended = response.status < 300 || response.status === 481;
      return { evidence: statusOf(response), code: response.status, ...(ended ? {} : { wrong: 'BYE refused' }) };
    });
  }

  async #abandon(ms: number): Promise<boolean> {
    if (!this.invitation) return true;
    const limit = within(ms, () => new ProbeFault('grace is over'), this.hard.signal);
    return this.invitation.abandon(limit.signal).finally(limit.done);
  }

  async #unregister(ms: number, late: string): Promise<boolean> {
    const { registration } = this;
    if (!registration?.bound) return true;
    return this.#last('unregister', ms, late, async (signal) => {
      const response = await registration.unregister(signal);
      const wrong = registration.bound ? { wrong: 'REGISTER with Expires 0 refused' } : {};
      return { evidence: statusOf(response), code: response.status, ...wrong };
    });
  }

  /** One step of the way out: its failure is a warning, for the call itself was proven or has failed already. */
  async #last(
    phase: Phase,
    ms: number,
    late: string,
    work: (signal: AbortSignal) => Promise<{ evidence: string; code?: number; wrong?: string }>,
  ): Promise<boolean> {
    const limit = within(ms, () => new ProbeFault(late), this.hard.signal);
    const entry = this.journal.begin(phase);
    try {
      const { evidence, code, wrong } = await work(limit.signal);
      if (wrong === undefined) entry.done(evidence, code);
      else entry.fail('warning', `${wrong}: ${evidence}`, code);
      return wrong === undefined;
    } catch (error) {
      entry.fail('warning', (error as Error).message, (error as ProbeFault).code);
      return false;
    } finally {
      limit.done();
    }
  }

  readonly #incoming: IncomingEvents = {
    dialogOf: (request): Dialog | undefined => {
      const dialog = this.session?.dialog;
      return dialog?.owns(request) ? dialog : undefined;
    },
    bye: () => this.session?.ended(),
    offer: (_dialog, request) => this.session?.offered(request),
  };
}

/** FROM's host, where it is an address of this machine that the peer can answer to: the seed's `sip:Bonnie@192.168.56.201`. */
function ownLeg(host: string, peer: string): { address: string; port: number } | undefined {
  const own = Object.values(networkInterfaces())
    .flat()
    .find((at) => at?.address === host);
  const local = (address: string): boolean => address.startsWith('127.') || address === '::1';
  const fits = own && own.family === (peer.includes(':') ? 'IPv6' : 'IPv4') && local(host) === local(peer);
  return fits ? { address: host, port: 0 } : undefined;
}

const seconds = (ms: number): string => `${Number((ms / 1000).toFixed(1))} s`;

/** What has not come while a phase lasts. */
const MISSING: Partial<Record<Phase, string>> = {
  resolve: 'name not resolved',
  connect: 'no connection',
  register: 'no final answer to REGISTER',
  invite: 'no answer to INVITE',
  ring: 'INVITE is being tried, but nothing rings',
  answer: 'rings, but is not answered',
};

/** `192.0.2.1:5060` or `192.0.2.1:5060 (pbx.example.com)` */
export const describePeer = (peer: Peer): string =>
  `${peer.transport} ${hostPort(peer.address, peer.port)}${peer.name === peer.address ? '' : ` (${peer.name})`}`;

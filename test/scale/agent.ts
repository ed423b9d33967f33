import { createHash, type KeyObject, sign } from 'node:crypto';
import {
  type AgentReport,
  EXCHANGE_HEADER,
  EXCHANGE_VERSION,
  MAX_EXCHANGE_MESSAGE,
  type PushHint,
  PushMessage,
  type Target,
} from '@sipfleet/contract';
import WebSocket from 'ws';
import { backoffMs } from '../../edge-agent/src/link/backoff.ts';
import { type Asked, Exchanges } from '../../edge-agent/src/link/exchanges.ts';
import { type Answer, Connection, type Traffic } from './connection.ts';

/** What an agent knows of itself and its control plane. */
export interface Member {
  agentId: string;
  key: KeyObject;
  port: number;
  /** Of 127.0.0.0/8: several, since one address has 28,000 ports. */
  localAddress: string;
  /** Reports and snapshots over the push socket, where the control plane takes them there; else by HTTP, a connection each time. */
  overSocket: boolean;
}

/** What the fleet wants to hear. Times in milliseconds of the monotonic clock. */
export interface Witness {
  traffic: Traffic;
  connected(at: number): void;
  hinted(generation: number, at: number): void;
  /** The control plane has the report that says that this generation runs. */
  acknowledged(generation: number, at: number): void;
  failed(what: string): void;
}

const REPORT_MS = 60_000;
/** As fetch keeps a connection; less, so that 10,000 agents fit into one process's files. */
const IDLE_MS = 500;
const TOKEN_MS = 180_000;

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/**
 * An edge agent as the control plane sees one (edge-agent/src/link): push socket, hint → jitter → snapshot → report over it, one report a minute,
 * backoff. Without disk, without data threads; snapshots are hashed, not compiled.
 */
export class SimulatedAgent {
  readonly #member: Member;
  readonly #witness: Witness;
  #socket: WebSocket | undefined;
  #exchanges: Exchanges | undefined;
  #http: Connection | undefined;
  #idle: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hint: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #scheduleHint: NodeJS.Timeout | undefined;
  /** ETag of the check schedule. */
  #schedule: string | undefined;
  #token: { jwt: string; at: number } | undefined;
  #running: { etag: string; generation: number } | undefined;
  #attempt = 0;
  #spreadMs = 0;
  #closed = false;
  /** One exchange after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(member: Member, witness: Witness) {
    this.#member = member;
    this.#witness = witness;
  }

  get generation(): number | undefined {
    return this.#running?.generation;
  }

  start(): void {
    const { port, localAddress } = this.#member;
    const headers = { authorization: this.#authorization() };
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/agent/push`, {
      headers,
      localAddress,
      perMessageDeflate: false,
      handshakeTimeout: 30_000,
      maxPayload: MAX_EXCHANGE_MESSAGE,
    });
    this.#socket = socket;
    let exchanges: Exchanges | undefined;
    socket.on('upgrade', ({ headers, socket: raw }) => {
      if (this.#member.overSocket && headers[EXCHANGE_HEADER] === EXCHANGE_VERSION) exchanges = new Exchanges(socket);
      this.#witness.traffic.sockets.add(raw);
    });
    socket.on('open', () => {
      this.#attempt = 0;
      this.#exchanges = exchanges;
      this.#witness.connected(performance.now());
      this.#reportIn(Math.random() * 1000);
    });
    socket.on('message', (data) => {
      const text = data.toString();
      if (!exchanges?.take(text)) this.#take(PushMessage.parse(JSON.parse(text)));
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      exchanges?.lost();
      this.#exchanges = undefined;
      if (this.#closed) return;
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.start(), backoffMs(this.#attempt++, Math.random, this.#spreadMs));
    });
  }

  close(): void {
    this.#closed = true;
    for (const timer of [this.#timer, this.#hint, this.#retry, this.#idle, this.#scheduleHint]) clearTimeout(timer);
    this.#http?.close();
    this.#socket?.terminate();
  }

  #take(message: PushMessage): void {
    if (message.type === 'snapshot') this.#hinted(message);
    else if (message.type === 'schedule')
      this.#scheduleHint ??= setTimeout(() => {
        this.#scheduleHint = undefined;
        void this.#inTurn(() => this.#fetchSchedule());
      }, Math.random() * message.jitterMs);
  }

  #hinted({ generation, jitterMs }: PushHint): void {
    if (generation === this.#running?.generation) return;
    if (this.#running) this.#witness.hinted(generation, performance.now());
    this.#hint ??= setTimeout(() => {
      this.#hint = undefined;
      void this.#pull();
    }, Math.random() * jitterMs);
  }

  #reportIn(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => void this.#report(), ms);
  }

  /** Fetches and acknowledges what should run. */
  #pull(): Promise<void> {
    return this.#inTurn(async () => {
      const answer =
        (await this.#ask({ type: 'snapshot', running: this.#running?.etag ?? null })) ?? (await this.#fetchSnapshot());
      if (answer.status === 304) return;
      const etag = createHash('sha256').update(answer.body).digest('hex');
      if (answer.etag !== etag) throw new Error('the snapshot is not what its ETag says');
      this.#running = { etag, generation: (JSON.parse(answer.body) as { generation: number }).generation };
      await this.#send();
    });
  }

  async #fetchSnapshot() {
    const known = this.#running ? { 'if-none-match': `"${this.#running.etag}"` } : {};
    const { status, headers, body } = await this.#exchange('GET', '/v1/agent/snapshot', known);
    return { status, etag: headers.get('etag')?.slice(1, -1), body };
  }

  /** Undefined: HTTP is left. */
  async #ask(asked: Asked): Promise<{ status: number; etag?: string | undefined; body: string } | undefined> {
    const said = await this.#exchanges?.ask(asked);
    if (said === undefined) return undefined;
    this.#witness.traffic.exchanges++;
    const { status, etag } = said.head;
    if (status === 200 || status === 304) return { status, etag, body: said.body };
    if (status === 429 || status >= 500) throw new Error(`${asked.type}: ${status} ${said.body}`);
    return undefined;
  }

  #report(): Promise<void> {
    return this.#inTurn(() => this.#send()).then(() => {
      if (this.#running === undefined && !this.#closed) void this.#pull();
    });
  }

  async #send(): Promise<void> {
    this.#reportIn(REPORT_MS * (0.8 + 0.4 * Math.random()));
    const running = this.#running;
    const report = reportOf(running);
    const answer =
      (await this.#ask({ type: 'report', report })) ??
      (await this.#exchange('POST', '/v1/agent/report', JSON_TYPE, JSON.stringify(report)));
    const target = JSON.parse(answer.body) as Target;
    this.#spreadMs = target.spreadMs ?? 0;
    if (running) this.#witness.acknowledged(running.generation, performance.now());
    if (running && target.etag !== running.etag) void this.#pull();
    if (target.schedule !== this.#schedule) await this.#fetchSchedule();
  }

  async #fetchSchedule(): Promise<void> {
    const known = this.#schedule === undefined ? {} : { 'if-none-match': `"${this.#schedule}"` };
    const answer = await this.#exchange('GET', '/v1/agent/schedule', known);
    if (answer.status === 200) this.#schedule = answer.headers.get('etag')?.slice(1, -1);
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => {});
    try {
      await mine;
    } catch (error) {
      if (this.#closed) return;
      this.#witness.failed((error as Error).message);
      this.#reportIn(backoffMs(this.#attempt++));
    }
  }

  async #exchange(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Answer> {
    const { port, localAddress } = this.#member;
    clearTimeout(this.#idle);
    if (!this.#http?.usable) this.#http = new Connection(port, localAddress, this.#witness.traffic);
    const http = this.#http;
    const answer = await http.request(method, path, { authorization: this.#authorization(), ...headers }, body);
    this.#idle = setTimeout(() => {
      http.close();
      if (this.#http === http) this.#http = undefined;
    }, IDLE_MS);
    if (answer.status !== 200 && answer.status !== 304)
      throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
    return answer;
  }

  #authorization(): string {
    const now = Date.now();
    if (this.#token === undefined || now - this.#token.at > TOKEN_MS) {
      const { agentId, key } = this.#member;
      const iat = Math.floor(now / 1000);
      const claims = { iss: agentId, sub: agentId, aud: 'sipfleet', iat, exp: iat + 300 };
      const text = `${encode({ alg: 'EdDSA', typ: 'JWT' })}.${encode(claims)}`;
      this.#token = { jwt: `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`, at: now };
    }
    return `Bearer ${this.#token.jwt}`;
  }
}

const JSON_TYPE = { 'content-type': 'application/json' };
const TRAFFIC = {
  farm: 'pbx',
  ...{
    sessionAttempts: 123_456,
    sessionsEstablished: 98_765,
    sessionFailures: 321,
    checksFailed: 4,
    activeSessions: 87,
  },
  ...{ registrationAttempts: 234_567, registrationFailures: 45, activeRegistrations: 1500 },
};

/** What an agent of a farm with four PBXs reports while nothing happens. */
export function reportOf(running: { etag: string; generation: number } | undefined): AgentReport {
  return {
    version: '0.1.0',
    uptimeSeconds: performance.now() / 1000,
    snapshot: running
      ? { status: 'APPLIED', ...running, running: running.etag }
      : { status: 'NONE', etag: null, generation: null, running: null },
    backends: ['pbx1', 'pbx2', 'pbx3', 'pbx4'].map((backend) => ({
      ...{ farm: 'pbx', backend, state: 'up' as const },
      since: '2026-01-02T03:04:05.000Z',
      reason: 'check ping: 200 OK',
    })),
    checks: [],
    traffic: [TRAFFIC],
  };
}

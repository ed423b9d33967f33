import type { RemoteInfo, Socket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FarmInput } from '@sipfleet/contract';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AgentView } from '../../control-plane/src/api.ts';
import type { RolloutView } from '../../control-plane/src/api-rollouts.ts';
import { Agent } from '../interop/agent.ts';
import { ControlPlane } from '../interop/control-plane.ts';
import { loopback } from '../netns/host.ts';
import { readMessage, value, values } from '../netns/wire.ts';
import { bound, canUseLoopback, freePort, request } from './loopback.ts';

const AGENTS = ['127.0.9.1', '127.0.9.2', '127.0.9.3'];
const SITE = { kind: 'Site', name: 'milan' };
/** Between two calls of one phone. */
const PAUSE_MS = 100;

/** A PBX that answers OPTIONS, and every call with one status. */
class Pbx {
  readonly #socket: Socket;
  readonly #status: string;
  calls = 0;

  private constructor(socket: Socket, status: string) {
    this.#socket = socket;
    this.#status = status;
    socket.on('message', (bytes, from) => this.#answer(bytes, from));
  }

  static async start(address: string, status: string): Promise<Pbx> {
    return new Pbx(await bound(address), status);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(bytes: Buffer, from: RemoteInfo): void {
    const asked = readMessage(bytes.toString('latin1'));
    if (!asked.method || asked.method === 'ACK') return;
    if (asked.method === 'INVITE') this.calls++;
    const tag = /;tag=/.test(value(asked, 'to')) ? '' : ';tag=pbx';
    const lines = [
      `SIP/2.0 ${asked.method === 'INVITE' ? this.#status : '200 OK'}`,
      ...values(asked, 'via').map((via) => `Via: ${via}`),
      ...values(asked, 'record-route').map((route) => `Record-Route: ${route}`),
      ...['from', 'call-id', 'cseq'].map((name) => `${name}: ${value(asked, name)}`),
      `To: ${value(asked, 'to')}${tag}`,
      `Contact: <sip:pbx@${this.#socket.address().address}:${this.port}>`,
      'Content-Length: 0',
    ];
    this.#socket.send(`${lines.join('\r\n')}\r\n\r\n`, from.port, from.address);
  }
}

/** Calls through one agent, one call after the other, until it is stopped; remembers how each was answered. */
class Phone {
  readonly #socket: Socket;
  readonly #service: { address: string; port: number };
  readonly #waiting = new Map<string, (status: number) => void>();
  #running: Promise<void> = Promise.resolve();
  #stopped = false;
  readonly statuses: number[] = [];

  private constructor(socket: Socket, service: { address: string; port: number }) {
    this.#socket = socket;
    this.#service = service;
    socket.on('message', (bytes) => {
      const { status, ...response } = readMessage(bytes.toString('latin1'));
      if (status < 200) return;
      const callId = value(response as never, 'call-id');
      this.#acknowledge(callId, value(response as never, 'to'));
      this.#waiting.get(callId)?.(status);
    });
  }

  static async start(service: { address: string; port: number }): Promise<Phone> {
    const phone = new Phone(await bound('127.0.9.200'), service);
    phone.#running = phone.#run();
    return phone;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    this.#socket.close();
  }

  async #run(): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      this.statuses.push(await this.#call(`${this.#service.address}-${n}`));
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** The final status; 0: none within ten seconds. */
  #call(callId: string): Promise<number> {
    const text = request('INVITE', 'clyde', callId, this.#socket.address());
    return new Promise((resolve) => {
      const end = (status: number) => {
        clearInterval(resend);
        clearTimeout(deadline);
        this.#waiting.delete(callId);
        resolve(status);
      };
      const send = () => this.#socket.send(text, this.#service.port, this.#service.address);
      const resend = setInterval(send, 1000);
      const deadline = setTimeout(() => end(0), 10_000);
      this.#waiting.set(callId, end);
      send();
    });
  }

  /** Of a refusal, hop by hop; of a 200 it goes nowhere, which hurts nobody here. */
  #acknowledge(callId: string, to: string): void {
    const text = request('ACK', 'clyde', callId, this.#socket.address()).replace(/^To: .*$/m, `To: ${to}`);
    this.#socket.send(text, this.#service.port, this.#service.address);
  }
}

/** Needs no root: a control plane, three agents and their PBXs on loopback addresses. */
describe.skipIf(!canUseLoopback)('a rollout to three agents', () => {
  let directory: string;
  const closing: (() => unknown)[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sipfleet-rollout-'));
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function setUp() {
    const port = await freePort('127.0.9.1');
    const good = await Pbx.start('127.0.9.101', '200 OK');
    // Not 503, which would take it out of service: what is to be seen are the calls.
    const refusing = await Pbx.start('127.0.9.102', '500 Server Internal Error');
    closing.push(
      () => good.close(),
      () => refusing.close(),
    );
    const farm = (pbx: Pbx, address: string, rest: Partial<FarmInput> = {}): FarmInput => ({
      kind: 'Farm',
      name: 'pbx',
      sites: ['milan'],
      listeners: [{ transport: 'udp', port }],
      backends: [{ name: 'only', address, port: pbx.port }],
      checks: [{ name: 'ping', type: 'options', interval: '500ms', timeout: '400ms' }],
      ...rest,
    });
    const controlPlane = await ControlPlane.start(loopback('127.0.9.100'));
    closing.push(() => controlPlane.close());
    await controlPlane.apply(SITE, farm(good, '127.0.9.101'));
    const agents: Agent[] = [];
    for (const [i, address] of AGENTS.entries()) {
      const joinToken = (await controlPlane.run('join-token', 'milan')).trim();
      const data = join(directory, `agent-${i}`);
      const joined = { workers: 1, name: `edge-${i + 1}`, controlPlane: controlPlane.url, joinToken, data };
      const agent = await Agent.start({ host: loopback(address), ...joined });
      closing.push(() => agent.close());
      agents.push(agent);
    }
    const phones = await Promise.all(AGENTS.map((address) => Phone.start({ address, port })));
    closing.push(() => Promise.all(phones.map((phone) => phone.stop())));
    const json = async <T>(...args: string[]) => JSON.parse(await controlPlane.run(...args, '-o', 'json')) as T;
    return { controlPlane, agents, phones, good, refusing, farm, json };
  }

  test('a farm whose PBX refuses calls is stopped at the canary and rolled back; elsewhere no call is lost', {
    timeout: 400_000,
  }, async () => {
    const { controlPlane, agents, phones, good, refusing, farm, json } = await setUp();
    await controlPlane.applyWith(['--rollout', 'canary', '--bake', '10m'], farm(refusing, '127.0.9.102'));
    const status = () => json<RolloutView>('rollout', 'status');
    // An agent reports once a minute, and when it is asked to reload: without waiting for the minute.
    await expect
      .poll(
        async () => {
          for (const agent of agents) agent.process.signal('SIGHUP');
          return (await status()).state;
        },
        { timeout: 180_000, interval: 3000 },
      )
      .toBe('rolled-back');
    const ended = await status();
    expect(ended.reason).toMatch(
      /^calls (failed|not answered): \d+ of \d+ at agents that have the change, 0 of \d+ at the others$/,
    );
    expect(ended.stage).toBe(0);
    expect(refusing.calls).toBeGreaterThan(0);

    // Everybody runs what was before, as a new revision, and the canary's phones are served again.
    await expect
      .poll(
        async () => (await json<AgentView[]>('get', 'agents')).every((a) => a.snapshot?.running === a.target.etag),
        {
          timeout: 90_000,
        },
      )
      .toBe(true);
    const refused = refusing.calls;
    const served = phones.map(({ statuses }) => statuses.length);
    await expect
      .poll(() => phones.every(({ statuses }, i) => statuses.length > (served[i] as number) + 10), { timeout: 30_000 })
      .toBe(true);
    expect(refusing.calls).toBe(refused);
    expect(good.calls).toBeGreaterThan(0);
    const lost = phones.map(({ statuses }) => statuses.filter((code) => code !== 200));
    // The canary's calls were refused, and nobody else's.
    expect(lost.filter((codes) => codes.length > 0).map((codes) => new Set(codes))).toEqual([new Set([500])]);
    for (const { statuses } of phones) expect(statuses.slice(-5)).toEqual([200, 200, 200, 200, 200]);
    expect(await controlPlane.run('audit', 'verify')).toMatch(/entries/);
  });

  test('a good change goes through all stages, over a control plane that is killed on the way', {
    timeout: 400_000,
  }, async () => {
    const { controlPlane, phones, farm, json } = await setUp();
    const other = await Pbx.start('127.0.9.103', '200 OK');
    closing.push(() => other.close());
    await controlPlane.applyWith(['--rollout', 'canary', '--bake', '3s'], farm(other, '127.0.9.103'));
    const status = () => json<RolloutView>('rollout', 'status');
    for (const stage of [0, 2]) {
      await expect.poll(async () => (await status()).stage, { timeout: 120_000 }).toBeGreaterThanOrEqual(stage);
      await controlPlane.kill();
      await controlPlane.start();
    }
    await expect.poll(async () => (await status()).state, { timeout: 300_000 }).toBe('completed');
    const texts = (await status()).events.map(({ text }) => text.replace(/^(stage [^:]*?)( passed)?:.*/, '$1$2'));
    expect(texts.filter((text) => !text.endsWith('passed'))).toEqual(
      ['opened by local-admin', 'stage 1 agent', 'stage 50 %', 'stage 100 %', 'completed'].map((text) =>
        text === 'completed' ? 'completed: every agent has it' : text,
      ),
    );
    expect(other.calls).toBeGreaterThan(0);
    for (const { statuses } of phones) expect(statuses.filter((code) => code !== 200)).toEqual([]);
  });
});

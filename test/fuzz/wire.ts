import { once } from 'node:events';
import { connect } from 'node:net';
import { bound, Client, EchoPbx, freePort } from '../e2e/loopback.ts';
import { Agent } from '../interop/agent.ts';
import { loopback } from '../netns/host.ts';
import { mutate } from './mutate.ts';
import type { Random } from './random.ts';

const AGENT = '127.0.0.1';
const PBX = '127.0.1.1';
const PHONE = '127.0.2.1';

/** Messages between two questions whether the agent is still there. */
const BATCH = 100;
/** Every so many messages over a connection of their own. */
const STREAM_EACH = 5;
/** A connection on which the agent waits for the rest is given up after this. */
const PATIENCE_MS = 300;
/** What the process may grow by after the first batches: its heap, and transactions that wait for answers that never come. */
const MAY_GROW_BYTES = 96_000_000;
const WARM_UP_BATCHES = 4;

const startAgent = (service: { address: string; port: number }, pbxPort: number, workers: number): Promise<Agent> =>
  Agent.start({
    host: loopback(AGENT),
    workers,
    farm: {
      kind: 'Farm',
      name: 'pbx',
      sites: ['milan'],
      listeners: (['udp', 'tcp'] as const).map((transport) => ({ transport, ...service })),
      backends: [{ name: 'pbx1', address: PBX, port: pbxPort }],
    },
  });

/** What the wire run saw of the agent after a batch. */
export interface Progress {
  messages: number;
  residentBytes: number;
  /** The most that it had during the first batches. */
  baselineBytes: number;
}

/** A real agent process with one PBX behind it that answers whatever it can read. */
export class WireBed {
  readonly #agent: Agent;
  readonly #client: Client;
  readonly #pbx: EchoPbx;
  readonly #service: { address: string; port: number };
  #sent = 0;
  #batches = 0;
  #baseline = 0;

  private constructor(agent: Agent, client: Client, pbx: EchoPbx, service: { address: string; port: number }) {
    this.#agent = agent;
    this.#client = client;
    this.#pbx = pbx;
    this.#service = service;
  }

  static async start({ workers = 2 } = {}): Promise<WireBed> {
    const service = { address: AGENT, port: await freePort(AGENT) };
    const pbx = await EchoPbx.start('pbx1', PBX);
    const agent = await startAgent(service, pbx.port, workers).catch((error: unknown) => {
      pbx.close();
      throw error;
    });
    return new WireBed(agent, await Client.start(PHONE), pbx, service);
  }

  /** Sends a batch of mutated messages over UDP, as a phone and as the PBX's machine, and over TCP. Rejects when the agent suffers by it. */
  async batch(random: Random, messages: readonly string[]): Promise<Progress> {
    const batch = Array.from({ length: BATCH }, () => mutate(random, messages));
    const other = await bound(PBX);
    try {
      const streams: Promise<void>[] = [];
      for (const [i, text] of batch.entries()) {
        const bytes = Buffer.from(text, 'latin1');
        if (i % STREAM_EACH === 0) streams.push(this.#stream(bytes));
        else if (i % STREAM_EACH === 1) other.send(bytes, this.#service.port, this.#service.address);
        else this.#client.send(bytes, this.#service);
      }
      await Promise.all(streams);
      await this.#expectWell();
    } catch (error) {
      throw new WireFailure(batch, { cause: error });
    } finally {
      other.close();
    }
    this.#sent += BATCH;
    const residentBytes = await this.#watchMemory();
    return { messages: this.#sent, residentBytes, baselineBytes: this.#baseline };
  }

  async close(): Promise<void> {
    await this.#agent.close();
    this.#client.close();
    this.#pbx.close();
  }

  async #stream(bytes: Uint8Array): Promise<void> {
    const socket = connect(this.#service.port, this.#service.address, () => socket.end(bytes));
    const timer = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.resume().on('error', () => {});
    await once(socket, 'close');
    clearTimeout(timer);
  }

  /** It answers, and no data thread had to be started anew. */
  async #expectWell(): Promise<void> {
    await this.#client.ask('REGISTER', 'bonnie', this.#service);
    const restarts = await this.#agent.metric('sipfleet_worker_restarts_total');
    if (restarts > 0) throw new Error(`a data thread died:\n${this.#agent.process.output.slice(-2_000)}`);
  }

  async #watchMemory(): Promise<number> {
    const resident = await this.#agent.metric('process_resident_memory_bytes');
    if (++this.#batches <= WARM_UP_BATCHES) this.#baseline = Math.max(this.#baseline, resident);
    else if (resident > this.#baseline + MAY_GROW_BYTES)
      throw new Error(`resident memory grew from ${this.#baseline} to ${resident} bytes over ${this.#sent} messages`);
    return resident;
  }
}

/** The agent did not survive a batch well; which of its messages did it has to be found out. */
export class WireFailure extends Error {
  override readonly name = 'WireFailure';
  readonly batch: readonly string[];

  constructor(batch: readonly string[], options: ErrorOptions) {
    super(`the agent suffered: ${String(options.cause)}`, options);
    this.batch = batch;
  }
}

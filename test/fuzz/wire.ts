import type { Socket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { bound, Client, freePort } from '../e2e/loopback.ts';
import { Agent, sumOf } from '../interop/agent.ts';
import { type Host, loopback } from '../netns/host.ts';
import { OpenCalls } from './calls.ts';
import { play, STREAMS, type StreamName, scriptFor } from './connections.ts';
import { mutate } from './mutate.ts';
import { Random } from './random.ts';

const AGENT = '127.0.0.1';
/** A request that one of them leaves unanswered goes to the next. */
const PBXS = ['127.0.1.1', '127.0.1.2'];
const TCP_PBX = '127.0.1.3';
const PHONE = '127.0.2.1';
const CALLING_PHONE = '127.0.2.2';

/** Messages between two questions whether the agent is still there, and calls that are open meanwhile. */
const BATCH = 100;
const CALLS = 20;
/** By what way each of so many messages comes: over UDP as a phone, or as a PBX's machine, or over a connection of its own. */
const WAYS: readonly ('phone' | 'pbx' | StreamName)[] = [
  ...Array<'phone'>(9).fill('phone'),
  ...Array<'pbx'>(3).fill('pbx'),
  ...(['tcp', 'tls', 'ws', 'ws'] as const),
  ...(['wss', 'proxied tcp', 'proxied tcp', 'proxied tls'] as const),
];
/**
 * What the process may grow by after the first batches: its heaps, transactions that wait for answers that never come, and what is recorded of odd calls. All of that
 * together came to 85 MB within a minute, and to no more in 190,000 messages.
 */
const MAY_GROW_BYTES = 160_000_000;
const WARM_UP_BATCHES = 4;

type Ports = Record<StreamName | 'udp', number>;

function startAgent(ports: Ports, pbxs: readonly Socket[], tcpPbx: AddressInfo, workers: number): Promise<Agent> {
  const listener = (name: StreamName | 'udp') => {
    const transport = name.replace('proxied ', '') as 'udp' | 'tcp' | 'tls' | 'ws' | 'wss';
    return {
      ...{ transport, address: AGENT, port: ports[name] },
      ...(/tls|wss/.test(name) && { certificate: 'shown' }),
      ...(name.startsWith('proxied') && { proxyProtocol: { from: ['127.0.0.0/8'] } }),
    };
  };
  return Agent.start({
    host: frugal(loopback(AGENT)),
    workers,
    secrets: { shown: { ...createAuthority().issue(AGENT) } },
    farm: {
      kind: 'Farm',
      name: 'pbx',
      sites: ['milan'],
      listeners: [listener('udp'), ...STREAMS.map(listener)],
      backends: [
        ...pbxs.map((pbx, i) => ({ name: `pbx${i + 1}`, ...addressOf(pbx.address()) })),
        { name: 'stream', transport: 'tcp', ...addressOf(tcpPbx) },
      ],
      // Not by 503: what traffic tells of a backend that says so often would take it out.
      failover: { timeout: '200ms', codes: [500, 504] },
    },
  });
}

/** V8 takes some 100 MB for what is young in each thread when it gets busy: what is kept could not be told from it. */
const frugal = (host: Host): Host => ({
  ...host,
  spawn: (command, args, options) => host.spawn(command, ['--max-semi-space-size=4', ...args], options),
});

const addressOf = ({ address, port }: AddressInfo) => ({ address, port });

/** What the wire run saw of the agent after a batch. */
export interface Progress {
  messages: number;
  residentBytes: number;
  /** The most that it had during the first batches. */
  baselineBytes: number;
}

interface Peers {
  agent: Agent;
  ports: Ports;
  client: Client;
  calls: OpenCalls;
  pbxs: readonly Socket[];
}

/** A real agent process on every transport, with PBXs behind it that answer whatever they can read. */
export class WireBed {
  readonly #peers: Peers;
  #sent = 0;
  #batches = 0;
  #baseline = 0;

  private constructor(peers: Peers) {
    this.#peers = peers;
  }

  static async start({ workers = 2 } = {}): Promise<WireBed> {
    const ports = {} as Ports;
    for (const name of ['udp', ...STREAMS] as const) ports[name] = await freePort(AGENT);
    const pbxs = await Promise.all(PBXS.map((address) => bound(address)));
    const service = { address: AGENT, udp: ports.udp, tcp: ports.tcp };
    const calls = await OpenCalls.start(service, CALLING_PHONE, pbxs, TCP_PBX);
    try {
      const agent = await startAgent(ports, pbxs, calls.server, workers);
      return new WireBed({ agent, ports, pbxs, calls, client: await Client.start(PHONE) });
    } catch (error) {
      calls.close();
      for (const pbx of pbxs) pbx.close();
      throw error;
    }
  }

  /** Sends a batch of mutated messages by every way while calls are under way. Rejects when the agent suffers by it. */
  async batch(random: Random, messages: readonly string[]): Promise<Progress> {
    const { client, calls, ports } = this.#peers;
    const batch = Array.from({ length: BATCH }, (_, i) => {
      const way = WAYS[i % WAYS.length]!;
      const text = mutate(random, messages);
      return { way, text, script: way === 'phone' || way === 'pbx' ? undefined : scriptFor(way, random, text) };
    });
    const other = await bound(PBXS[0]!);
    let residentBytes: number;
    try {
      await calls.begin(CALLS, new Random(random.next()));
      const streams: Promise<void>[] = [];
      for (const { way, text, script } of batch) {
        const bytes = Buffer.from(text, 'latin1');
        if (way === 'phone') client.send(bytes, { address: AGENT, port: ports.udp });
        else if (way === 'pbx') other.send(bytes, ports.udp, AGENT);
        else streams.push(play(way, { address: AGENT, port: ports[way] }, script!));
      }
      await Promise.all(streams);
      residentBytes = await this.#expectWell();
    } catch (error) {
      const sent = batch.map(({ text, script }) => (script ? script.clear + script.asks + script.says : text));
      throw new WireFailure([...sent, ...calls.sent], { cause: error });
    } finally {
      other.close();
    }
    this.#sent += BATCH + calls.sent.length;
    this.#watchMemory(residentBytes);
    return { messages: this.#sent, residentBytes, baselineBytes: this.#baseline };
  }

  /** What it says of itself. */
  async metrics(): Promise<string> {
    return (await fetch(`http://${this.#peers.agent.admin}/metrics`)).text();
  }

  async close(): Promise<void> {
    const { agent, client, calls, pbxs } = this.#peers;
    await agent.close();
    client.close();
    calls.close();
    for (const pbx of pbxs) pbx.close();
  }

  /** It answers, no data thread had to be started anew, and none has met with an error. Resolves with its resident memory. */
  async #expectWell(): Promise<number> {
    const { agent, client, ports } = this.#peers;
    await client.ask('REGISTER', 'bonnie', { address: AGENT, port: ports.udp });
    const metrics = await this.metrics();
    const lastWords = () => agent.process.output.slice(-2_000);
    if (sumOf(metrics, 'sipfleet_worker_restarts_total') > 0) throw new Error(`a data thread died:\n${lastWords()}`);
    // What was thrown at a message is caught and counted, since one message must not end the calls of all others.
    const thrown = sumOf(metrics, 'sipfleet_dropped_messages_total', 'reason="internal"');
    if (thrown > 0) throw new Error(`${thrown} messages met with an error:\n${lastWords()}`);
    return sumOf(metrics, 'process_resident_memory_bytes');
  }

  #watchMemory(resident: number): void {
    if (++this.#batches <= WARM_UP_BATCHES) this.#baseline = Math.max(this.#baseline, resident);
    else if (resident > this.#baseline + MAY_GROW_BYTES)
      throw new Error(`resident memory grew from ${this.#baseline} to ${resident} bytes over ${this.#sent} messages`);
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

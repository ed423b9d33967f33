import type { Endpoint, TransportCode } from '../ports.ts';
import { copyEndpoint } from '../sip/endpoint.ts';
import type { ClientKeys } from './client-key.ts';

/** Entries of one agent's table, for twice as many connections as one data thread takes by default; 64 bytes each. */
const SLOTS = 1 << 16;
/** A key may stand in any of so many places in a row; the one registered longest ago gives way. */
const WAYS = 8;

/** Fields of an entry, in 32-bit words: one cache line. */
const SEQUENCE = 0;
const KEY = 1;
const FARM = 2;
const CHECK = 3;
/** Worker, transport and ordinal of the listener. */
const PLACE = 4;
const CONNECTION = 5;
const IP = 6;
const PORT = 10;
const SECOND = 11;
const WIDTH = 16;

/** In {@link PLACE}: two clients have this key, so it leads to neither. */
const AMBIGUOUS = -1;
const TRIES = 4;

/** Shared memory of one agent's {@link Flows}. `slots`: a power of two. */
export const createFlows = (slots = SLOTS): SharedArrayBuffer =>
  new SharedArrayBuffer(slots * WIDTH * Int32Array.BYTES_PER_ELEMENT);

/** Where a client can be reached now. */
export interface ClientFlow {
  readonly client: Endpoint;
  worker: number;
  /** Ordinal within its farm of the listener that it is connected to. */
  listener: number;
}

export const createClientFlow = (): ClientFlow => ({
  client: { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 },
  worker: 0,
  listener: 0,
});

/**
 * The connections by which the registered clients of this agent can be reached, for those whose token names one that is gone: found by the token's
 * client key, by every data thread. Written when a PBX has accepted a REGISTER, by nothing else. Bounded; an entry is a hint, since
 * whoever reads it asks whether the connection is still there.
 */
export class Flows {
  readonly #words: Int32Array;
  readonly #sets: number;
  /** The connection is open at this agent. */
  readonly #open: (worker: number, connection: number) => boolean;

  constructor(memory: SharedArrayBuffer, open: (worker: number, connection: number) => boolean) {
    this.#words = new Int32Array(memory);
    this.#sets = this.#words.length / WIDTH / WAYS;
    this.#open = open;
  }

  /** The client of these keys has registered over `flow`. `farm`: hash of its name. */
  learn(farm: number, { keys, count, check }: Readonly<ClientKeys>, flow: Readonly<ClientFlow>, second: number): void {
    for (let i = 0; i < count; i++) this.#learn(farm, keys[i]!, check, flow, second);
  }

  /** Reads where the client with this key has registered last. False where that is unknown, or the connection gone. */
  find(farm: number, key: number, flow: ClientFlow): boolean {
    if (key === 0) return false;
    const first = this.#set(key);
    for (let at = first; at < first + WAYS * WIDTH; at += WIDTH)
      if (this.#words[at + KEY] === (key | 0) && this.#read(at, farm, key, flow))
        return this.#open(flow.worker, flow.client.connection);
    return false;
  }

  #learn(farm: number, key: number, check: number, flow: Readonly<ClientFlow>, second: number): void {
    const at = this.#place(farm, key);
    const words = this.#words;
    const sequence = Atomics.load(words, at + SEQUENCE);
    // Somebody else is writing here: the next REGISTER brings the key again.
    if (sequence & 1 || Atomics.compareExchange(words, at + SEQUENCE, sequence, sequence + 1) !== sequence) return;
    const { client } = flow;
    const same = words[at + KEY] === (key | 0) && words[at + FARM] === (farm | 0);
    const stranger = words[at + CHECK] !== (check | 0);
    const ambiguous = same && (words[at + PLACE] === AMBIGUOUS || (stranger && this.#alive(at)));
    words[at + KEY] = key;
    words[at + FARM] = farm;
    words[at + CHECK] = check;
    words[at + PLACE] = ambiguous ? AMBIGUOUS : (flow.worker << 16) | (client.transport << 8) | flow.listener;
    words[at + CONNECTION] = client.connection;
    words[at + IP] = client.ip0;
    words[at + IP + 1] = client.ip1;
    words[at + IP + 2] = client.ip2;
    words[at + IP + 3] = client.ip3;
    words[at + PORT] = client.port;
    words[at + SECOND] = second;
    Atomics.store(words, at + SEQUENCE, sequence + 2);
  }

  #alive(at: number): boolean {
    return this.#open(this.#words[at + PLACE]! >>> 16, this.#words[at + CONNECTION]!);
  }

  /** The key's entry, or the place of its set that is free or was written longest ago. */
  #place(farm: number, key: number): number {
    const words = this.#words;
    const first = this.#set(key);
    let oldest = first;
    for (let at = first; at < first + WAYS * WIDTH; at += WIDTH) {
      if (words[at + KEY] === (key | 0) && words[at + FARM] === (farm | 0)) return at;
      if (words[at + SECOND]! < words[oldest + SECOND]!) oldest = at;
    }
    return oldest;
  }

  /** Reads an entry whole, though another thread may be writing it. */
  #read(at: number, farm: number, key: number, flow: ClientFlow): boolean {
    const words = this.#words;
    for (let i = 0; i < TRIES; i++) {
      const sequence = Atomics.load(words, at + SEQUENCE);
      const place = words[at + PLACE]!;
      read.transport = ((place >>> 8) & 255) as TransportCode;
      read.connection = words[at + CONNECTION]!;
      read.ip0 = words[at + IP]! >>> 0;
      read.ip1 = words[at + IP + 1]! >>> 0;
      read.ip2 = words[at + IP + 2]! >>> 0;
      read.ip3 = words[at + IP + 3]! >>> 0;
      read.port = words[at + PORT]!;
      const fits = words[at + KEY] === (key | 0) && words[at + FARM] === (farm | 0) && place !== AMBIGUOUS;
      if (sequence & 1 || Atomics.load(words, at + SEQUENCE) !== sequence) continue;
      if (!fits) return false;
      copyEndpoint(flow.client, read);
      flow.worker = place >>> 16;
      flow.listener = place & 255;
      return true;
    }
    return false;
  }

  /** First word of the set that a key belongs to; keys are hashes. */
  #set(key: number): number {
    return (key % this.#sets) * WAYS * WIDTH;
  }
}

const read: Endpoint = { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 };

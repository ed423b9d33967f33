import type { Arena, Endpoint, Segments } from '../ports.ts';
import { MessageView } from '../sip/message.ts';
import { Splice } from '../sip/splice.ts';
import { UriView } from '../sip/uri.ts';
import { ViaView } from '../sip/via.ts';
import type { LocalStatus, Refusal } from '../telemetry/slab.ts';
import type { ResponseTarget } from '../transaction/branch.ts';
import { Edits } from './edits.ts';
import type { Exchange, Exchanges } from './exchange.ts';
import { createRegistered, type Registered } from './flow.ts';
import type { Flows } from './flows.ts';
import type { Overload } from './overload.ts';
import type { Peers } from './peers.ts';
import type { FarmRuntime, Listener, Runtime } from './runtime.ts';
import { createToken } from './token.ts';
import type { Watched } from './watched.ts';

/** What the proxy can do to the world. Built by worker.ts over the transports. */
export interface Output {
  /** Memory for header text, with room for a whole message's edits; may flush what is queued to make room. */
  arena(): Arena;
  /** Queues a datagram on the socket of `listener`. */
  datagram(listener: Listener, to: Endpoint, message: Segments): void;
  /**
   * Sends over an open connection of some worker of this agent. Where `to` names a port, the connection's remote end must agree: ids are used again.
   * False: there is none such here any more.
   */
  stream(listener: Listener, worker: number, to: Endpoint, message: Segments): boolean;
  /** Sends over the connection that is open to `to`, or opens one. False: refused at once. */
  dial(listener: Listener, to: Endpoint, message: Segments): boolean;
  /** Hands a response to the worker of this agent that keeps its exchange. */
  handOver(worker: number, listener: Listener, from: Endpoint, bytes: Uint8Array, start: number, end: number): void;
  /** Where clients with connections are, of all data threads. */
  readonly flows: Flows;
  /** The other agents of the site. */
  readonly peers: Peers;
  /** A connection of some worker of this agent is open. */
  isOpen(worker: number, connection: number): boolean;
  /** Closes every connection of this worker with a backend. */
  cut(farm: FarmRuntime, backend: number): void;
  /** Monotonic milliseconds, for transaction timers. */
  now(): number;
  /** Seconds since the epoch, read once per batch. */
  seconds(): number;
}

/** What forwarding writes: the request at hand, or our own CANCEL or ACK along its way. */
export const HOP = { request: 0, cancel: 1, ack: 2 } as const;

/** Counters of one data thread; indices from telemetry/slab.ts. */
export interface Counters {
  drop(reason: number): void;
  local(status: LocalStatus): void;
  /** New work was refused to protect what stands. */
  refused(reason: Refusal): void;
  requestTo(backend: number, method: number): void;
  requestFrom(backend: number, method: number): void;
  responseFrom(backend: number, status: number): void;
  /** A request was sent to a backend once more (Timer A or E). */
  retransmission(backend: number): void;
  /** An attempt at a backend was given up for another one. */
  failover(backend: number): void;
  /** A request was too large for a datagram, and went over TCP, or by UDP all the same because TCP was refused. */
  largeRequest(backend: number, byTcp: boolean): void;
  /** A backend did not know the user, who is sought at another one. */
  sought(backend: number): void;
}

/** Where facts about calls go, see proxy/observe.ts; numbers only, nothing waits. Built by worker.ts over telemetry/events.ts. */
export interface CallEvents {
  /** False: nobody listens, and nothing is to be found out for it. */
  readonly active: boolean;
  request(
    method: number,
    call: number,
    key: number,
    transaction: number,
    farm: number,
    leg: number,
    flags: number,
    backend: number,
    source: number,
    start: number,
    binding: number,
  ): void;
  response(method: number, call: number, key: number, status: number, value: number): void;
  answered(method: number, call: number, transaction: number, farm: number, flags: number, status: number): void;
  /** One that was kept here has come to its end. */
  transaction(watched: Readonly<Watched>, status: number, value: number): void;
  /** Number of the running plan. */
  readonly plan: number;
}

/** Where messages are recorded as they come, see telemetry/tape.ts. What is sent, the output records. */
export interface MessageTape {
  /** Hash of the Call-ID of the message at hand: what is sent meanwhile belongs to it. */
  call: number;
  /** False: nothing is recorded, and nothing is to be found out for it. */
  readonly active: boolean;
  /** What is sent is not recorded. */
  muted: boolean;
  received(call: number, bytes: Uint8Array, start: number, end: number, from: Endpoint, listener: number): void;
}

const nothing = (): void => {};
export const NO_EVENTS: CallEvents = {
  active: false,
  request: nothing,
  response: nothing,
  answered: nothing,
  transaction: nothing,
  plan: 0,
};

/** Nothing is recorded. */
export const noTape = (): MessageTape => ({ call: 0, active: false, muted: false, received: nothing });

/** Everything that handling one message needs, made once per worker and reused for every message. */
export interface Context {
  runtime: Runtime;
  output: Output;
  counters: Counters;
  events: CallEvents;
  tape: MessageTape;
  message: MessageView;
  via: ViaView;
  uri: UriView;
  edits: Edits;
  splice: Splice;
  /** Token read from the message, and the one being written. */
  token: ReturnType<typeof createToken>;
  fresh: ReturnType<typeof createToken>;
  target: Endpoint;
  /** Where the response to the request at hand goes, or where the response at hand says so. */
  back: ResponseTarget;
  /** The registering client of the REGISTER at hand, or that the response at hand brings back. */
  registered: Registered;
  /** Loop hash of the request at hand. */
  loop: number;
  /** What identifies the request at hand (transaction/branch.ts); 0: not found out yet. */
  identity: number;
  /** Key of the client transaction that was forwarded last. */
  branch: number;
  /** Key of the client transaction that the response at hand belongs to. */
  answering: number;
  /** Key of the server transaction to be made for the request at hand; 0: none. */
  serverKey: number;
  /** The backend that an earlier copy of the request went to, −1 if none. */
  preferred: number;
  /** Second that a new dialog's token names as its start: of a retransmission the same as before. */
  startSecond: number;
  /** What forwarding writes: see {@link HOP}; and the To line of an ACK. */
  hop: number;
  ackTo: Uint8Array;
  /** Header lines that say in a CANCEL why. */
  reason: Uint8Array;
  /** Whether new work is let in. */
  overload: Overload;
  /** Undefined: everything is forwarded statelessly. */
  exchanges: Exchanges | undefined;
  /** Of the request at hand; undefined: it is forwarded statelessly, or not yet decided. */
  exchange: Exchange | undefined;
}

export function createContext(
  runtime: Runtime,
  output: Output,
  counters: Counters,
  exchanges: Exchanges | undefined,
  events: CallEvents,
  tape: MessageTape,
  overload: Overload,
): Context {
  return {
    runtime,
    output,
    counters,
    events,
    tape,
    message: new MessageView(),
    via: new ViaView(),
    uri: new UriView(),
    edits: new Edits(),
    splice: new Splice(),
    token: createToken(),
    fresh: createToken(),
    target: { transport: 0, ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, connection: 0 },
    back: { ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, agent: 0, worker: 0, connection: 0, brought: 0 },
    registered: createRegistered(),
    loop: 0,
    identity: 0,
    branch: 0,
    answering: 0,
    serverKey: 0,
    preferred: -1,
    startSecond: 0,
    hop: HOP.request,
    ackTo: new Uint8Array(0),
    reason: new Uint8Array(0),
    exchanges,
    exchange: undefined,
    overload,
  };
}

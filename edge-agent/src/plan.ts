import type { StreamOptions, TransportCode } from './ports.ts';

/** What the data threads run: a snapshot compiled for the packet path. Small objects here; all that is large in shared memory. */
export interface Plan {
  etag: string;
  generation: number;
  /** Names this agent inside tokens (1–65535). */
  agent: number;
  listeners: ListenerPlan[];
  farms: FarmPlan[];
}

export interface ListenerPlan {
  farm: number;
  transport: TransportCode;
  address: string;
  /** The farm names no address: each agent has its own. */
  ownAddress?: boolean;
  port: number;
  /** What stands in Via, Record-Route and Path towards each side. */
  advertise: { clients: string; backends: string };
  /** Certificates, sources, limits; of all but UDP. */
  stream?: StreamOptions;
  /** When the first of its certificates expires, in seconds since the epoch. */
  certificateExpires?: number;
}

export interface FarmPlan {
  name: string;
  strategy: 'hash' | 'weighted-round-robin' | 'least-sessions';
  key: AffinityKey;
  /** DNS names by which phones know the farm. */
  names: string[];
  /** Transactions are kept (failover inside them, retransmissions absorbed), or every message is forwarded by itself. */
  stateful: boolean;
  failover: { timeoutMs: number; codes: readonly number[]; release: boolean };
  registration: 'path' | 'contact' | 'none';
  /** Seconds that a phone's registration is told to last at most; 0: as the PBX says. */
  maxExpires: number;
  backends: BackendPlan[];
  /** Index of backends[0] among the backends of all farms: counters and states are numbered through. */
  firstBackend: number;
  /** First signs, all are accepted. `key`: 16 bytes. */
  tokenKeys: { id: number; key: Uint8Array }[];
  /** Ranked candidates per hash bucket, see balancer/rendezvous.ts. */
  candidates: SharedArrayBuffer;
  /** Registrations lag, see balancer/lag.ts: for how long, and the orders that may still hold, the oldest first. */
  lag: { seconds: number; transactionsOnly: boolean; before: FormerOrder[]; unknown: UnknownPast };
  /** Which backends came back lately, see balancer/recovery.ts. */
  recovered: SharedArrayBuffer;
  /** Dialogs that stand, one Int32 per backend, written by the control thread: soft and approximate. */
  sessions: SharedArrayBuffer;
  /** Which backend made a challenge, see balancer/nonces.ts. */
  nonces: SharedArrayBuffer;
  /** Whose turn it is (balancer/round-robin.ts) and which backend a call was given (balancer/recent-calls.ts); undefined where a hash decides. */
  turns: { taken: SharedArrayBuffer; calls: SharedArrayBuffer } | undefined;
  /** What threads tell one another about backends, see balancer/signals.ts. */
  signals: SharedArrayBuffer;
  /** Requests of calls carry `traceparent` towards backends. */
  traceparent: boolean;
  /** A backend that goes down loses its connections. */
  cutConnections: boolean;
  /** One byte per backend, written by the control thread: see {@link STATE}. */
  states: SharedArrayBuffer;
}

/** What held before this agent started serving a farm. */
export interface UnknownPast {
  /** Second since the epoch until which it may matter. */
  until: number;
  /** The candidate order as if nobody drained. */
  candidates: SharedArrayBuffer;
}

/** A candidate order that was replaced. */
export interface FormerOrder {
  candidates: SharedArrayBuffer;
  /** Index then → index now, 255 for a backend that is no longer there. */
  indexes: Uint8Array;
  key: AffinityKey;
  /** Second since the epoch from which it no longer counts. */
  until: number;
}

/** What `hash` keeps together; `header` in lower case. */
export interface AffinityKey {
  kind: 'user' | 'domain' | 'call-id' | 'from-user' | 'source-ip' | 'header';
  header: string;
}

export interface BackendPlan {
  name: string;
  /** 24 bits, hash of the name: the same on every agent and under every revision. */
  id: number;
  address: string;
  port: number;
  transport: TransportCode;
  /** Requests of more bytes go over TCP; 0: none does. */
  tcpAbove: number;
  weight: number;
  /** Tier, 1 first. Backends of other sites stand behind all of this agent's own. */
  priority: number;
  /** Keeps its dialogs and gets nothing new. */
  drain: boolean;
  /** Blocks that this backend sends from: four words and the prefix length in the 128-bit form. */
  sources: { ip: [number, number, number, number]; bits: number }[];
}

/** A backend's state as the data threads see it. `unknown` serves until proven down. */
export const STATE = { unknown: 0, up: 1, down: 2 } as const;
export type StateCode = (typeof STATE)[keyof typeof STATE];

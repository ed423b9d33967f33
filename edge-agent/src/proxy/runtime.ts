import { Lag } from '../balancer/lag.ts';
import { Nonces } from '../balancer/nonces.ts';
import { Pool } from '../balancer/pool.ts';
import { backendId } from '../balancer/rendezvous.ts';
import { type Order, Signals } from '../balancer/signals.ts';
import { Sources } from '../balancer/sources.ts';
import type { BackendPlan, FarmPlan, ListenerPlan, Plan } from '../plan.ts';
import { type Endpoint, TRANSPORT, type TransportName } from '../ports.ts';
import { isIPv4 } from '../sip/endpoint.ts';
import { type HashKey, hash32, hashKey } from '../sip/hash.ts';
import { parseWords, wordsOf } from '../sip/host.ts';
import { equalsNoCase, toBytes } from '../sip/text.ts';
import type { UriView } from '../sip/uri.ts';
import { traceKey } from '../telemetry/traces/ids.ts';

/** A plan made ready for one data thread: tables and pre-written header text, so that nothing is decided per packet that is known now. */
export interface Runtime {
  plan: Plan;
  worker: number;
  /** Data threads of this agent. */
  workers: number;
  listeners: Listener[];
  farms: FarmRuntime[];
}

export interface FarmRuntime {
  /** What it is part of. */
  runtime: Runtime;
  plan: FarmPlan;
  /** Hash of its name: the same under every plan. */
  id: number;
  pool: Pool;
  lag: Lag;
  sources: Sources;
  nonces: Nonces;
  signals: Signals;
  /** Orders of the control thread that are carried out already. */
  obeyed: { epoch: number; refused: Int32Array; cut: Int32Array };
  /** First signs, all are accepted. */
  keys: { id: number; key: HashKey }[];
  listeners: Listener[];
  /** By which agents pass each other requests for their clients: the first UDP listener on an address of each agent's own. */
  peerListener: Listener | undefined;
  backends: Backend[];
  /** Exchanges are kept by several workers: our Via says by which. */
  split: boolean;
  /** Key of the ids in `traceparent`; undefined: backends get none. */
  trace: HashKey | undefined;
  /** DNS names by which phones know the farm, in lower case. */
  names: Uint8Array[];
  /** Index by 24-bit id. */
  byId: Map<number, number>;
}

export interface Backend {
  plan: BackendPlan;
  /** Index over all farms: counters are numbered so. */
  global: number;
  endpoint: Endpoint;
  /** Second since the epoch at which it last refused TCP where that was used for a large request (proxy/large.ts). */
  tcpRefusedAt: number;
}

/** Who sent a request, where it was no backend (0 and above: its index). */
export const SOURCE = { client: -1, peer: -2 } as const;

/** Which side a header is read by. */
export const SIDE = { clients: 0, backends: 1 } as const;
export type Side = (typeof SIDE)[keyof typeof SIDE];

export interface Listener {
  /** Names its socket to the transports; set when the plan is committed, and valid as long as the socket is open. */
  handle: number;
  /** The same in every data thread and under every plan, for as long as it listens where it does; never 0. */
  mark: number;
  /** Index within the plan, and within the farm. */
  index: number;
  ordinal: number;
  farm: FarmRuntime;
  plan: ListenerPlan;
  v4: boolean;
  /** Addresses by which a URI may name this listener. */
  names: { ip: Uint32Array; port: number }[];
  /** By side: `Via: SIP/2.0/UDP host:port;branch=z9hG4bK`. */
  via: [Uint8Array, Uint8Array];
  /** By side: `@host:port;lr>` with what goes before and after it being the same for all. */
  uriTail: [Uint8Array, Uint8Array];
  /** By side: `@host:port` and transport, as in {@link uriTail} but without `lr`: of Contacts. */
  contactTail: [Uint8Array, Uint8Array];
  /** By side: the text of host, port and transport; equal texts need one Record-Route only. */
  uriKey: [string, string];
  /** Per backend of the farm: the listener from which it is spoken to, and the one for requests that are too large for a datagram, if any. */
  towards: Listener[];
  towardsByTcp: (Listener | undefined)[];
}

const NAME_OF = Object.fromEntries(Object.entries(TRANSPORT).map(([name, code]) => [code, name])) as Record<
  number,
  TransportName
>;

/** Builds the tables of one worker. Throws nothing that compilePlan has not refused before. */
export function buildRuntime(plan: Plan, worker: number, workers = 1): Runtime {
  const runtime: Runtime = { plan, worker, workers, listeners: [], farms: [] };
  for (const farm of plan.farms) {
    const pool = new Pool(farm);
    const signals = new Signals(farm.signals);
    runtime.farms.push({
      runtime,
      plan: farm,
      id: backendId(farm.name),
      pool,
      lag: new Lag(farm, pool),
      sources: new Sources(farm.backends),
      nonces: new Nonces(farm.nonces, farm.backends),
      signals,
      obeyed: obeyedSoFar(signals),
      keys: farm.tokenKeys.map(({ id, key }) => ({ id, key: hashKey(key) })),
      listeners: [],
      peerListener: undefined,
      split: farm.stateful && workers > 1,
      trace: farm.traceparent ? traceKey(farm.name) : undefined,
      backends: farm.backends.map((b, i) => ({
        plan: b,
        global: farm.firstBackend + i,
        endpoint: endpointOf(b),
        tcpRefusedAt: Number.NEGATIVE_INFINITY,
      })),
      names: farm.names.map((name) => toBytes(name.toLowerCase())),
      byId: new Map(farm.backends.map((b, i) => [b.id, i])),
    });
  }
  for (const [index, l] of plan.listeners.entries()) {
    const farm = runtime.farms[l.farm]!;
    const listener = buildListener(l, index, farm);
    farm.listeners.push(listener);
    if (l.ownAddress && l.transport === TRANSPORT.udp) farm.peerListener ??= listener;
    runtime.listeners.push(listener);
  }
  for (const listener of runtime.listeners) {
    const { backends } = listener.farm;
    listener.towards = backends.map((b) => outgoing(listener, b.plan.transport, isIPv4(b.endpoint)) ?? listener);
    listener.towardsByTcp = backends.map((b) =>
      b.plan.tcpAbove > 0 ? outgoing(listener, TRANSPORT.tcp, isIPv4(b.endpoint)) : undefined,
    );
  }
  return runtime;
}

/** The listener from which something of this transport and family is sent: the one that the request came in by if it fits, else the farm's first that does. */
export function outgoing(incoming: Listener, transport: number, v4: boolean): Listener | undefined {
  const fits = (l: Listener) => l.plan.transport === transport && l.v4 === v4;
  return fits(incoming) ? incoming : incoming.farm.listeners.find(fits);
}

function buildListener(plan: ListenerPlan, index: number, farm: FarmRuntime): Listener {
  const name = NAME_OF[plan.transport]!;
  const port = plan.port;
  const hosts = [plan.advertise.clients, plan.advertise.backends] as const;
  const hostPorts = hosts.map((h) => `${h.includes(':') ? `[${h}]` : h}:${port}`);
  // RFC 7118 §5.3 and §8: a URI says `ws` for both, and only Via tells WSS from WS.
  const transport = plan.transport === TRANSPORT.udp ? '' : `;transport=${name === 'wss' ? 'ws' : name}`;
  const both = (make: (hostPort: string) => Uint8Array) => hostPorts.map(make) as [Uint8Array, Uint8Array];
  return {
    handle: -1,
    mark: markOf(plan),
    index,
    ordinal: farm.listeners.length,
    farm,
    plan,
    v4: !plan.address.includes(':'),
    names: [...new Set([plan.address, ...hosts])].map((h) => ({ ip: wordsOf(h)!, port })),
    via: both((hp) => toBytes(`Via: SIP/2.0/${name.toUpperCase()} ${hp};branch=z9hG4bK`)),
    uriTail: both((hp) => toBytes(`@${hp}${transport};lr>\r\n`)),
    contactTail: both((hp) => toBytes(`@${hp}${transport}`)),
    uriKey: [`${hostPorts[0]}${transport}`, `${hostPorts[1]}${transport}`],
    towards: [],
    towardsByTcp: [],
  };
}

/** A thread that starts later has nothing to do about what was ordered before. */
const obeyedSoFar = (signals: Signals): FarmRuntime['obeyed'] => {
  const each = (order: Order) => Int32Array.from({ length: signals.size }, (_, b) => signals.orders(b, order));
  return { epoch: signals.epoch, refused: each('refused'), cut: each('cut') };
};

function markOf({ transport, address, port }: ListenerPlan): number {
  const text = toBytes(`${transport}/${address}/${port}`);
  return hash32(text, 0, text.length) >>> 0 || 1;
}

function endpointOf(b: BackendPlan): Endpoint {
  const ip = wordsOf(b.address)!;
  return { transport: b.transport, ip0: ip[0]!, ip1: ip[1]!, ip2: ip[2]!, ip3: ip[3]!, port: b.port, connection: 0 };
}

/** The URI names this farm: one of its listeners by address and port, or the farm by one of its DNS names. */
export function isOwn(farm: FarmRuntime, bytes: Uint8Array, uri: UriView): boolean {
  const ip = parseWords(bytes, uri.hostStart, uri.hostEnd);
  if (ip === undefined) {
    for (let n = 0; n < farm.names.length; n++)
      if (equalsNoCase(bytes, uri.hostStart, uri.hostEnd, farm.names[n]!)) return true;
    return false;
  }
  const wanted = uri.port || 5060;
  for (let l = 0; l < farm.listeners.length; l++) {
    const { names } = farm.listeners[l]!;
    for (let n = 0; n < names.length; n++) {
      const name = names[n]!;
      if (name.port !== wanted || name.ip[3] !== ip[3] || name.ip[2] !== ip[2]) continue;
      if (name.ip[1] === ip[1] && name.ip[0] === ip[0]) return true;
    }
  }
  return false;
}

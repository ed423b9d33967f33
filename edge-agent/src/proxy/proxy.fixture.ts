import { type Farm, type FarmInput, parseResource } from '@sipfleet/contract';
import { setState } from '../balancer/recovery.ts';
import { compilePlan } from '../compile.ts';
import { type Plan, STATE } from '../plan.ts';
import { type Arena, type Endpoint, type Segments, TRANSPORT, type TransportName } from '../ports.ts';
import { wordsOf } from '../sip/host.ts';
import { joinSegments } from '../sip/splice.ts';
import { toText } from '../sip/text.ts';
import { DROP_REASONS } from '../telemetry/slab.ts';
import { type CallEvents, type Counters, type MessageTape, noTape, type Output } from './context.ts';
import { Exchanges } from './exchange.ts';
import { createFlows, Flows } from './flows.ts';
import { Overload } from './overload.ts';
import { createPeers, type Peer, Peers } from './peers.ts';
import { SipProxy } from './proxy.ts';
import { buildRuntime, type Listener } from './runtime.ts';

/** `udp 192.0.2.1:5060` or, for streams, `tcp 192.0.2.1:5060 #7` with the connection. */
export function endpoint(text: string): Endpoint {
  const m = /^(\w+) \[?([^\]]+?)\]?:(\d+)(?: #(\d+))?$/.exec(text)!;
  const ip = wordsOf(m[2]!)!;
  return {
    transport: TRANSPORT[m[1] as TransportName],
    ip0: ip[0]!,
    ip1: ip[1]!,
    ip2: ip[2]!,
    ip3: ip[3]!,
    port: Number(m[3]),
    connection: Number(m[4] ?? 0),
  };
}

export interface Sent {
  how: 'datagram' | 'stream' | 'dial';
  listener: number;
  worker: number;
  to: Endpoint;
  text: string;
}

/** A response that this worker received for another one. */
export interface HandedOver {
  worker: number;
  listener: number;
  from: Endpoint;
  bytes: Uint8Array;
}

export const FARM: FarmInput = {
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [
    { transport: 'udp', address: '192.0.2.10', port: 5060 },
    { transport: 'tcp', address: '192.0.2.10', port: 5060 },
  ],
  backends: [
    { name: 'pbx1', address: '10.0.0.11' },
    { name: 'pbx2', address: '10.0.0.12' },
  ],
};

/** One agent's proxy over a farm (stateless unless `transactions` gives it room for some), with what it sends, drops and answers kept for assertions. */
export function agent(
  farm: Partial<FarmInput> = {},
  options: {
    number?: number;
    worker?: number;
    workers?: number;
    transactions?: number;
    /** Bytes of messages that they may keep. */
    keptBytes?: number;
    flows?: SharedArrayBuffer;
    /** The second at which it starts, and the plan that this one follows. */
    after?: { now: number; plan?: Plan };
    peers?: Peer[];
    events?: CallEvents;
    tape?: MessageTape;
    address?: string;
  } = {},
) {
  const spec = parseResource({ ...FARM, ...farm }) as Farm;
  const snapshot = {
    format: 1 as const,
    site: 'milan',
    generation: 1,
    farms: [{ spec, revision: 1, tokenKeys: [{ id: 7, key: '000102030405060708090a0b0c0d0e0f' }] }],
  };
  const own = { number: options.number ?? 1, address: options.address ?? '192.0.2.10' };
  const plan = compilePlan(snapshot, 'etag', own, new Map(), options.after);
  const runtime = buildRuntime(plan, options.worker ?? 0, options.workers);
  const clock = { now: 1000, seconds: options.after?.now ?? 1_700_000_000 };
  const exchanges = options.transactions
    ? new Exchanges(options.transactions, clock.now, options.keptBytes)
    : undefined;
  const arena: Arena = { bytes: new Uint8Array(65_536), used: 0 };
  /** Connections that are gone: `worker#connection`. */
  const closed = new Set<string>();
  const isOpen = (worker: number, connection: number) => connection > 0 && !closed.has(`${worker}#${connection}`);
  const peers = new Peers(createPeers());
  peers.replace(options.peers ?? []);
  const sent: Sent[] = [];
  const drops: string[] = [];
  const counts: Record<string, number> = {};
  const bump = (key: string) => {
    counts[key] = (counts[key] ?? 0) + 1;
  };
  const take = (how: Sent['how'], listener: number, worker: number, to: Endpoint, message: Segments) => {
    sent.push({ how, listener, worker, to: { ...to }, text: Buffer.from(joinSegments(message)).toString('latin1') });
    return true;
  };
  const handedOver: HandedOver[] = [];
  const cuts: number[] = [];
  const output: Output = {
    arena: () => arena,
    datagram: (l: Listener, to, m) => void take('datagram', l.index, -1, to, m),
    stream: (l, worker, to, m) => take('stream', l.index, worker, to, m),
    dial: (l, to, m) => take('dial', l.index, -1, to, m),
    cut: (_farm, backend) => void cuts.push(backend),
    handOver: (worker, l, from, bytes, start, end) =>
      void handedOver.push({ worker, listener: l.index, from: { ...from }, bytes: bytes.slice(start, end) }),
    flows: new Flows(options.flows ?? createFlows(64), isOpen),
    peers,
    isOpen,
    seconds: () => clock.seconds,
    now: () => clock.now,
  };
  const counters: Counters = {
    drop: (reason) => void drops.push(DROP_REASONS[reason]!),
    local: (status) => bump(`local ${status}`),
    requestTo: (b, m) => bump(`to ${b} ${m}`),
    requestFrom: (b, m) => bump(`from ${b} ${m}`),
    responseFrom: (b, s) => bump(`response ${b} ${s}`),
    refused: (reason) => bump(`refused ${reason}`),
    retransmission: (b) => bump(`retransmission ${b}`),
    failover: (b) => bump(`failover ${b}`),
    largeRequest: (b, byTcp) => bump(`large ${b} ${byTcp ? 'tcp' : 'udp'}`),
    sought: (b) => bump(`sought ${b}`),
  };
  const overload = new Overload();
  const proxy = new SipProxy(runtime, output, counters, exchanges, options.events, options.tape ?? noTape(), overload);
  return {
    plan,
    overload,
    exchanges,
    clock,
    /** Lets time pass in steps of 10 ms; returns what the timers sent. */
    pass(ms: number): Sent[] {
      const before = sent.length;
      for (const end = clock.now + ms; clock.now < end; ) {
        clock.now += 10;
        arena.used = 0;
        proxy.advance();
      }
      return sent.slice(before);
    },
    runtime,
    closed,
    sent,
    cuts,
    signals: runtime.farms[0]!.signals,
    /** A connection to this place could not be opened. */
    refuse(to: string, refused = true): void {
      arena.used = 0;
      proxy.unreachable(endpoint(to), refused);
    },
    handedOver,
    /** What another worker of this agent handed over. */
    takeOver({ bytes, from, listener }: HandedOver): Sent | undefined {
      arena.used = 0;
      const before = sent.length;
      proxy.handleHandedOver(bytes, 0, bytes.length, from, listener);
      return sent[before];
    },
    drops,
    counts,
    setState(backend: number, state: keyof typeof STATE) {
      setState(plan.farms[0]!, backend, STATE[state], clock.seconds);
    },
    /** Handles a message; `\n` in it stands for CRLF. Returns what it made the proxy send, if anything. */
    receive(text: string, from: string, listener = 0): Sent | undefined {
      arena.used = 0;
      const before = sent.length;
      const bytes = Buffer.concat([
        Buffer.from('xx'),
        Buffer.from(text.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n'), 'latin1'),
      ]);
      proxy.handle(new Uint8Array(bytes), 2, bytes.length, endpoint(from), listener);
      return sent[before];
    },
    receiveBytes(bytes: Uint8Array, from: string, listener = 0, end = bytes.length): void {
      arena.used = 0;
      proxy.handle(bytes, 0, end, endpoint(from), listener);
    },
  };
}

/** All values of a header, in order. */
export function header(text: string, name: string): string[] {
  const prefix = `${name.toLowerCase()}:`;
  return text
    .split('\r\n')
    .filter((line) => line.toLowerCase().startsWith(prefix))
    .map((line) => line.slice(prefix.length).trim());
}

export interface RequestOptions {
  method?: string;
  uri?: string;
  via?: string;
  from?: string;
  to?: string;
  callId?: string;
  cseq?: number;
  /** Further header lines. */
  more?: string[];
  body?: string;
}

/** A request as a phone writes it. */
export function request(o: RequestOptions = {}): string {
  const method = o.method ?? 'INVITE';
  const body = o.body ?? '';
  return [
    `${method} ${o.uri ?? 'sip:clyde@example.com'} SIP/2.0`,
    `Via: ${o.via ?? 'SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKa;rport'}`,
    'Max-Forwards: 70',
    `From: ${o.from ?? 'Bonnie <sip:bonnie@example.com>;tag=b1'}`,
    `To: ${o.to ?? '<sip:clyde@example.com>'}`,
    `Call-ID: ${o.callId ?? 'c1@phone'}`,
    `CSeq: ${o.cseq ?? 1} ${method}`,
    'Contact: <sip:bonnie@198.51.100.7:5060>',
    ...(o.more ?? []),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\n');
}

/** The response that a UAS would give to a forwarded request: its Vias, Record-Routes, From, To with tag, Call-ID and CSeq. */
export function answer(forwarded: string, status = '200 OK', toTag = 't1', more: string[] = []): string {
  const head = forwarded.slice(0, forwarded.indexOf('\r\n\r\n')).split('\r\n').slice(1);
  const kept = head.filter((line) => /^(via|record-route|from|call-id|cseq):/i.test(line));
  const to = head.find((line) => /^to:/i.test(line))!;
  return [
    `SIP/2.0 ${status}`,
    ...kept,
    to.includes('tag=') ? to : `${to};tag=${toTag}`,
    ...more,
    'Content-Length: 0',
    '',
    '',
  ].join('\n');
}

export const text = (bytes: Uint8Array): string => toText(bytes, 0, bytes.length);

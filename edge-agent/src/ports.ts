/** Interfaces shared by rooms. Imports nothing; holds no behaviour. */

/** Transports as small integers: the packet path compares numbers, never strings. Order is part of the token format. */
export const TRANSPORT = { udp: 0, tcp: 1, tls: 2, ws: 3, wss: 4 } as const;
export type TransportName = keyof typeof TRANSPORT;
export type TransportCode = (typeof TRANSPORT)[TransportName];

/** Milliseconds since the epoch, and a monotonic clock in milliseconds. */
export interface Clock {
  now(): number;
  monotonic(): number;
}

/**
 * One end of a flow. Mutable and reused: whoever wants to keep one past the call copies it.
 * The address is four unsigned 32-bit words, IPv4 as ::ffff:a.b.c.d, so that one comparison serves both families.
 */
export interface Endpoint {
  transport: TransportCode;
  ip0: number;
  ip1: number;
  ip2: number;
  ip3: number;
  port: number;
  /** Connection id within its worker (1–0xffffff) for TCP and its kin; 0 for UDP and where none is known. */
  connection: number;
}

/** A message as pieces of buffers to be sent back to back: received bytes with edits between them, nothing copied to build it. */
export interface Segments {
  readonly count: number;
  /** Index i: bytes[i] from start[i] up to end[i]. */
  readonly bytes: readonly Uint8Array[];
  readonly start: Int32Array;
  readonly end: Int32Array;
  /** Sum of the lengths. */
  readonly length: number;
}

/**
 * Called once per message. `bytes` from `start` up to `end` may be read and written until the handler returns,
 * and stay as they are until the batch is flushed if they were handed to `send`; `from` is reused for the next message.
 * `listener` is the index of the plan's listener that it came in by.
 */
export type MessageHandler = (bytes: Uint8Array, start: number, end: number, from: Endpoint, listener: number) => void;

/** Memory for text that goes out with the current batch. Written at `used`, never past `bytes.length`; emptied by the flush. */
export interface Arena {
  readonly bytes: Uint8Array;
  used: number;
}

/** What a UDP transport calls. */
export interface UdpEvents {
  handler: MessageHandler;
  /** A batch has been handed over; what it queued is sent next. */
  batchEnded(): void;
  /**
   * A batch came out of a socket, or there was nothing in it: for how many milliseconds the oldest of it had stood there, and how many datagrams
   * the kernel has dropped since the last one because the socket was full. Where that is known.
   */
  waited(milliseconds: number, dropped: number): void;
}

/** Every UDP socket of one worker. Two implementations: `recvmmsg`/`sendmmsg` through FFI, and `dgram`. */
export interface UdpTransport {
  readonly kind: 'ffi' | 'dgram';
  readonly arena: Arena;
  /** How long this thread has waited for datagrams where its event loop does not count it. */
  readonly waitedMs: number;
  /**
   * Binds a socket and starts to deliver what arrives to the handler under `listener`.
   * Binds also where the address is not (yet) on this host (IP_FREEBIND) where the platform can.
   * Rejects with AgentError code LISTEN, naming address and port.
   */
  open(address: string, port: number, listener: number): Promise<UdpSocket>;
  /** Sends all that is queued on every socket. Called by the transport itself after each received batch; by others after sending outside of one. */
  flush(): void;
  close(): Promise<void>;
}

export interface UdpSocket {
  /** The port really bound (differs from the asked one if that was 0). */
  readonly port: number;
  /** Index handed to the handler; reassigned when a new plan numbers listeners anew. */
  listener: number;
  /**
   * Queues one datagram. Never throws, never waits: what the kernel does not take is counted in `dropped`. Without effect where the family differs.
   * Returns where its text stands in one piece in the arena's bytes, until the next message is sent; −1: nowhere.
   */
  send(to: Endpoint, message: Segments): number;
  close(): Promise<void>;
}

/** Counts that a transport keeps; read by the worker, never reset. */
export interface TransportCounts {
  received: number;
  sent: number;
  /** Datagrams that the kernel refused to send, and stream messages dropped because a peer's queue was full. */
  sendDropped: number;
  /** Stream messages dropped because all queues together were full. */
  overBudget: number;
  /** Datagrams longer than the receive buffer (MSG_TRUNC), and stream messages over the size limit. */
  oversized: number;
  /** Datagrams that the kernel dropped because the socket was full. FFI only. */
  receiveDropped: number;
  receivedBytes: number;
  sentBytes: number;
}

/** Every TCP connection (and listener) of one worker. Framing is done; the handler sees whole messages. */
export interface StreamTransport {
  /** Listens (SO_REUSEPORT, IP_FREEBIND). Rejects with AgentError code LISTEN. `options` left out: plain TCP. */
  listen(address: string, port: number, listener: number, options?: StreamOptions): Promise<StreamListener>;
  /** Sends on an open connection. False: there is no such connection (any more). */
  send(connection: number, message: Segments): boolean;
  /** The remote end of an open connection is this address and port. */
  isPeer(connection: number, address: Endpoint): boolean;
  /**
   * Sends to an address over the connection that is open to it, or opens one (TCP or TLS, by `to.transport`) from `localAddress` and
   * queues meanwhile (bounded). `listener` is what messages arriving on a connection opened this way are delivered under, and whose
   * `peers` say how TLS peers are verified. False: queue full, dropped; or a WebSocket client that is not connected.
   */
  sendTo(to: Endpoint, message: Segments, localAddress: string, listener: number): boolean;
  /** Closes the connections, accepted and opened, whose remote end and listener number match. */
  closeWhere(matches: (remote: Readonly<Endpoint>, listener: number) => boolean): void;
  close(): Promise<void>;
}

/** What became of connections, beside the messages on them. Read by the worker, never reset. */
export interface ConnectionCounts {
  /** Opened by peers. */
  accepted: number;
  /** Opened by us. */
  connected: number;
  connectFailed: number;
  /** Closed at once: too many already, in all or from one source. */
  refused: number;
  /** Closed before SIP began: a bad PROXY header, TLS handshake or WebSocket upgrade, or one that did not end. */
  handshakeFailed: number;
  /** Closed because what came was not SIP. */
  malformed: number;
  /** Closed because nothing came, or a message did not end. */
  expired: number;
}

export interface StreamListener {
  readonly port: number;
  listener: number;
  /** Open connections: accepted ones, and those opened for it. */
  readonly connections: number;
  readonly connectionCounts: Readonly<ConnectionCounts>;
  /**
   * Makes other options ready (throws where it cannot) and returns what puts them into effect. Open connections and handshakes under way
   * go on as they began; the next connection gets the new certificates. The transport cannot change.
   */
  renew(options: StreamOptions): () => void;
  close(): Promise<void>;
}

/** How a stream listener is run. */
export interface StreamOptions {
  transport: Exclude<TransportCode, typeof TRANSPORT.udp>;
  /** Of tls and wss listeners. */
  tls?: TlsServerOptions;
  /** Of ws and wss listeners: browsers are let in from pages of these origins only. Left out: from any. */
  origins?: readonly string[];
  /** Load balancers that announce the client's address with a PROXY header: it is required from them and believed from nobody else. */
  proxyFrom?: readonly AddressBlock[];
  /** Connections at a time from one address. Left out: no limit but the total one. */
  connectionsPerSource?: number;
  /** Milliseconds; left out: the transport's default. */
  idleTime?: number;
  messageTime?: number;
  /** How TLS backends that are spoken to from this listener are verified. */
  peers?: readonly ({ address: string; port: number } & TlsClientOptions)[];
}

/** PEM texts. */
export interface CertificateWithKey {
  certificate: string;
  privateKey: string;
}

export interface TlsServerOptions {
  /** Chosen by the name that the client asks for (SNI, RFC 6066 §3); the first serves where none fits. */
  certificates: readonly CertificateWithKey[];
  clientCertificate: 'none' | 'request' | 'require';
  /** PEM: who may have issued the clients' certificates. */
  clientCa?: string;
}

export interface TlsClientOptions {
  verify: boolean;
  /** PEM; left out: the system's CAs. */
  ca?: string;
  /** The name that the certificate must hold, also sent as SNI; left out: the address. */
  serverName?: string;
}

/** A CIDR block: four words and the prefix length in the 128-bit form. */
export interface AddressBlock {
  ip: readonly [number, number, number, number];
  bits: number;
}

/** Told every SIP message that a probe of the agent's own sends or receives, in the clear. */
export type ProbeTap = (message: {
  transport: TransportName;
  sent: boolean;
  local: { address: string; port: number };
  remote: { address: string; port: number };
  bytes: Uint8Array;
}) => void;

/** Hands messages to the worker that owns a connection, through shared memory. */
export interface Mailbox {
  /** Queues bytes for `connection` of `worker`. False: its box is full, dropped. */
  post(worker: number, connection: number, message: Segments): boolean;
  /** Takes what arrived for this worker. */
  drain(take: (connection: number, bytes: Uint8Array, start: number, end: number) => void): void;
}

/** Control thread → data thread. Prepare binds; commit swaps between batches; both are answered. */
export type WorkerCommand =
  | {
      type: 'prepare';
      plan: import('./plan.ts').Plan;
      counters: SharedArrayBuffer /** Names the plan in events. */;
      serial: number;
    }
  | { type: 'commit'; etag: string }
  | { type: 'abort'; etag: string }
  | { type: 'close' };

/** Data thread → control thread. */
export type WorkerEvent =
  /** `played`: what became of the warm-up, or why there was none. */
  | { type: 'ready'; played?: { calls: number; answered: number } | string }
  | { type: 'prepared'; etag: string /** Really bound ports, in the order of plan.listeners. */; ports: number[] }
  | { type: 'failed'; etag: string; reason: string }
  | { type: 'committed'; etag: string }
  /** A fault of ours cost one message. */
  | { type: 'fault'; reason: string }
  | { type: 'closed' };

/** `workerData` of a data thread. */
export interface WorkerStart {
  index: number;
  workers: number;
  /** Shared memory of the mailboxes between workers, made by transport/mailbox.ts. */
  mailboxes: SharedArrayBuffer;
  /** Shared memory of where registered clients are, made by proxy/flows.ts. */
  flows: SharedArrayBuffer;
  /** Shared memory of the site's other agents, made by proxy/peers.ts. */
  peers: SharedArrayBuffer;
  /** Shared memory of which connections are open, made by transport/open-connections.ts. */
  openConnections: SharedArrayBuffer;
  /** Memory of this worker's ring, made by telemetry/events.ts. */
  events: SharedArrayBuffer;
  /** Memory of this worker's tape, made by telemetry/tape.ts; empty: nothing is recorded. */
  tape: SharedArrayBuffer;
  /** `auto`: ffi where koffi and Linux are there, else dgram. */
  datapath: 'auto' | 'ffi' | 'dgram';
  /** The plan of the calls that are played before it is ready (warm-up/plan.ts); undefined: it is ready at once. */
  warmUp: import('./plan.ts').Plan | undefined;
  /** 16 bytes, the same in every worker of this process; seeds hashes that need not agree across agents. */
  seed: Uint8Array;
}

/** Secrets by name, each a mapping of keys to values. Held in memory only; never logged, never in a plan's description. */
export type Secrets = ReadonlyMap<string, Readonly<Record<string, string>>>;

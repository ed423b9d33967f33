import type { ConnectionCounts } from '../ports.ts';

/** What one worker grants its streams. Sizes in bytes, times in milliseconds. */
export interface StreamLimits {
  /** Start line and headers of one message. */
  header: number;
  body: number;
  /** Waiting to be sent on one connection; what comes on top is dropped. */
  queued: number;
  /** Waiting to be sent on all connections together; above it a connection that has something waiting gets nothing on top. */
  queuedInAll: number;
  /** Messages that wait for a connection to be established. */
  connecting: number;
  /** For an outgoing connection to be established, TLS included. */
  connectTime: number;
  /** From accepting a connection to where SIP begins: PROXY header, TLS handshake, WebSocket upgrade. */
  handshakeTime: number;
  /** Accepted connections; further ones are closed at once. */
  connections: number;
  /** With nothing received, not even a CRLF (RFC 5626 asks for one every 2 minutes or more often). */
  idleTime: number;
  /** Silence after which a WebSocket client is pinged: browsers send no keepalives of their own, and proxies cut after a minute. */
  pingTime: number;
  /** From the first byte of a message to its last. */
  messageTime: number;
  /** For the peer to take what is queued when a connection is closed in order. */
  closeTime: number;
}

export const STREAM_LIMITS: Readonly<StreamLimits> = Object.freeze({
  header: 16 << 10,
  body: 64 << 10,
  queued: 1 << 20,
  queuedInAll: 128 << 20,
  connecting: 64,
  connectTime: 5000,
  handshakeTime: 10_000,
  connections: 20_000,
  idleTime: 600_000,
  pingTime: 25_000,
  messageTime: 30_000,
  closeTime: 1000,
});

export function createConnectionCounts(): ConnectionCounts {
  return { accepted: 0, connected: 0, connectFailed: 0, refused: 0, handshakeFailed: 0, malformed: 0, expired: 0 };
}

export function sumCounts(all: readonly Readonly<ConnectionCounts>[]): ConnectionCounts {
  const sum = createConnectionCounts();
  for (const counts of all) for (const key of Object.keys(sum) as (keyof ConnectionCounts)[]) sum[key] += counts[key];
  return sum;
}

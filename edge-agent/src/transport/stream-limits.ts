/** What one worker grants its streams. Sizes in bytes, times in milliseconds. */
export interface StreamLimits {
  /** Start line and headers of one message. */
  header: number;
  body: number;
  /** Waiting to be sent on one connection; what comes on top is dropped. */
  queued: number;
  /** Messages that wait for a connection to be established. */
  connecting: number;
  connectTime: number;
  /** Accepted connections; further ones are closed at once. */
  connections: number;
  /** With nothing received, not even a CRLF (RFC 5626 asks for one every 2 minutes or more often). */
  idleTime: number;
  /** From the first byte of a message to its last. */
  messageTime: number;
  /** For the peer to take what is queued when a connection is closed in order. */
  closeTime: number;
}

export const STREAM_LIMITS: Readonly<StreamLimits> = Object.freeze({
  header: 16 << 10,
  body: 64 << 10,
  queued: 1 << 20,
  connecting: 64,
  connectTime: 5000,
  connections: 20_000,
  idleTime: 600_000,
  messageTime: 30_000,
  closeTime: 1000,
});

/** What became of connections, beside the messages on them. Read by the worker, never reset. */
export interface ConnectionCounts {
  /** Opened by peers. */
  accepted: number;
  /** Opened by us. */
  connected: number;
  connectFailed: number;
  /** Closed at once: too many already. */
  refused: number;
  /** Closed because what came was not SIP. */
  malformed: number;
  /** Closed because nothing came, or a message did not end. */
  expired: number;
}

export function createConnectionCounts(): ConnectionCounts {
  return { accepted: 0, connected: 0, connectFailed: 0, refused: 0, malformed: 0, expired: 0 };
}

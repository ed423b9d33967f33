import type { ProbeFault } from './fault.ts';
import type { Peer } from './locate.ts';
import type { ProbeTransport } from './options.ts';

/** One way to one peer. */
export interface Channel {
  readonly transport: ProbeTransport;
  /** Nothing gets lost, so nothing is sent twice (RFC 3261 §17.1.1.2). */
  readonly reliable: boolean;
  /** What stands in Via and Contact. */
  readonly local: { address: string; port: number };
  readonly peer: Peer;
  /** Sends a message, to the peer unless UDP can reach another address that the dialog names. Never throws. */
  send(bytes: Uint8Array, to?: { address: string; port: number }): void;
  /** Safe to call twice. */
  close(): void;
}

export interface ChannelEvents {
  /** One message. A response to it goes back where it came from. */
  message(bytes: Uint8Array, reply: (bytes: Uint8Array) => void): void;
  /** The peer cannot be reached (any more). Not called before the channel is open, nor after it is closed. */
  failed(fault: ProbeFault): void;
}

/** How a channel is opened. */
export interface ChannelSettings {
  /** Port 0: any. Left out: the kernel chooses. */
  leg?: { address: string; port: number };
  tls: { ca?: string; insecure?: boolean };
}

/** Longer messages are dropped (UDP) or end the channel: no answer to a probe comes near this. */
export const MESSAGE_LIMIT = { header: 16_384, body: 16_384 } as const;

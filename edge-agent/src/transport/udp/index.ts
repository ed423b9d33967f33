import { AgentError } from '../../errors.ts';
import type { MessageHandler, TransportCounts, UdpEvents, UdpTransport } from '../../ports.ts';
import { createCounts } from '../counts.ts';
import { loadLibc } from '../libc.ts';
import { DgramUdpTransport } from './dgram.ts';
import { FfiUdpTransport } from './ffi.ts';

/** RFC 3261 §18.1.1: a receiver takes the longest UDP datagram. Untouched pages of the buffers cost no memory. */
const LONGEST_DATAGRAM = 65_535;

export interface UdpTransportOptions {
  /** `auto`: ffi where koffi and Linux (x86-64, arm64) are there, else dgram. */
  kind: 'auto' | 'ffi' | 'dgram';
  handler: MessageHandler;
  counts?: TransportCounts;
  /** After the handler has had a batch, before what it queued is sent: the time to queue what else is to go out. */
  onBatchEnd?: () => void;
  /** See {@link UdpEvents.waited}. FFI only. */
  onWaited?: UdpEvents['waited'];
  /** Longer datagrams are counted as oversized and not delivered. */
  maxDatagram?: number;
}

/**
 * Every UDP socket of one worker. Throws AgentError USAGE where ffi is asked for and not there.
 *
 * @example
 * const udp = createUdpTransport({ kind: 'auto', handler: (bytes, start, end, from, listener) => … });
 * const socket = await udp.open('192.0.2.10', 5060, 0);
 */
export function createUdpTransport(options: UdpTransportOptions): UdpTransport {
  const {
    kind,
    counts = createCounts(),
    onBatchEnd = () => {},
    onWaited = () => {},
    maxDatagram = LONGEST_DATAGRAM,
  } = options;
  const events: UdpEvents = { handler: options.handler, batchEnded: onBatchEnd, waited: onWaited };
  if (kind === 'dgram') return new DgramUdpTransport(events, counts, maxDatagram);
  const libc = loadLibc();
  if (libc) return new FfiUdpTransport(libc, events, counts, maxDatagram);
  if (kind === 'auto') return new DgramUdpTransport(events, counts, maxDatagram);
  throw new AgentError(
    'USAGE',
    `datapath ffi is not available on ${process.platform}-${process.arch}; allowed here: auto, dgram`,
  );
}

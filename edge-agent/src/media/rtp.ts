/** RFC 3550 §5.1: the fixed header. */
const HEADER_BYTES = 12;
/** Milliseconds of audio in a packet. RFC 3551 §4.2's default is 20. */
export const PACKET_MS = 20;
/** Bytes, and units of the timestamp, in such a packet at 8,000 Hz and a byte a sample. */
export const PACKET_SAMPLES = 160;

/** One RTP packet, as far as a receiver of G.711 needs it. */
export interface RtpPacket {
  payloadType: number;
  marker: boolean;
  sequence: number;
  timestamp: number;
  ssrc: number;
  payload: Uint8Array;
}

/** A packet as bytes. Numbers are taken modulo their field. */
export function formatRtp(packet: RtpPacket): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + packet.payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 2 << 6);
  view.setUint8(1, (packet.marker ? 0x80 : 0) | packet.payloadType);
  view.setUint16(2, packet.sequence);
  view.setUint32(4, packet.timestamp);
  view.setUint32(8, packet.ssrc);
  bytes.set(packet.payload, HEADER_BYTES);
  return bytes;
}

/** Reads a packet; undefined where the bytes are none (RFC 3550 A.1: version, and a length that holds what the header promises). */
export function parseRtp(bytes: Uint8Array): RtpPacket | undefined {
  if (bytes.length < HEADER_BYTES || bytes[0]! >> 6 !== 2) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let start = HEADER_BYTES + (bytes[0]! & 0x0f) * 4;
  if (bytes[0]! & 0x10) {
    if (start + 4 > bytes.length) return undefined;
    start += 4 + view.getUint16(start + 2) * 4;
  }
  const padding = bytes[0]! & 0x20 ? bytes[bytes.length - 1]! : 0;
  const end = bytes.length - padding;
  if (start > end || (bytes[0]! & 0x20 && padding === 0)) return undefined;
  return {
    payloadType: bytes[1]! & 0x7f,
    marker: (bytes[1]! & 0x80) !== 0,
    sequence: view.getUint16(2),
    timestamp: view.getUint32(4),
    ssrc: view.getUint32(8),
    payload: bytes.subarray(start, end),
  };
}

/** What a receiver knows of its sender. */
export interface ReceiverReport {
  /** Packets that came, duplicates included, as RFC 3550 A.3 counts. */
  received: number;
  /** Packets that should have come and did not; never below 0, where duplicates outweigh. */
  lost: number;
  /** `lost` of what should have come, 0–1. */
  loss: number;
  /** Interarrival jitter at the end (RFC 3550 §6.4.1). */
  jitterMs: number;
}

/** RFC 3550 A.1. A jump further ahead than this, or further back than the second, is a sender that began anew. */
const MAX_DROPOUT = 3000;
const MAX_MISORDER = 100;
const SEQUENCES = 1 << 16;
const CLOCK_PER_MS = 8;

/**
 * The statistics of RFC 3550 A.1, A.3 and A.8 for one sender. A sender that changes its SSRC or jumps in its sequence (as a
 * PBX does between ringback and the call) is counted on from there. Pure: the time of arrival is handed in.
 */
export class RtpReceiver {
  #ssrc = -1;
  #base = 0;
  #highest = 0;
  /** Expected packets of senders before the current one, and wraps of the current one. */
  #expectedBefore = 0;
  #cycles = 0;
  #received = 0;
  #transit = 0;
  #jitter = 0;
  /** After a jump the next number proves that the sender went on from there; −1: no jump. */
  #afterJump = -1;

  /** Takes one packet that arrived at `nowMs` (any monotonic clock). */
  add(packet: RtpPacket, nowMs: number): void {
    const transit = nowMs * CLOCK_PER_MS - packet.timestamp;
    if (packet.ssrc !== this.#ssrc) this.#begin(packet, transit);
    else if (!this.#follow(packet, transit)) return;
    this.#received++;
    // A.8, in floating point; the difference of two 32-bit timestamps wraps (RFC 3550 §5.1).
    const d = Math.abs(wrap32(transit - this.#transit));
    this.#transit = transit;
    this.#jitter += (d - this.#jitter) / 16;
  }

  get report(): ReceiverReport {
    const expected = this.#ssrc < 0 ? 0 : this.#expectedBefore + this.#expected;
    const lost = Math.max(0, expected - this.#received);
    return {
      received: this.#received,
      lost,
      loss: expected === 0 ? 0 : lost / expected,
      jitterMs: this.#jitter / CLOCK_PER_MS,
    };
  }

  get #expected(): number {
    return this.#cycles * SEQUENCES + this.#highest - this.#base + 1;
  }

  #begin(packet: RtpPacket, transit: number): void {
    if (this.#ssrc >= 0) this.#expectedBefore += this.#expected;
    this.#ssrc = packet.ssrc;
    this.#base = this.#highest = packet.sequence;
    this.#cycles = 0;
    this.#transit = transit;
    this.#afterJump = -1;
  }

  /** False: a jump that nothing has confirmed yet; the packet is not counted. */
  #follow(packet: RtpPacket, transit: number): boolean {
    const ahead = (packet.sequence - this.#highest) & 0xffff;
    if (ahead < MAX_DROPOUT) {
      if (packet.sequence < this.#highest) this.#cycles++;
      this.#highest = packet.sequence;
    } else if (ahead <= SEQUENCES - MAX_MISORDER) {
      if (packet.sequence !== this.#afterJump) {
        this.#afterJump = (packet.sequence + 1) & 0xffff;
        return false;
      }
      this.#begin(packet, transit);
    }
    return true;
  }
}

/** A difference as the 32-bit signed number it stands for. */
const wrap32 = (value: number): number => {
  const whole = Math.round(value);
  return ((((whole + 2 ** 31) % 2 ** 32) + 2 ** 32) % 2 ** 32) - 2 ** 31 + (value - whole);
};

/**
 * How many packets are due: the nth at `start + n × 20 ms`, whatever the timers did before, so that nothing drifts. A sender that
 * was held up catches up in steps of `MAX_BURST`; after a longer hold (a machine that slept) it goes on from now.
 */
export class Pacer {
  readonly #start: number;
  #sent = 0;
  #skipped = 0;

  constructor(startMs: number) {
    this.#start = startMs;
  }

  /** Packets to send now, counted as sent. */
  take(nowMs: number): number {
    const behind = Math.floor((nowMs - this.#start) / PACKET_MS) + 1 - this.#sent - this.#skipped;
    if (behind <= 0) return 0;
    if (behind > MAX_BEHIND) {
      this.#skipped += behind - 1;
      this.#sent++;
      return 1;
    }
    const now = Math.min(behind, MAX_BURST);
    this.#sent += now;
    return now;
  }

  /** Milliseconds until the next packet is due; 0 where one is. */
  wait(nowMs: number): number {
    return Math.max(0, this.#start + (this.#sent + this.#skipped) * PACKET_MS - nowMs);
  }
}

const MAX_BURST = 5;
const MAX_BEHIND = 50;

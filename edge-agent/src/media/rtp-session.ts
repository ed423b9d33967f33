import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { type Codec, decode, PCMA, PCMU, transcode } from './g711.ts';
import { type AudioReport, LevelMeter } from './quality.ts';
import { formatRtp, PACKET_SAMPLES, Pacer, parseRtp, RtpReceiver } from './rtp.ts';

/** Ports are tried until one is even: RFC 3550 §11 gives the odd one above it to RTCP. */
const PORT_TRIES = 8;

/** One end of an audio stream on a socket of its own. */
export class RtpSession {
  readonly #socket: Socket;
  readonly #ssrc: number;
  #sequence: number;
  #timestamp: number;
  #remote: { address: string; port: number } | undefined;
  #codec: Codec = PCMU;
  #sent = 0;
  #early = 0;
  #answered = false;
  #closed = false;
  #receiver = new RtpReceiver();
  #meter = new LevelMeter();
  #waiting: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // RFC 3550 §5.1: all three begin at random.
    const random = randomBytes(10);
    this.#ssrc = random.readUInt32BE();
    this.#timestamp = random.readUInt32BE(4);
    this.#sequence = random.readUInt16BE(8);
    socket.on('message', (bytes) => this.#take(bytes));
    // An error of one datagram (a port unreachable, an address out of reach) shows as packets that do not come back.
    socket.on('error', () => {});
  }

  /** Binds an even port of the address. Rejects where the address is not this host's. */
  static async open(address: string): Promise<RtpSession> {
    for (let tries = 1; ; tries++) {
      const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
      socket.bind(0, address);
      await once(socket, 'listening');
      if (socket.address().port % 2 === 0 || tries === PORT_TRIES) return new RtpSession(socket);
      socket.close();
    }
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Where audio goes from now on, and in which codec; undefined: nowhere, while the time of the audio passes all the same. */
  sendTo(remote: { address: string; port: number } | undefined, codec: Codec): void {
    const family = this.#socket.address().family === 'IPv6' ? 6 : 4;
    this.#remote = remote && isIP(remote.address) === family ? remote : undefined;
    this.#codec = codec;
  }

  /** The call is answered: what came before was ringback or an announcement. */
  answered(): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#early = this.#receiver.report.received;
    this.#receiver = new RtpReceiver();
    this.#meter = new LevelMeter();
  }

  /** Sends PCMU audio, a packet every 20 ms. Resolves when the time of all of it has passed; rejects with the signal's reason. */
  async play(pcmu: Uint8Array, signal: AbortSignal): Promise<void> {
    const pacer = new Pacer(performance.now());
    let at = 0;
    let first = true;
    while (at < pcmu.length) {
      signal.throwIfAborted();
      for (let due = pacer.take(performance.now()); due > 0 && at < pcmu.length; due--) {
        this.#send(pcmu.subarray(at, at + PACKET_SAMPLES), first);
        first = false;
        at += PACKET_SAMPLES;
      }
      await pause(pacer.wait(performance.now()), signal);
    }
  }

  /** Resolves once as many packets have come as are asked for, or after `ms`. */
  async hears(packets: number, ms: number, signal: AbortSignal): Promise<void> {
    if (this.#receiver.report.received >= packets) return;
    const heard = new AbortController();
    this.#waiting = () => {
      if (this.#receiver.report.received >= packets) heard.abort();
    };
    await pause(ms, AbortSignal.any([signal, heard.signal])).catch(() => {});
    this.#waiting = undefined;
    signal.throwIfAborted();
  }

  get report(): AudioReport {
    const { levelDb } = this.#meter;
    const report = this.#receiver.report;
    const counted = this.#answered ? report : new RtpReceiver().report;
    return {
      sent: this.#sent,
      early: this.#answered ? this.#early : report.received,
      ...counted,
      ...(levelDb === undefined || !this.#answered ? {} : { levelDb }),
    };
  }

  /** Safe to call twice. */
  close(): void {
    if (!this.#closed) this.#socket.close();
    this.#closed = true;
  }

  #send(pcmu: Uint8Array, marker: boolean): void {
    if (this.#remote && !this.#closed) {
      const packet = formatRtp({
        payloadType: this.#codec,
        marker,
        sequence: this.#sequence,
        timestamp: this.#timestamp,
        ssrc: this.#ssrc,
        payload: transcode(this.#codec, pcmu),
      });
      this.#sequence = (this.#sequence + 1) & 0xffff;
      this.#sent++;
      // The callback takes the error that `send` would otherwise throw out of the event loop.
      this.#socket.send(packet, this.#remote.port, this.#remote.address, () => {});
    }
    // A pause moves the timestamp, not the sequence (RFC 3551 §4.1).
    this.#timestamp = (this.#timestamp + PACKET_SAMPLES) >>> 0;
  }

  #take(bytes: Uint8Array): void {
    const packet = parseRtp(bytes);
    if (!packet || (packet.payloadType !== PCMU && packet.payloadType !== PCMA)) return;
    this.#receiver.add(packet, performance.now());
    this.#meter.add(decode(packet.payloadType, packet.payload));
    this.#waiting?.();
  }
}

/** Resolves after `ms`; rejects with the signal's reason. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

import type { TransportName } from '../../ports.ts';
import { TRANSPORT } from '../../ports.ts';
import { wordsOf } from '../../sip/host.ts';
import { monotonic } from '../events.ts';
import { callIdOf } from '../recorder/kept-call.ts';
import { DIRECTION, TapeReader, type TapeRecord } from '../tape.ts';
import type { HepEncoder, HepEnd, HepPacket } from './packet.ts';

/** Addresses of a plan's listeners, in its order. */
export type HepListeners = readonly { address: string; port: number }[];

/** A message that one of the agent's own probes sent or received. */
export interface ProbeMessage {
  /** On the tapes' clock. */
  time: number;
  transport: TransportName;
  sent: boolean;
  local: { address: string; port: number };
  remote: { address: string; port: number };
  bytes: Uint8Array;
}

/** Where packets go; `ready` false: not now. */
export interface HepSink {
  readonly ready: boolean;
  send(packet: Uint8Array): void;
}

/** Why a message did not leave: overwritten on the tape before it could, or longer than a HEP packet can be. */
export type HepLoss = 'overwritten' | 'too_long';

export interface HepFeedOptions {
  tapes: readonly SharedArrayBuffer[];
  encoder: HepEncoder;
  sink: HepSink;
  redact(message: Uint8Array): Buffer;
  lost(reason: HepLoss, messages: number): void;
}

/** Records taken from one tape before the next one has its turn, and from all before whoever else wants this thread. */
const CHUNK = 64;
const TURN = 2048;
/** Whoever sets the machine's clock moves what is sent by as much; slewing shall not shake it. */
const CLOCK_MS = 20;
const NOWHERE: HepEnd = { words: [0, 0, 0xffff, 0], port: 0 };

/**
 * Takes every message off the tapes and hands it to the sink as a HEP packet. The tapes are the only queue: while the sink takes nothing,
 * messages stay where they are until the data threads overwrite them, which is counted. So memory is bounded and no data thread waits.
 */
export class HepFeed {
  readonly #options: HepFeedOptions;
  readonly #tapes: { reader: TapeReader; since: number }[];
  readonly #plans = new Map<number, HepEnd[]>();
  /** Milliseconds since the epoch at 0 of the tapes' clock. */
  #epoch = Date.now() - monotonic();

  /** What is on the tapes already is not sent. */
  constructor(options: HepFeedOptions) {
    this.#options = options;
    this.#tapes = options.tapes.map((tape) => {
      const reader = new TapeReader(tape);
      return { reader, since: reader.head };
    });
  }

  /** The data threads are about to run a plan with these listeners. */
  use(listeners: HepListeners, serial: number): void {
    this.#plans.set(serial, listeners.map(endOf));
    for (const old of this.#plans.keys()) if (this.#plans.size > 8) this.#plans.delete(old);
  }

  /** Takes what is there, as far as the sink takes it. True: there is more, and the sink could take it. */
  pump(): boolean {
    const drift = Date.now() - monotonic() - this.#epoch;
    if (Math.abs(drift) > CLOCK_MS) this.#epoch += drift;
    for (const tape of this.#tapes) this.#skip(tape);
    let taken = 0;
    for (let before = -1; taken !== before && this.#options.sink.ready; ) {
      if (taken >= TURN) return true;
      before = taken;
      for (const tape of this.#tapes) taken += this.#take(tape);
    }
    return false;
  }

  /** A probe's message. Lost where the sink takes nothing now. */
  probe(message: ProbeMessage): boolean {
    if (!this.#options.sink.ready) return false;
    const local = endOf(message.local);
    const remote = endOf(message.remote);
    this.#send(message.time, protocolOf(TRANSPORT[message.transport]), message.sent, local, remote, message.bytes);
    return true;
  }

  #skip(tape: { reader: TapeReader; since: number }): void {
    const missed = tape.reader.missed(tape.since);
    if (missed > 0) this.#options.lost('overwritten', missed);
    tape.since = tape.reader.scan(tape.since, tape.since, nothing, none);
  }

  #take(tape: { reader: TapeReader; since: number }): number {
    const { reader, since } = tape;
    const { head } = reader;
    const until = ((head - since) | 0) > CHUNK ? (since + CHUNK) | 0 : head;
    if (((until - since) | 0) <= 0) return 0;
    let taken = 0;
    const next = reader.scan(since, until, all, (record, bytes) => {
      taken++;
      this.#record(record, bytes);
    });
    // The writer has passed all of these meanwhile: the next look counts them.
    if (((next - until) | 0) > 0) return 0;
    const gone = ((next - since) | 0) - taken;
    if (gone > 0) this.#options.lost('overwritten', gone);
    tape.since = next;
    return taken + gone;
  }

  #record(record: TapeRecord, bytes: Uint8Array): void {
    const { ip0, ip1, ip2, ip3, port } = record;
    const local = this.#plans.get(record.plan)?.[record.listener] ?? NOWHERE;
    const remote = { words: [ip0, ip1, ip2, ip3], port };
    this.#send(record.time, protocolOf(record.transport), record.direction === DIRECTION.sent, local, remote, bytes);
  }

  #send(time: number, protocol: number, sent: boolean, local: HepEnd, remote: HepEnd, bytes: Uint8Array): void {
    const { redact, encoder, sink, lost } = this.#options;
    const payload = redact(bytes);
    const [from, to] = sent ? [local, remote] : [remote, local];
    const packet: HepPacket = { at: this.#epoch + time, protocol, from, to, callId: callIdOf(payload), payload };
    const encoded = encoder.encode(packet);
    if (encoded) sink.send(encoded);
    else lost('too_long', 1);
  }
}

const all = (): boolean => true;
const nothing = (): boolean => false;
const none = (): void => {};
const protocolOf = (transport: number): number => (transport === TRANSPORT.udp ? 17 : 6);
const endOf = ({ address, port }: { address: string; port: number }): HepEnd => ({
  words: Array.from(wordsOf(address) ?? NOWHERE.words),
  port,
});

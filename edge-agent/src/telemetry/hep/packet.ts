/** One end of a packet: four words as in `Endpoint`, and the port. */
export interface HepEnd {
  words: ArrayLike<number>;
  port: number;
}

/** One SIP message on its way to a HEP server. */
export interface HepPacket {
  /** Milliseconds since the epoch, with a fraction. */
  at: number;
  /** IP protocol: 17 UDP, 6 TCP and what runs over it. */
  protocol: number;
  from: HepEnd;
  to: HepEnd;
  callId: string;
  payload: Uint8Array;
}

/** Who sends. */
export interface HepIdentity {
  /** 32 bits: the capture node's number. */
  agent: number;
  name: string;
  /** Shared with the server; empty: none is sent. */
  key: string;
}

/** HEP3 chunk types of vendor 0 (sipcapture/HEP, revision 37). */
const CHUNK = {
  family: 0x1,
  protocol: 0x2,
  source4: 0x3,
  destination4: 0x4,
  source6: 0x5,
  destination6: 0x6,
  sourcePort: 0x7,
  destinationPort: 0x8,
  seconds: 0x9,
  microseconds: 0xa,
  payloadType: 0xb,
  agent: 0xc,
  key: 0xe,
  payload: 0xf,
  correlation: 0x11,
  name: 0x13,
} as const;
const SIP = 1;
/** AF_INET and AF_INET6 as Linux numbers them. */
const FAMILY = { v4: 2, v6: 10 } as const;
const HEADER = 6;
/** The length field has 16 bits. */
const LONGEST = 65_535;

/** Makes HEPv3 packets: what is the same in all of one agent is encoded once. */
export class HepEncoder {
  readonly #constant: Buffer;

  constructor({ agent, name, key }: HepIdentity) {
    const id = Buffer.alloc(4);
    id.writeUInt32BE(agent >>> 0);
    this.#constant = Buffer.concat([
      chunk(CHUNK.payloadType, Buffer.of(SIP)),
      chunk(CHUNK.agent, id),
      ...(key === '' ? [] : [chunk(CHUNK.key, Buffer.from(key))]),
      chunk(CHUNK.name, Buffer.from(name)),
    ]);
  }

  /**
   * The packet's bytes, the same over UDP and TCP: its length is in its head. Undefined where the message is too long for HEP.
   *
   * @example encode({ at: Date.now(), protocol: 17, from, to, callId: 'a84b4c76@pc33', payload })
   */
  encode({ at, protocol, from, to, callId, payload }: HepPacket): Buffer | undefined {
    const v4 = isV4(from.words) && isV4(to.words);
    const address = v4 ? 4 : 16;
    const correlation = Buffer.from(callId);
    const fixed = HEADER + 2 * 7 + 2 * (6 + address) + 2 * 8 + 2 * 10;
    const length = fixed + this.#constant.length + (6 + correlation.length) + (6 + payload.length);
    if (length > LONGEST) return undefined;
    const out = Buffer.allocUnsafe(length);
    out.write('HEP3', 0, 'latin1');
    out.writeUInt16BE(length, 4);
    let used = head(out, HEADER, CHUNK.family, 1);
    used = out.writeUInt8(v4 ? FAMILY.v4 : FAMILY.v6, used);
    used = out.writeUInt8(protocol, head(out, used, CHUNK.protocol, 1));
    used = words(out, head(out, used, v4 ? CHUNK.source4 : CHUNK.source6, address), from.words, v4);
    used = words(out, head(out, used, v4 ? CHUNK.destination4 : CHUNK.destination6, address), to.words, v4);
    used = out.writeUInt16BE(from.port, head(out, used, CHUNK.sourcePort, 2));
    used = out.writeUInt16BE(to.port, head(out, used, CHUNK.destinationPort, 2));
    const micros = Math.round(at * 1000);
    used = out.writeUInt32BE(Math.floor(micros / 1e6), head(out, used, CHUNK.seconds, 4));
    used = out.writeUInt32BE(micros % 1e6, head(out, used, CHUNK.microseconds, 4));
    used += this.#constant.copy(out, used);
    used = head(out, used, CHUNK.correlation, correlation.length);
    used += correlation.copy(out, used);
    out.set(payload, head(out, used, CHUNK.payload, payload.length));
    return out;
  }
}

/** IPv4 as ::ffff:a.b.c.d. */
const isV4 = (w: ArrayLike<number>): boolean => w[0] === 0 && w[1] === 0 && w[2] === 0xffff;

function head(out: Buffer, at: number, type: number, length: number): number {
  out.writeUInt16BE(0, at);
  out.writeUInt16BE(type, at + 2);
  return out.writeUInt16BE(HEADER + length, at + 4);
}

function words(out: Buffer, at: number, address: ArrayLike<number>, v4: boolean): number {
  let used = at;
  for (let i = v4 ? 3 : 0; i < 4; i++) used = out.writeUInt32BE((address[i] as number) >>> 0, used);
  return used;
}

function chunk(type: number, value: Buffer): Buffer {
  const out = Buffer.alloc(HEADER + value.length);
  value.copy(out, head(out, 0, type, value.length));
  return out;
}

import type { Random } from './random.ts';

/** What a browser sends on a WebSocket connection (RFC 6455), byte by byte, so that every byte can be wrong. Text is Latin-1. */

/** The upgrade; the key is the RFC's own example. */
export const upgrade = (host: string): string =>
  [
    'GET /sip HTTP/1.1',
    `Host: ${host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: sip',
    '',
    '',
  ].join('\r\n');

const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
const FIN = 0x80;
const MASKED = 0x80;

interface FrameOptions {
  opcode?: number;
  /** The last of its message. */
  fin?: boolean;
  /** Reserved bits, 0 to 7. */
  reserved?: number;
  masked?: boolean;
  /** What the header says of the payload's length; left out: the truth. */
  length?: bigint;
}

/** One frame of a client (RFC 6455 §5.2). */
export function frame(random: Random, payload: string, options: FrameOptions = {}): string {
  const { opcode = OPCODE.text, fin = true, reserved = 0, masked = true, length = BigInt(payload.length) } = options;
  const mask = Buffer.alloc(4);
  if (masked) mask.writeUInt32BE(random.next());
  const first = (fin ? FIN : 0) | (reserved << 4) | opcode;
  const bit = masked ? MASKED : 0;
  const body = Buffer.from(payload, 'latin1').map((byte, i) => byte ^ mask[i & 3]!);
  const parts = [sized(first, bit, length), ...(masked ? [mask] : []), body];
  return Buffer.concat(parts).toString('latin1');
}

function sized(first: number, bit: number, length: bigint): Buffer {
  if (length < 126n) return Buffer.of(first, bit | Number(length));
  if (length < 65_536n) return Buffer.of(first, bit | 126, Number(length >> 8n), Number(length & 255n));
  const head = Buffer.alloc(10);
  head[0] = first;
  head[1] = bit | 127;
  head.writeBigUInt64BE(length, 2);
  return head;
}

const LENGTHS = [0n, 1n, 125n, 126n, 127n, 65_535n, 65_536n, 2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** Wrong frames: in what a header says, in their order, or in a byte somewhere. */
const WRONG: readonly ((random: Random, text: string) => string)[] = [
  (random, text) => frame(random, text, { opcode: random.below(16) }),
  (random, text) => frame(random, text, { reserved: 1 + random.below(7) }),
  (random, text) => frame(random, text, { masked: false }),
  (random, text) => frame(random, text, { length: random.pick(LENGTHS) }),
  /** A message in many pieces, with a ping between them, or with one of them missing. */
  function pieces(random, text) {
    const size = 1 + random.below(200);
    const out: string[] = [];
    for (let at = 0; at < text.length && out.length < 100; at += size) {
      const opcode = at === 0 ? OPCODE.text : OPCODE.continuation;
      out.push(frame(random, text.slice(at, at + size), { opcode, fin: at + size >= text.length }));
      if (random.oneIn(4)) out.push(frame(random, 'x', { opcode: OPCODE.ping }));
      if (random.oneIn(30)) out.pop();
    }
    return out.join('');
  },
  (random, text) => frame(random, text, { fin: false }).repeat(1 + random.below(20)),
  (random, text) => frame(random, text, { opcode: OPCODE.continuation }),
  /** Control frames: too long, in pieces, or by the hundred. */
  (random, text) => frame(random, text, { opcode: random.pick([OPCODE.ping, OPCODE.pong, OPCODE.close]) }),
  (random) => frame(random, 'x', { opcode: OPCODE.ping, fin: random.oneIn(2) }).repeat(200),
  (random) => frame(random, String.fromCharCode(random.below(256), random.below(256)), { opcode: OPCODE.close }),
  function bytes(random, text) {
    const sent = frame(random, text, { opcode: OPCODE.binary });
    const at = random.below(Math.min(16, sent.length));
    return sent.slice(0, at) + String.fromCharCode(random.below(256)) + sent.slice(at + 1 + random.below(3));
  },
];

/** A message in frames that no browser would send, and a right one behind them. */
export const wrongFrames = (random: Random, text: string): string =>
  random.pick(WRONG)(random, text) + frame(random, text);

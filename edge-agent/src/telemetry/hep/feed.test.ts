import { beforeEach, expect, test } from 'vitest';
import { type Endpoint, TRANSPORT } from '../../ports.ts';
import { monotonic } from '../events.ts';
import { createRedactor } from '../recorder/redact.ts';
import { createTape, TapeWriter } from '../tape.ts';
import { HepFeed, type HepLoss } from './feed.ts';
import { HepEncoder } from './packet.ts';

const PHONE: Endpoint = {
  transport: TRANSPORT.tls,
  ip0: 0,
  ip1: 0,
  ip2: 0xffff,
  ip3: 0x0a000007,
  port: 40_000,
  connection: 1,
};
const PBX: Endpoint = { ...PHONE, transport: TRANSPORT.udp, ip3: 0x0a00000b, port: 5060 };
const LISTENERS = [
  { address: '192.0.2.1', port: 5061 },
  { address: '192.0.2.1', port: 5060 },
];

let tapes: SharedArrayBuffer[];
let writers: TapeWriter[];
let sent: Buffer[];
let lost: Partial<Record<HepLoss, number>>;
let sink: { ready: boolean; send(packet: Uint8Array): void };
let feed: HepFeed;
beforeEach(() => {
  tapes = [createTape(4096), createTape(4096)];
  writers = tapes.map((tape) => new TapeWriter(tape, monotonic));
  sent = [];
  lost = {};
  sink = { ready: true, send: (packet) => sent.push(Buffer.from(packet)) };
  feed = new HepFeed({
    tapes,
    encoder: new HepEncoder({ agent: 1, name: 'edge', key: '' }),
    sink,
    redact: createRedactor({ headers: ['x-secret'], hashUsers: false, key: '' }),
    lost: (reason, n) => {
      lost[reason] = (lost[reason] ?? 0) + n;
    },
  });
  for (const writer of writers) writer.plan = 5;
  feed.use(LISTENERS, 5);
});

const message = (callId: string, more = ''): Uint8Array =>
  Buffer.from(`OPTIONS sip:x SIP/2.0\r\ni: ${callId}\r\n${more}\r\n`);
const receive = (writer: number, text: Uint8Array): void =>
  writers[writer]!.received(1, text, 0, text.length, PHONE, 0);

interface Decoded {
  from: string;
  to: string;
  protocol: number;
  callId: string;
  at: number;
  text: string;
}
function decode(packet: Buffer): Decoded {
  const chunks = new Map<number, Buffer>();
  for (let at = 6; at < packet.length; at += packet.readUInt16BE(at + 4))
    chunks.set(packet.readUInt16BE(at + 2), packet.subarray(at + 6, at + packet.readUInt16BE(at + 4)));
  const address = (host: number, port: number) =>
    `${[...chunks.get(host)!].join('.')}:${chunks.get(port)!.readUInt16BE()}`;
  return {
    from: address(3, 7),
    to: address(4, 8),
    protocol: chunks.get(2)![0]!,
    callId: chunks.get(0x11)!.toString(),
    at: chunks.get(9)!.readUInt32BE() * 1000 + chunks.get(10)!.readUInt32BE() / 1000,
    text: chunks.get(0xf)!.toString(),
  };
}

test('what came over TLS and what went on over UDP leaves in the clear, with both ends, its time and its Call-ID, without secrets', () => {
  const secret = 'Authorization: Digest a\r\nX-Secret: b\r\n';
  const bytes = message('c1@phone', secret);
  receive(0, bytes);
  const segments = {
    count: 1,
    bytes: [bytes],
    start: Int32Array.of(0),
    end: Int32Array.of(bytes.length),
    length: bytes.length,
  };
  writers[0]!.sent(PBX, segments, 1);
  expect(feed.pump()).toBe(false);
  const text = Buffer.from(message('c1@phone', 'Authorization: Digest x\r\nX-Secret: x\r\n')).toString();
  const common = { callId: 'c1@phone', text, at: expect.closeTo(Date.now(), -5) as unknown as number };
  expect(sent.map(decode)).toEqual([
    { from: '10.0.0.7:40000', to: '192.0.2.1:5061', protocol: 6, ...common },
    { from: '192.0.2.1:5060', to: '10.0.0.11:5060', protocol: 17, ...common },
  ]);
  feed.pump();
  expect(sent).toHaveLength(2);
});

test('messages of every data thread leave; what a probe sends and receives, too', () => {
  receive(1, message('b'));
  receive(0, message('a'));
  feed.pump();
  const probe = {
    time: monotonic(),
    transport: 'udp',
    local: { address: '192.0.2.1', port: 7 },
    remote: { address: '10.0.0.11', port: 5060 },
  } as const;
  expect(feed.probe({ ...probe, sent: true, bytes: message('p') })).toBe(true);
  expect(feed.probe({ ...probe, sent: false, bytes: message('p') })).toBe(true);
  expect(
    sent
      .map(decode)
      .map(({ callId }) => callId)
      .sort(),
  ).toEqual(['a', 'b', 'p', 'p']);
  expect(
    sent
      .slice(2)
      .map(decode)
      .map(({ from, to }) => [from, to]),
  ).toEqual([
    ['192.0.2.1:7', '10.0.0.11:5060'],
    ['10.0.0.11:5060', '192.0.2.1:7'],
  ]);
});

test('while the server takes nothing, messages wait on the tape; what is overwritten there is counted, the rest arrives', () => {
  sink.ready = false;
  const total = 200;
  for (let i = 0; i < total; i++) {
    receive(0, message(`c${i}`));
    if (i % 7 === 0) feed.pump();
  }
  expect(sent).toEqual([]);
  expect(
    feed.probe({
      time: 0,
      transport: 'udp',
      sent: true,
      local: LISTENERS[0]!,
      remote: LISTENERS[0]!,
      bytes: message('p'),
    }),
  ).toBe(false);
  sink.ready = true;
  feed.pump();
  const ids = sent.map((packet) => decode(packet).callId);
  expect(ids.length).toBeGreaterThan(20);
  expect(ids).toEqual(Array.from({ length: ids.length }, (_, i) => `c${total - ids.length + i}`));
  expect(lost).toEqual({ overwritten: total - ids.length });
});

test('a data thread that was replaced begins anew: what its predecessor left unread is lost, and no more', () => {
  receive(0, message('a'));
  feed.pump();
  receive(0, message('b'));
  receive(0, message('c'));
  writers[0] = new TapeWriter(tapes[0]!, monotonic);
  writers[0].plan = 5;
  receive(0, message('d'));
  feed.pump();
  expect(sent.map((packet) => decode(packet).callId)).toEqual(['a', 'd']);
  expect(lost).toEqual({ overwritten: 2 });
});

test('a message under a plan that is forgotten has no local end; one that is too long is counted', () => {
  writers[0]!.plan = 77;
  receive(0, message('a'));
  feed.pump();
  expect(decode(sent[0]!)).toMatchObject({ from: '10.0.0.7:40000', to: '0.0.0.0:0' });
  const probe = { time: 0, transport: 'tcp', sent: true, local: LISTENERS[0]!, remote: LISTENERS[1]! } as const;
  feed.probe({ ...probe, bytes: Buffer.alloc(65_500) });
  expect(lost).toEqual({ too_long: 1 });
});

test('a turn ends where there is much to do, so that others have theirs', () => {
  tapes = [createTape(1 << 20)];
  const writer = new TapeWriter(tapes[0]!, monotonic);
  const big = new HepFeed({
    tapes,
    encoder: new HepEncoder({ agent: 1, name: 'e', key: '' }),
    sink,
    redact: (m) => Buffer.from(m),
    lost: () => {},
  });
  for (let i = 0; i < 5000; i++) writer.received(1, message('x'), 0, message('x').length, PHONE, 0);
  let turns = 1;
  while (big.pump()) turns++;
  expect(turns).toBe(3);
  expect(sent).toHaveLength(5000);
});

import { beforeEach, expect, test } from 'vitest';
import type { Plan } from '../../plan.ts';
import { type Endpoint, TRANSPORT } from '../../ports.ts';
import { wordsOf } from '../../sip/host.ts';
import { METHOD, type MethodName } from '../../sip/method.ts';
import { FarmCalls } from '../calls/farms.ts';
import type { Transaction } from '../calls/transactions.ts';
import { createTape, TapeWriter } from '../tape.ts';
import { FlightRecorder, type RecorderOptions } from './flight-recorder.ts';
import { judge } from './judge.ts';
import type { KeptCall, Reason } from './kept-call.ts';
import { fullText, ladder } from './ladder.ts';
import { createRedactor } from './redact.ts';

const EPOCH = Date.UTC(2026, 0, 1);
const end = (address: string, port: number): Endpoint => {
  const [ip0, ip1, ip2, ip3] = wordsOf(address) as unknown as [number, number, number, number];
  return { transport: TRANSPORT.udp, ip0, ip1, ip2, ip3, port, connection: 0 };
};
const PHONE = end('198.51.100.7', 5062);
const PBX1 = end('10.0.0.11', 5060);
const PBX2 = end('10.0.0.12', 5060);
const plan = {
  listeners: [{ farm: 0, address: '192.0.2.10', port: 5060 }],
  farms: [
    {
      name: 'pbx',
      backends: [
        { name: 'pbx1', address: '10.0.0.11', port: 5060 },
        { name: 'pbx2', address: '10.0.0.12', port: 5060 },
      ],
    },
  ],
} as unknown as Plan;

let now: number;
let tapes: SharedArrayBuffer[];
let writers: TapeWriter[];
let rested: KeptCall[];
beforeEach(() => {
  now = 1000;
  tapes = [createTape(1 << 17), createTape(1 << 17)];
  writers = tapes.map((tape) => new TapeWriter(tape, () => now));
  for (const writer of writers) writer.plan = 3;
  rested = [];
});

function recorder(more: Partial<RecorderOptions> = {}): FlightRecorder {
  const redact = createRedactor({ headers: [], hashUsers: false, key: '' });
  const made = new FlightRecorder(tapes, {
    bytes: 1 << 20,
    calls: 10,
    perSecond: 20,
    epoch: EPOCH,
    redact,
    rested: (call) => rested.push(call),
    ...more,
  });
  made.use(plan, 3);
  return made;
}

const sip = (first: string, call: number, method = 'INVITE') =>
  `${first}\r\nFrom: "B" <sip:bonnie@example.com>;tag=1\r\nTo: <sip:clyde@example.com>\r\nCall-ID: c${call}@phone\r\nCSeq: 1 ${method}\r\nAuthorization: Digest response="secret"\r\n\r\nbody`;
const INVITE = 'INVITE sip:clyde@example.com SIP/2.0';

/** A message over the wire, a millisecond after the one before. */
function passes(first: string, call: number, remote: Endpoint, sent = false, worker = 0, method = 'INVITE'): void {
  now += 1;
  const bytes = new TextEncoder().encode(sip(first, call, method));
  const writer = writers[worker]!;
  if (!sent) return writer.received(call, bytes, 0, bytes.length, remote, 0);
  writer.call = call;
  const range = (n: number) => Int32Array.of(n);
  writer.sent(remote, { count: 1, bytes: [bytes], start: range(0), end: range(bytes.length), length: bytes.length }, 0);
}

const farm = new FarmCalls('pbx', 0);
const transaction = (call: number, more: Partial<Transaction> = {}): Transaction => ({
  attempts: 1,
  method: METHOD.INVITE,
  call,
  leg: 0,
  flags: 0,
  farm,
  backend: farm.none,
  start: now,
  provisional: 0,
  sent: 1,
  failovers: 0,
  dialogStart: -1,
  binding: 0,
  status: 200,
  end: now,
  stored: 0,
  ...more,
});

/** A failover as it goes over the wire, its answers received by another data thread. */
function failover(call: number): void {
  passes(INVITE, call, PHONE);
  passes(INVITE, call, PBX1, true);
  passes('SIP/2.0 503 Service Unavailable', call, PBX1, false, 1);
  passes(INVITE, call, PBX2, true);
  passes('SIP/2.0 200 OK', call, PBX2, false, 1);
  passes('SIP/2.0 200 OK', call, PHONE, true);
}

test('a call that failed over is kept as it was, from all tapes, in order; what follows is added until it rests', () => {
  const r = recorder();
  failover(77);
  passes(INVITE, 78, PHONE);
  const trace = r.keep(transaction(77, { status: 200 }), ['failover']);
  expect(trace).toMatchObject({
    traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
    spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
  });
  r.collect(now);
  passes('ACK sip:clyde@10.0.0.12 SIP/2.0', 77, PHONE, false, 0, 'ACK');
  r.collect(now);
  expect(rested).toEqual([]);
  r.collect(now + 6000);
  const [call] = r.list();
  expect(rested).toEqual([call]);
  expect(call).toMatchObject({ callId: 'c77@phone', farm: 'pbx', reasons: ['failover'], results: ['INVITE 200'] });
  expect(call!.traceId).toBe(trace!.traceId);
  expect(call!.messages).toHaveLength(7);
  expect(call!.messages.map((m) => m.backend)).toEqual([
    undefined,
    'pbx1',
    'pbx1',
    'pbx2',
    'pbx2',
    undefined,
    undefined,
  ]);
  expect(r.list()).toHaveLength(1);
  expect(ladder(call!)).toBe(`Call-ID c77@phone
farm    pbx    2026-01-01T00:00:01.001Z    trace ${trace!.traceId}
kept    failover    INVITE 200

          198.51.100.7:5062                 agent                             pbx1 10.0.0.11:5060               pbx2 10.0.0.12:5060
   0.000  | INVITE sip:clyde@example.com -->|                                 |                                 |
   0.001  |                                 | INVITE sip:clyde@example.com -->|                                 |
   0.002  |                                 |<- 503 Service Unavailable (INVI |                                 |
   0.003  |                                 | INVITE sip:clyde@example.com ------------------------------------>|
   0.004  |                                 |<------------------------------------------------- 200 OK (INVITE) |
   0.005  |<--------------- 200 OK (INVITE) |                                 |                                 |
   0.007  | ACK sip:clyde@10.0.0.12 ------->|                                 |                                 |
`);
  expect(fullText(call!)).toContain('Authorization: Digest response="xxxxxx"\n');
  expect(fullText(call!)).not.toContain('secret');
});

test('a further reason for a call that has come to rest adds what is new, once', () => {
  const r = recorder();
  failover(5);
  r.keep(transaction(5, { status: 200 }), ['failover']);
  r.collect(now);
  r.collect(now + 6000);
  now += 60_000;
  passes('BYE sip:clyde@10.0.0.12 SIP/2.0', 5, PHONE, false, 0, 'BYE');
  now += 33_000;
  r.keep(transaction(5, { method: METHOD.BYE, status: 0 }), ['no_bye_answer']);
  r.collect(now);
  const [call] = r.list();
  expect(call!.messages).toHaveLength(7);
  expect(call).toMatchObject({ reasons: ['failover', 'no_bye_answer'], results: ['INVITE 200', 'BYE none'] });
});

test('memory is bounded: the oldest calls go, in number and in bytes; one call keeps only so many messages', () => {
  const r = recorder({ calls: 3 });
  for (let call = 1; call <= 5; call++) {
    passes(INVITE, call, PHONE);
    r.keep(transaction(call, { status: 500 }), ['failed']);
    r.collect(now);
  }
  expect(r.list().map((c) => c.callId)).toEqual(['c5@phone', 'c4@phone', 'c3@phone']);
  const small = recorder({ bytes: 1000 });
  for (let call = 11; call <= 20; call++) {
    passes(INVITE, call, PHONE);
    small.keep(transaction(call, { status: 500 }), ['failed']);
    small.collect(now);
    expect(small.bytes).toBeLessThanOrEqual(1000);
  }
  expect(small.list().length).toBeGreaterThan(1);
  for (let i = 0; i < 250; i++) passes(INVITE, 30, PHONE);
  r.keep(transaction(30, { status: 500 }), ['failed']);
  r.collect(now);
  expect(r.find('c30@phone')).toMatchObject({ omitted: 50 });
});

test('a budget per second, and a quarter of it for registrations, which scanners make fail by the thousand', () => {
  const r = recorder({ perSecond: 8, calls: 100 });
  const kept = (first: number, method: MethodName) =>
    Array.from({ length: 20 }, (_, i) =>
      r.keep(transaction(first + i, { method: METHOD[method], status: 500 }), ['failed']),
    ).filter(Boolean).length;
  expect(kept(100, 'REGISTER')).toBe(2);
  expect(kept(200, 'INVITE')).toBe(8);
  expect(r.refused).toBe(30);
  now += 1000;
  expect(kept(300, 'INVITE')).toBe(8);
});

test.each<[string, Partial<Transaction>, number, Reason[]]>([
  ['an answered call', {}, 200, []],
  ['a busy one', {}, 486, []],
  ['a challenge', {}, 401, []],
  ['a redirection', {}, 302, []],
  ['not found', {}, 404, ['failed']],
  ['a failure of the server', {}, 500, ['failed']],
  ['silence', {}, 0, ['failed']],
  ['a BYE without answer', { method: METHOD.BYE }, 0, ['no_bye_answer']],
  ['a failover', { failovers: 1, attempts: 2, sent: 2 }, 200, ['failover']],
  ['many retransmissions', { sent: 6 }, 200, ['retransmissions']],
  ['late progress', { start: 94_000 }, 200, ['slow']],
  ['a long ringing that began soon', { start: 80_000, provisional: 81_000 }, 200, []],
])('what makes a call worth keeping: %s', (_name, more, status, reasons) => {
  const ended = transaction(0xffff_ffff, { start: 99_000, status, end: 100_000, ...more });
  expect(judge(ended, { slowAfter: 5, sampled: 0.5 })).toEqual(reasons);
});

test('the sample of ordinary calls is by their hash, alike on every agent, and has the size asked for', () => {
  const sampled = (share: number) =>
    Array.from({ length: 10_000 }, (_, i) => 2 ** 50 + Math.floor((i / 10_000) * 2 ** 32)).filter(
      (call) => judge(transaction(call), { slowAfter: 5, sampled: share }).length > 0,
    );
  expect(sampled(0)).toEqual([]);
  expect(sampled(0.25)).toHaveLength(2500);
  expect(sampled(1)).toHaveLength(10_000);
});

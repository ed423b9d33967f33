import { expect, test } from 'vitest';
import type { Decision, KeptCall, KeptMessage } from '../recorder/kept-call.ts';
import { spansOf } from './call-spans.ts';
import { CallTraces } from './call-traces.ts';
import type { SpanDraft } from './span.ts';

const START = Date.UTC(2026, 0, 1);
const PHONE = '198.51.100.7:5062';
const PBX1 = '10.0.0.11:5060';
const PBX2 = '[2001:db8::12]:5060';
const NAMES: Record<string, string> = { [PBX1]: 'pbx1', [PBX2]: 'pbx2' };
const phone = (n: number): string => `SIP/2.0/UDP 198.51.100.7:5062;rport;branch=z9hG4bK-p${n}`;
/** A branch of ours: `n` in its first eight bytes. */
const branch = (n: number): string => `z9hG4bK${Buffer.alloc(19, n).toString('base64url')}`;
const ours = (n: number): string => `SIP/2.0/UDP 192.0.2.10:5060;branch=${branch(n)};w=1`;
const span = (n: number): string => Buffer.alloc(8, n).toString('hex');

interface Said {
  ms: number;
  first: string;
  vias: string[];
  remote: string;
  sent?: boolean;
  cseq?: string;
  toTag?: boolean;
  decision?: Decision;
}

function message({ ms, first, vias, remote, sent = false, cseq, toTag = false, decision }: Said): KeptMessage {
  const method = cseq ?? `1 ${first.split(' ')[0]}`;
  const to = `<sip:clyde@example.com>${toTag ? ';tag=2' : ''}`;
  const text = `${first}\r\n${vias.map((via) => `Via: ${via}\r\n`).join('')}From: <sip:bonnie@example.com>;tag=1\r\nTo: ${to}\r\nCall-ID: c@phone\r\nCSeq: ${method}\r\n\r\n`;
  return {
    at: START + ms,
    sent,
    transport: 'udp',
    local: '192.0.2.10:5060',
    remote,
    backend: NAMES[remote],
    revision: 7,
    bytes: Buffer.from(text),
    decision,
  };
}

const call = (messages: Said[], more: Partial<KeptCall> = {}): KeptCall => ({
  call: 1,
  traceId: 'ab'.repeat(16),
  spanId: 'cd'.repeat(8),
  dialogStart: undefined,
  callId: 'c@phone',
  farm: 'pbx',
  method: 'INVITE',
  reasons: ['sampled'],
  results: ['INVITE 200'],
  startedAt: START,
  updatedAt: START,
  messages: messages.map(message),
  bytes: 0,
  omitted: 0,
  ...more,
});

const INVITE = 'INVITE sip:clyde@example.com SIP/2.0';
const BYE = 'BYE sip:clyde@10.0.0.11 SIP/2.0';
const answered = (ms: number, n: number, from: string): Said[] => [
  { ms, first: 'SIP/2.0 200 OK', vias: [ours(n), phone(1)], remote: from, cseq: '1 INVITE' },
  { ms: ms + 1, first: 'SIP/2.0 200 OK', vias: [phone(1)], remote: PHONE, sent: true, cseq: '1 INVITE' },
];
const SETUP: Said[] = [
  { ms: 0, first: INVITE, vias: [phone(1)], remote: PHONE },
  { ms: 1, first: INVITE, vias: [ours(1), phone(1)], remote: PBX1, sent: true },
  ...answered(90, 1, PBX1),
];
const HANG_UP: Said[] = [
  { ms: 5000, first: BYE, vias: [phone(2)], remote: PHONE, cseq: '2 BYE', toTag: true },
  { ms: 5001, first: BYE, vias: [ours(2), phone(2)], remote: PBX1, sent: true, cseq: '2 BYE', toTag: true },
  { ms: 5010, first: 'SIP/2.0 200 OK', vias: [ours(2), phone(2)], remote: PBX1, cseq: '2 BYE', toTag: true },
  { ms: 5011, first: 'SIP/2.0 200 OK', vias: [phone(2)], remote: PHONE, sent: true, cseq: '2 BYE', toTag: true },
];

/** `name start–end error` of each span under its parent. */
function lines(drafts: readonly SpanDraft[], parent?: string, depth = 0): string[] {
  return drafts
    .filter((d) => d.parentId === parent)
    .flatMap((d) => [
      `${'  '.repeat(depth)}${d.name} ${d.start - START}–${d.end - START}${d.error ? ` ${d.error}` : ''}`,
      ...lines(drafts, d.spanId, depth + 1),
    ]);
}
function tree(messages: Said[], now = 10_000, more: Partial<KeptCall> = {}): string[] {
  const { root, finished } = spansOf(call(messages, more), START + now);
  return lines([root, ...finished]);
}

test('a plain call', () => {
  expect(tree([...SETUP, ...HANG_UP])).toEqual([
    'call 0–5011',
    '  INVITE 0–91',
    '    INVITE pbx1 1–90',
    '  BYE 5000–5011',
    '    BYE pbx1 5001–5010',
  ]);
  const { root, finished, over } = spansOf(call([...SETUP, ...HANG_UP]), START + 10_000);
  expect(over).toBe(true);
  expect(finished.map((d) => d.spanId)).toEqual(expect.arrayContaining([span(1), span(2)]));
  expect(root.attributes).toMatchObject({ 'sip.from': 'sip:bonnie@example.com', 'sip.to': 'sip:clyde@example.com' });
});

test('failovers: by a status, by silence, because nobody was there, and because nothing more came', () => {
  const asked = (ms: number, n: number, to: string): Said => ({
    ms,
    first: INVITE,
    vias: [ours(n), phone(1)],
    remote: to,
    sent: true,
  });
  const responded = (ms: number, n: number, first: string, from: string): Said => ({
    ms,
    first,
    vias: [ours(n), phone(1)],
    remote: from,
    cseq: '1 INVITE',
  });
  const begin = SETUP[0]!;
  const second = [asked(1600, 2, PBX2), ...answered(1700, 2, PBX2)];
  const causes = (between: Said[], at = 1600): unknown[] => {
    const rest = second.map((m) => ({ ...m, ms: m.ms - 1600 + at }));
    const { finished } = spansOf(call([begin, asked(1, 1, PBX1), ...between, ...rest]), START + 10_000);
    return finished.filter((d) => d.kind === 'client').map((d) => d.attributes['sip.failover.cause'] ?? d.name);
  };
  expect(causes([responded(9, 1, 'SIP/2.0 503 Overloaded', PBX1)], 10)).toEqual(['status 503', 'INVITE pbx2']);
  expect(causes([])).toEqual(['timeout', 'INVITE pbx2']);
  expect(causes([], 3)).toEqual(['unreachable', 'INVITE pbx2']);
  expect(causes([responded(9, 1, 'SIP/2.0 100 Trying', PBX1)])).toEqual(['no progress', 'INVITE pbx2']);
  expect(tree([begin, asked(1, 1, PBX1), ...second])).toEqual([
    'call 0–1701',
    '  INVITE 0–1701',
    '    INVITE pbx1 1–1600 timeout',
    '    INVITE pbx2 1600–1700',
  ]);
});

test('what is sent again, CANCEL and ACK are events of their span', () => {
  const messages: Said[] = [
    { ms: 0, first: INVITE, vias: [phone(1)], remote: PHONE },
    { ms: 1, first: INVITE, vias: [ours(1), phone(1)], remote: PBX1, sent: true },
    { ms: 500, first: INVITE, vias: [phone(1)], remote: PHONE },
    { ms: 501, first: INVITE, vias: [ours(1), phone(1)], remote: PBX1, sent: true },
    { ms: 600, first: 'SIP/2.0 180 Ringing', vias: [ours(1), phone(1)], remote: PBX1, cseq: '1 INVITE' },
    { ms: 601, first: 'SIP/2.0 180 Ringing', vias: [phone(1)], remote: PHONE, sent: true, cseq: '1 INVITE' },
    { ms: 900, first: 'CANCEL sip:clyde@example.com SIP/2.0', vias: [phone(1)], remote: PHONE },
    { ms: 901, first: 'SIP/2.0 200 OK', vias: [phone(1)], remote: PHONE, sent: true, cseq: '1 CANCEL' },
    { ms: 902, first: 'CANCEL sip:clyde@example.com SIP/2.0', vias: [ours(1)], remote: PBX1, sent: true },
    { ms: 910, first: 'SIP/2.0 200 OK', vias: [ours(1)], remote: PBX1, cseq: '1 CANCEL' },
    { ms: 911, first: 'SIP/2.0 487 Terminated', vias: [ours(1), phone(1)], remote: PBX1, cseq: '1 INVITE' },
    { ms: 912, first: 'SIP/2.0 487 Terminated', vias: [phone(1)], remote: PHONE, sent: true, cseq: '1 INVITE' },
    { ms: 920, first: 'ACK sip:clyde@example.com SIP/2.0', vias: [phone(1)], remote: PHONE },
  ];
  const { finished, over } = spansOf(call(messages), START + 7000);
  const events = finished.map((d) => [d.name, d.end - START, d.events.map((e) => e.name)]);
  expect(events).toEqual([
    ['INVITE', 912, ['received INVITE', 'sent 180', 'received CANCEL', 'sent 200', 'received ACK']],
    ['INVITE pbx1', 911, ['sent INVITE', 'received 180', 'sent CANCEL', 'received 200']],
  ]);
  expect(finished[0]).toMatchObject({ error: undefined, attributes: { 'sip.response.status_code': 487 } });
  // The caller changed its mind: a call that was not set up.
  expect(over).toBe(true);
});

test('a PBX passes the call on through us: its transaction stands under the attempt that it came out of', () => {
  const pbx = 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bK-x, SIP/2.0/UDP 192.0.2.10:5060;branch=';
  const passed = `${pbx}${branch(1)}`;
  const messages: Said[] = [
    ...SETUP.slice(0, 2),
    { ms: 5, first: INVITE, vias: [passed, phone(1)], remote: PBX1 },
    { ms: 6, first: INVITE, vias: [ours(3), passed, phone(1)], remote: PBX2, sent: true },
    { ms: 70, first: 'SIP/2.0 200 OK', vias: [ours(3), passed, phone(1)], remote: PBX2, cseq: '1 INVITE' },
    { ms: 71, first: 'SIP/2.0 200 OK', vias: [passed, phone(1)], remote: PBX1, sent: true, cseq: '1 INVITE' },
    ...answered(90, 1, PBX1),
  ];
  expect(tree(messages)).toEqual([
    'call 0–91',
    '  INVITE 0–91',
    '    INVITE pbx1 1–90',
    '      INVITE 5–71',
    '        INVITE pbx2 6–70',
  ]);
});

test('silence: the transaction ends with Timer F, not before; a call that rings goes on', () => {
  expect(tree(HANG_UP.slice(0, 2), 36_000)).toEqual(['call 5000–5000']);
  expect(tree(HANG_UP.slice(0, 2), 37_001)).toEqual([
    'call 5000–37000',
    '  BYE 5000–37000 timeout',
    '    BYE pbx1 5001–37000 timeout',
  ]);
  const ringing: Said = { ms: 9, first: 'SIP/2.0 180 R', vias: [ours(1), phone(1)], remote: PBX1, cseq: '1 INVITE' };
  expect(spansOf(call([...SETUP.slice(0, 2), ringing]), START + 60_000)).toMatchObject({ finished: [], over: false });
});

test('evidence, addresses and revision stand on the transaction and its attempts', () => {
  const decision: Decision = {
    strategy: 'hash',
    key: 'user',
    bucket: 12,
    candidates: ['pbx2', 'pbx1'],
    excluded: ['pbx2: it is down'],
    notes: [],
  };
  const [first, ...rest] = SETUP;
  const { finished } = spansOf(call([{ ...first!, decision }, ...rest]), START + 10_000);
  expect(finished[0]!.attributes).toEqual({
    'network.protocol.name': 'sip',
    'network.transport': 'udp',
    'sip.transport': 'udp',
    'network.peer.address': '198.51.100.7',
    'network.peer.port': 5062,
    'server.address': '192.0.2.10',
    'server.port': 5060,
    'sip.method': 'INVITE',
    'sip.cseq': 1,
    'sip.call_id': 'c@phone',
    'sip.farm': 'pbx',
    'sip.attempts': 1,
    'sip.response.status_code': 200,
    'sip.backend': 'pbx1',
    'sip.config.revision': 7,
    'sip.decision': 'hash',
    'sip.decision.key': 'user',
    'sip.decision.bucket': 12,
    'sip.decision.candidates': ['pbx2', 'pbx1'],
    'sip.decision.excluded': ['pbx2: it is down'],
  });
});

test('each span is told once: transactions when the call rests, its root when it is over', () => {
  const told: string[][] = [];
  let now = START + 6000;
  const traces = new CallTraces(
    (drafts) => told.push(drafts.map((d) => d.name)),
    () => now,
  );
  const kept = call(SETUP);
  traces.rested(kept);
  traces.rested(kept);
  kept.messages.push(...HANG_UP.map(message));
  now += 10_000;
  traces.rested(kept);
  traces.evicted(kept);
  expect(told).toEqual([
    ['INVITE', 'INVITE pbx1'],
    ['call', 'BYE', 'BYE pbx1'],
  ]);
});

test('the root of a call whose end is not seen is told when it is forgotten, unless whoever sees its end samples it too', () => {
  const told: (string | undefined)[] = [];
  const traces = new CallTraces(
    (drafts) => told.push(...drafts.map((d) => (d.attributes['sip.dialog.open'] ? `${d.name} open` : d.name))),
    () => START + 6000,
  );
  traces.evicted(call(SETUP, { reasons: ['sampled'] }));
  traces.evicted(call(SETUP, { reasons: ['slow', 'sampled'] }));
  traces.evicted(call([], { reasons: ['slow'] }));
  expect(told).toEqual(['INVITE', 'INVITE pbx1', 'call open', 'INVITE', 'INVITE pbx1']);
});

test('a dialog that began elsewhere begins when its token says', () => {
  const { root } = spansOf(call(HANG_UP, { dialogStart: START - 60_000 }), START + 10_000);
  expect(root).toMatchObject({ start: START - 60_000, attributes: { 'sip.dialog.joined': true } });
});

test('messages that are none, of a hostile peer, are left out', () => {
  const { finished, root } = spansOf(
    call([
      { ms: 0, first: 'INVITE', vias: [], remote: PHONE },
      { ms: 1, first: 'SIP/2.0 200 OK', vias: ['junk'], remote: PHONE, cseq: 'x' },
      { ms: 2, first: 'SIP/2.0 999 ', vias: [';;;branch='], remote: PHONE, cseq: '1 \u0000' },
      { ms: 3, first: INVITE, vias: [',,,'], remote: '' },
    ]),
    START + 60_000,
  );
  expect([root.name, ...finished.map((d) => d.name)]).toEqual(['call', 'INVITE']);
});

test('a call that a PBX begins is linked to the trace that the PBX names; what a client names counts for nothing', () => {
  const begun = (remote: string, parent: string): unknown => {
    const [first] = SETUP;
    const kept = call([{ ...first!, remote }]);
    const [invite] = kept.messages;
    invite!.bytes = Buffer.from(invite!.bytes.toString().replace('Call-ID', `traceparent: ${parent}\r\nCall-ID`));
    return spansOf(kept, START).root.link;
  };
  const parent = (trace: string, id: string): string => `00-${trace}-${id}-01`;
  const [traceId, spanId] = ['ab'.repeat(16), 'cd'.repeat(8)];
  expect(begun(PBX1, parent(traceId, spanId))).toEqual({ traceId, spanId });
  expect(begun(PHONE, parent(traceId, spanId))).toBeUndefined();
  for (const bad of [
    parent('0'.repeat(32), spanId),
    parent(traceId, '0'.repeat(16)),
    `ff-${traceId}-${spanId}-01`,
    'x',
  ])
    expect(begun(PBX1, bad)).toBeUndefined();
});

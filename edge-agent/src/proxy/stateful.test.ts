import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

const PHONE = 'udp 198.51.100.7:5060';
const PBX = ['udp 10.0.0.11:5060', 'udp 10.0.0.12:5060', 'udp 10.0.0.13:5060'] as const;
const three = ['11', '12', '13'].map((n, i) => ({ name: `pbx${i + 1}`, address: `10.0.0.${n}` }));
const backendOf = (to: { ip3: number }) => (to.ip3 & 255) - 11;
const first = (s: { text: string }) => s.text.split('\r\n')[0];
const firsts = (list: { text: string }[]) => list.map(first);
const stateful = (farm = {}) => agent({ backends: three, transactions: 'stateful', ...farm }, { transactions: 100 });
const branch = (text: string) => /branch=([^;]+)/.exec(header(text, 'Via')[0]!)![1];

/** An INVITE from the phone, forwarded; the 100 to the phone is checked on the way. */
function invited(farm = {}) {
  const a = stateful(farm);
  const out = a.receive(request(), PHONE)!;
  expect(firsts(a.sent)).toEqual(['INVITE sip:clyde@example.com SIP/2.0', 'SIP/2.0 100 Trying']);
  expect(a.sent[1]!.to).toMatchObject(endpoint(PHONE));
  expect(header(a.sent[1]!.text, 'To')[0]).not.toContain('tag=');
  a.sent.length = 0;
  return { a, out, at: PBX[backendOf(out.to)]! };
}

test('a plain call: 100 at once, 180 and 200 passed on, the transaction ends with the 200', () => {
  const { a, out, at } = invited();
  expect(a.receive(answer(out.text, '100 Trying'), at)).toBeUndefined();
  expect(first(a.receive(answer(out.text, '180 Ringing'), at)!)).toBe('SIP/2.0 180 Ringing');
  const ok = a.receive(answer(out.text), at)!;
  expect(ok.to).toMatchObject(endpoint(PHONE));
  expect(header(ok.text, 'Via')).toHaveLength(1);
  expect(a.exchanges!.size).toBe(0);
  // A retransmitted 2xx passes, a retransmitted INVITE is absorbed; nothing comes of time.
  expect(first(a.receive(answer(out.text), at)!)).toBe('SIP/2.0 200 OK');
  expect(a.receive(request(), PHONE)).toBeUndefined();
  expect(a.pass(60_000)).toEqual([]);
  expect(a.exchanges!.waiting).toBe(false);
});

test('retransmissions of the INVITE are absorbed and answered with what was said last', () => {
  const { a, out, at } = invited();
  expect(first(a.receive(request(), PHONE)!)).toBe('SIP/2.0 100 Trying');
  const ringing = a.receive(answer(out.text, '183 Session Progress'), at)!;
  expect(a.receive(request(), PHONE)!.text).toBe(ringing.text);
  expect(a.sent.filter((s) => first(s)!.startsWith('INVITE'))).toEqual([]);
});

test('Timer A: the same bytes again at 0.5, then the next PBX at 1.5 s of silence, under another branch', () => {
  const { a, out } = invited();
  const sent = a.pass(1400);
  expect(firsts(sent)).toEqual([first(out)]);
  expect(sent[0]!.text).toBe(out.text);
  expect(sent[0]!.to).toEqual(out.to);
  const next = a.pass(200);
  expect(firsts(next)).toContain(first(out));
  const moved = next.find((s) => backendOf(s.to) !== backendOf(out.to))!;
  expect(branch(moved.text)).not.toBe(branch(out.text));
  expect(a.counts[`failover ${backendOf(out.to)}`]).toBe(1);
  expect(a.counts[`retransmission ${backendOf(out.to)}`]).toBeGreaterThan(0);
  const ringing = a.receive(answer(moved.text, '180 Ringing'), PBX[backendOf(moved.to)]!)!;
  expect(ringing.to).toMatchObject(endpoint(PHONE));
});

test('503: the PBX gets its ACK, the next one the call; the caller hears nothing of it', () => {
  const { a, out, at } = invited();
  a.receive(answer(out.text, '503 Service Unavailable', 'x'), at);
  expect(firsts(a.sent)).toEqual(['ACK sip:clyde@example.com SIP/2.0', first(out)]);
  const [ack, moved] = a.sent;
  expect(ack!.to).toMatchObject(endpoint(at));
  expect(branch(ack!.text)).toBe(branch(out.text));
  expect(header(ack!.text, 'To')[0]).toContain(';tag=x');
  expect(header(ack!.text, 'CSeq')).toEqual(['1 ACK']);
  expect(header(ack!.text, 'Via')).toHaveLength(1);
  expect(backendOf(moved!.to)).not.toBe(backendOf(out.to));
});

test('all PBXs refuse: the caller gets the last 503, its ACK ends it', () => {
  const { a, out } = invited();
  let at = out;
  for (let i = 0; i < 2; i++) {
    a.receive(answer(at.text, '503 Service Unavailable', 'x'), PBX[backendOf(at.to)]!);
    at = a.sent.at(-1)!;
    expect(first(at)).toBe(first(out));
  }
  a.receive(answer(at.text, '503 Service Unavailable', 'x'), PBX[backendOf(at.to)]!);
  const refused = a.sent.at(-1)!;
  expect(first(refused)).toBe('SIP/2.0 503 Service Unavailable');
  expect(refused.to).toMatchObject(endpoint(PHONE));
  // Timer G until the ACK.
  expect(firsts(a.pass(600))).toEqual(['SIP/2.0 503 Service Unavailable']);
  expect(a.receive(request({ method: 'ACK', to: '<sip:clyde@example.com>;tag=x' }), PHONE)).toBeUndefined();
  expect(a.pass(6000)).toEqual([]);
  expect(a.exchanges!.size).toBe(0);
  expect(a.receive(request({ method: 'ACK', to: '<sip:clyde@example.com>;tag=x' }), PHONE)).toBeUndefined();
});

test('486 and 6xx are final: acknowledged and passed on', () => {
  for (const status of ['486 Busy Here', '603 Decline']) {
    const { a, out, at } = invited();
    a.receive(answer(out.text, status, 'x'), at);
    expect(firsts(a.sent)).toEqual(['ACK sip:clyde@example.com SIP/2.0', `SIP/2.0 ${status}`]);
    // The PBX did not hear the ACK.
    expect(first(a.receive(answer(out.text, status, 'x'), at)!)).toBe('ACK sip:clyde@example.com SIP/2.0');
  }
});

test('CANCEL: answered at once, sent on after a provisional only, and again until the INVITE is answered', () => {
  const { a, out, at } = invited();
  a.receive(request({ method: 'CANCEL' }), PHONE);
  expect(firsts(a.sent)).toEqual(['SIP/2.0 200 OK']);
  a.sent.length = 0;
  a.receive(answer(out.text, '180 Ringing'), at);
  const cancel = a.sent.find((s) => first(s)!.startsWith('CANCEL'))!;
  expect(cancel.to).toMatchObject(endpoint(at));
  expect(branch(cancel.text)).toBe(branch(out.text));
  expect(header(cancel.text, 'CSeq')).toEqual(['1 CANCEL']);
  expect(firsts(a.pass(600))).toEqual(['CANCEL sip:clyde@example.com SIP/2.0']);
  expect(a.receive(answer(cancel.text, '200 OK'), at)).toBeUndefined();
  a.sent.length = 0;
  a.receive(answer(out.text, '487 Request Terminated', 'x'), at);
  expect(firsts(a.sent)).toEqual(['ACK sip:clyde@example.com SIP/2.0', 'SIP/2.0 487 Request Terminated']);
});

test('a PBX that rings after it was given up is cancelled; its late 200 after another’s is released', () => {
  const { a, out, at } = invited();
  const moved = a.pass(1600).find((s) => backendOf(s.to) !== backendOf(out.to))!;
  a.sent.length = 0;
  a.receive(answer(out.text, '180 Ringing'), at);
  expect(firsts(a.sent)).toEqual(['CANCEL sip:clyde@example.com SIP/2.0']);
  const ok = a.receive(answer(moved.text), PBX[backendOf(moved.to)]!)!;
  expect(first(ok)).toBe('SIP/2.0 200 OK');
  a.sent.length = 0;
  a.receive(answer(out.text, '200 OK', 'late', ['Contact: <sip:clyde@10.0.0.99:5070>']), at);
  expect(firsts(a.sent)).toEqual(['ACK sip:clyde@10.0.0.99:5070 SIP/2.0', 'BYE sip:clyde@10.0.0.99:5070 SIP/2.0']);
  expect(header(a.sent[1]!.text, 'To')[0]).toContain('tag=late');
  expect(header(a.sent[1]!.text, 'CSeq')).toEqual(['2 BYE']);
  for (const s of a.sent) expect(s.to).toMatchObject(endpoint(at));
});

test('the first 200 counts, also from a PBX that was given up; the others are cancelled', () => {
  const { a, out, at } = invited();
  const moved = a.pass(1600).find((s) => backendOf(s.to) !== backendOf(out.to))!;
  a.receive(answer(moved.text, '180 Ringing'), PBX[backendOf(moved.to)]!);
  a.sent.length = 0;
  a.receive(answer(out.text), at);
  expect(firsts(a.sent)).toEqual(['SIP/2.0 200 OK', 'CANCEL sip:clyde@example.com SIP/2.0']);
  expect(a.sent[1]!.to).toEqual(moved.to);
  a.pass(33_000);
  expect(a.exchanges!.size).toBe(0);
});

test('nobody answers at all: 408 after Timer B; nothing for another method (RFC 4320)', () => {
  const { a } = invited({ backends: three.slice(0, 1) });
  const sent = firsts(a.pass(32_100));
  expect(sent.filter((f) => f!.startsWith('INVITE'))).toHaveLength(6);
  expect(sent.at(-1)).toBe('SIP/2.0 408 Request Timeout');
  const b = stateful({ backends: three.slice(0, 1) });
  b.receive(request({ method: 'MESSAGE' }), PHONE);
  b.sent.length = 0;
  // The 100 is due when Timer E has been reset to T2, not before; a retransmission gets it again.
  expect(new Set(firsts(b.pass(3490)))).toEqual(new Set(['MESSAGE sip:clyde@example.com SIP/2.0']));
  expect(b.receive(request({ method: 'MESSAGE' }), PHONE)).toBeUndefined();
  expect(firsts(b.pass(60))).toContain('SIP/2.0 100 Trying');
  expect(first(b.receive(request({ method: 'MESSAGE' }), PHONE)!)).toBe('SIP/2.0 100 Trying');
  expect(new Set(firsts(b.pass(30_000)))).toEqual(new Set(['MESSAGE sip:clyde@example.com SIP/2.0']));
  expect(b.exchanges!.size).toBe(0);
});

test('a REGISTER fails over too, and its retransmission after the answer goes where it went', () => {
  const a = stateful();
  const register = request({ method: 'REGISTER', uri: 'sip:example.com' });
  const out = a.receive(register, PHONE)!;
  const moved = a.pass(4100).find((s) => s.text.startsWith('REGISTER') && backendOf(s.to) !== backendOf(out.to))!;
  expect(first(moved)).toBe(first(out));
  a.receive(answer(moved.text), PBX[backendOf(moved.to)]!);
  expect(a.exchanges!.size).toBe(0);
  const again = a.receive(register, PHONE)!;
  expect(again.to).toEqual(moved.to);
  expect(branch(again.text)).toBe(branch(moved.text));
});

test('only a 100, and the PBX goes down: the next one gets the call', () => {
  const { a, out, at } = invited();
  a.receive(answer(out.text, '100 Trying'), at);
  expect(a.pass(3000)).toEqual([]);
  a.setState(backendOf(out.to), 'down');
  const sent = a.pass(2000).slice(0, 2);
  expect(firsts(sent)).toEqual(['CANCEL sip:clyde@example.com SIP/2.0', first(out)]);
  expect(backendOf(sent[1]!.to)).not.toBe(backendOf(out.to));
});

test('at the limit new work is refused with 503, a dialog goes on', () => {
  const a = agent({ backends: three, transactions: 'stateful' }, { transactions: 1 });
  const out = a.receive(request(), PHONE)!;
  const refused = a.receive(request({ callId: 'other' }), PHONE)!;
  expect(first(refused)).toBe('SIP/2.0 503 Service Unavailable');
  expect(header(refused.text, 'Retry-After')).toEqual(['5']);
  const info = a.receive(
    request({
      method: 'INFO',
      to: '<sip:clyde@example.com>;tag=t',
      more: [`Route: ${header(out.text, 'Record-Route')[0]}`],
    }),
    PHONE,
  )!;
  expect(backendOf(info.to)).toBe(backendOf(out.to));
  expect([a.drops, a.counts['refused transaction_limit']]).toEqual([[], 1]);
});

test('a PBX’s INVITE towards a phone is a transaction too: retransmitted, and never sent elsewhere', () => {
  const a = stateful();
  const reg = a.receive(
    request({ method: 'REGISTER', uri: 'sip:example.com', to: '<sip:bonnie@example.com>' }),
    PHONE,
  )!;
  const pbx = PBX[backendOf(reg.to)]!;
  a.receive(answer(reg.text), pbx);
  const path = header(reg.text, 'Path')[0]!;
  const out = a.receive(
    request({
      uri: 'sip:bonnie@198.51.100.7',
      via: 'SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKp',
      from: '<sip:c@x>;tag=p',
      callId: 'p',
      more: [`Route: ${path}`],
    }),
    pbx,
  )!;
  expect(out.to).toMatchObject(endpoint(PHONE));
  const again = a.pass(5000);
  expect(again).not.toHaveLength(0);
  for (const s of again) expect([s.text, s.to]).toEqual([out.text, out.to]);
  expect(first(a.receive(answer(out.text, '180 Ringing'), PHONE)!)).toBe('SIP/2.0 180 Ringing');
});

test('an agent that does not know the transaction forwards what belongs to it all the same', () => {
  const { out, at } = invited();
  const other = stateful();
  const ok = other.receive(answer(out.text), at)!;
  expect(ok.to).toMatchObject(endpoint(PHONE));
  const cancel = other.receive(request({ method: 'CANCEL' }), PHONE)!;
  expect(branch(cancel.text)).toBe(branch(out.text));
});

/** Two workers of one agent over one plan's keys: the phone's packets reach the first, the PBXs' the second. */
function twoWorkers(farm = {}) {
  const options = { workers: 2, transactions: 100 };
  const [mine, other] = [0, 1].map((worker) =>
    agent({ backends: three, transactions: 'stateful', ...farm }, { ...options, worker }),
  ) as [ReturnType<typeof agent>, ReturnType<typeof agent>];
  const out = mine.receive(request(), PHONE)!;
  mine.sent.length = 0;
  return { mine, other, out, at: PBX[backendOf(out.to)]! };
}

test('a response that another worker received is handed to the one that keeps the exchange, and only there passed on', () => {
  const { mine, other, out, at } = twoWorkers();
  expect(other.receive(answer(out.text, '180 Ringing'), at)).toBeUndefined();
  expect(other.handedOver).toMatchObject([{ worker: 0, listener: 0, from: endpoint(at) }]);
  expect(first(mine.takeOver(other.handedOver[0]!)!)).toBe('SIP/2.0 180 Ringing');
  other.receive(answer(out.text), at);
  expect(mine.takeOver(other.handedOver[1]!)).toMatchObject({ to: endpoint(PHONE) });
  expect(mine.exchanges!.size).toBe(0);
  // Counted where it was received, once.
  expect(other.counts[`response ${backendOf(out.to)} 200`]).toBe(1);
  expect(mine.counts[`response ${backendOf(out.to)} 200`]).toBeUndefined();
});

test('what is handed over and belongs to no exchange is forwarded statelessly, never handed on', () => {
  const { mine, other, out, at } = twoWorkers();
  other.receive(answer(out.text), at);
  mine.takeOver(other.handedOver[0]!);
  mine.sent.length = 0;
  // A retransmission of the 200, when its exchange has ended; and one that went to a wrong worker.
  expect(mine.takeOver(other.handedOver[0]!)).toMatchObject({ to: endpoint(PHONE) });
  expect(other.takeOver(other.handedOver[0]!)).toMatchObject({ to: endpoint(PHONE) });
  expect([mine.handedOver, other.handedOver.length]).toEqual([[], 1]);
});

test('a worker that does not exist, another agent’s, or none: forwarded statelessly; a branch that is not ours: nowhere', () => {
  const { other, out, at } = twoWorkers();
  const w = /;w=([\w-]+)/.exec(header(out.text, 'Via')[0]!)![1]!;
  const named = (bytes: number[]) => answer(out.text).replace(w, Buffer.from(bytes).toString('base64url'));
  for (const bytes of [
    [0, 1, 9, 0, 0, 0],
    [0, 2, 0, 0, 0, 0],
  ])
    expect(other.receive(named(bytes), at)).toMatchObject({ to: endpoint(PHONE) });
  expect(other.receive(answer(out.text).replace(`;w=${w}`, ''), at)).toMatchObject({ to: endpoint(PHONE) });
  expect(other.receive(answer(out.text).replace('received=198.51.100.7', 'received=192.0.2.99'), at)).toBeUndefined();
  expect([other.handedOver, other.drops]).toEqual([[], ['forged_branch']]);
});

test('the branch is the same whatever worker or agent forwards; the answer to our own CANCEL ends where it arrives', () => {
  const { mine, other, out, at } = twoWorkers();
  expect(branch(stateful().receive(request(), PHONE)!.text)).toBe(branch(out.text));
  mine.receive(request({ method: 'CANCEL' }), PHONE);
  other.receive(answer(out.text, '180 Ringing'), at);
  mine.takeOver(other.handedOver[0]!);
  const cancel = mine.sent.find((s) => first(s)!.startsWith('CANCEL'))!;
  expect(other.receive(answer(cancel.text), at)).toBeUndefined();
  expect([other.drops, other.handedOver.length]).toEqual([[], 1]);
});

test('a TCP caller’s exchange is kept by the worker of its connection', () => {
  const options = { workers: 2, transactions: 100 };
  const [mine, other] = [0, 1].map((worker) => agent({ backends: three }, { ...options, worker })) as [
    ReturnType<typeof agent>,
    ReturnType<typeof agent>,
  ];
  const invite = request({ via: 'SIP/2.0/TCP 198.51.100.7;branch=z9hG4bKt' });
  const out = mine.receive(invite, 'tcp 198.51.100.7:41000 #77', 1)!;
  other.receive(answer(out.text), PBX[backendOf(out.to)]!);
  expect(mine.takeOver(other.handedOver[0]!)).toMatchObject({ how: 'stream', worker: 0, to: { connection: 77 } });
  expect(mine.exchanges!.size).toBe(0);
});

test('ICMP about a PBX: what it has not answered goes to the next one at once, what it works on stays', () => {
  const { a, out, at } = invited();
  const other = a.receive(request({ callId: 'c2', via: 'SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKb' }), PHONE)!;
  expect(other.to).toEqual(out.to);
  a.receive(answer(other.text, '100 Trying'), at);
  a.sent.length = 0;
  a.signals.order(backendOf(out.to), 'refused');
  const [moved, ...more] = a.pass(10);
  expect([first(moved!), backendOf(moved!.to) === backendOf(out.to), more]).toEqual([first(out), false, []]);
  expect(header(moved!.text, 'Call-ID')).toEqual(['c1@phone']);
  // The same order is carried out once.
  expect(a.pass(10)).toEqual([]);
});

test('a refused connection: the next PBX at once; nobody else: 503; both tell against the PBX', () => {
  const tcp = three.slice(0, 2).map((b) => ({ ...b, transport: 'tcp' as const }));
  const { a, out } = invited({ backends: tcp });
  a.refuse(`tcp 10.0.0.${11 + backendOf(out.to)}:5060`);
  const moved = a.sent.at(-1)!;
  expect([first(moved), moved.how, backendOf(moved.to)]).toEqual([first(out), 'dial', 1 - backendOf(out.to)]);
  a.refuse(`tcp 10.0.0.${11 + backendOf(moved.to)}:5060`);
  const told = a.sent.at(-1)!;
  expect(first(told)).toBe('SIP/2.0 503 Service Unavailable');
  expect(header(told.text, 'Retry-After')).toEqual(['5']);
  expect([0, 1].map((b) => a.signals.take(b, 'refused'))).toEqual([1, 1]);
});

test('a connection that ends: what had no answer goes out over a new one, then to the next PBX, without a word against the first', () => {
  const tcp = three.map((b) => ({ ...b, transport: 'tcp' as const }));
  const { a, out } = invited({ backends: tcp });
  const lost = `tcp 10.0.0.${11 + backendOf(out.to)}:5060`;
  a.refuse(lost, false);
  const again = a.sent.at(-1)!;
  expect([again.text, again.how, again.to]).toEqual([out.text, 'dial', out.to]);
  a.refuse(lost, false);
  expect(backendOf(a.sent.at(-1)!.to)).not.toBe(backendOf(out.to));
  expect(a.signals.take(backendOf(out.to), 'refused')).toBe(0);
});

test('within a dialog a refused connection is tried again and again: its PBX may be back in a second', () => {
  const tcp = three.map((b) => ({ ...b, transport: 'tcp' as const }));
  const { a, out, at } = invited({ backends: tcp });
  const ok = a.receive(answer(out.text), at)!;
  const route = `Route: ${header(ok.text, 'Record-Route')[0]}`;
  const bye = request({ method: 'BYE', cseq: 2, to: '<sip:clyde@example.com>;tag=t1', more: [route] });
  const sent = a.receive(bye, PHONE)!;
  a.sent.length = 0;
  for (let i = 0; i < 2; i++) a.refuse(`tcp 10.0.0.${11 + backendOf(out.to)}:5060`);
  expect(a.sent).toEqual([]);
  for (const wait of [510, 1010]) a.pass(wait);
  expect(a.sent.map((s) => [s.text, s.how, s.to])).toEqual([1, 2].map(() => [sent.text, 'dial', sent.to]));
});

test('within a dialog a refusal over UDP changes nothing: its PBX may be back in a second', () => {
  const { a, out, at } = invited();
  const ok = a.receive(answer(out.text), at)!;
  const bye = request({
    method: 'BYE',
    cseq: 2,
    to: '<sip:clyde@example.com>;tag=t1',
    more: [`Route: ${header(ok.text, 'Record-Route')[0]}`],
  });
  const sent = a.receive(bye, PHONE)!;
  expect(sent.to).toEqual(out.to);
  a.sent.length = 0;
  a.signals.order(backendOf(out.to), 'refused');
  a.pass(600);
  expect(a.sent.map((s) => [first(s), s.to])).toEqual([[first(sent), sent.to]]);
});

test('a PBX is cut off: its connections go, and what rings there rings elsewhere', () => {
  const { a, out, at } = invited();
  a.receive(answer(out.text, '180 Ringing'), at);
  a.sent.length = 0;
  a.setState(backendOf(out.to), 'down');
  a.signals.order(backendOf(out.to), 'cut');
  const sent = a.pass(10);
  expect(a.cuts).toEqual([backendOf(out.to)]);
  expect(firsts(sent)).toEqual(['CANCEL sip:clyde@example.com SIP/2.0', first(out)]);
  expect(backendOf(sent[1]!.to)).not.toBe(backendOf(out.to));
});

test('silence, 503 and answers are told to health', () => {
  const { a, out, at } = invited();
  const moved = a.pass(1600).find((s) => backendOf(s.to) !== backendOf(out.to))!;
  expect(a.signals.take(backendOf(out.to), 'timeout')).toBe(1);
  a.receive(answer(moved.text, '503 Service Unavailable', 'x'), PBX[backendOf(moved.to)]!);
  expect(a.signals.take(backendOf(moved.to), 'unavailable')).toBe(1);
  expect(a.signals.take(backendOf(moved.to), 'answered')).toBe(0);
  a.receive(answer(out.text, '180 Ringing'), at);
  expect(a.signals.take(backendOf(out.to), 'answered')).toBe(1);
});

test('of several failures the client gets the best: the lowest class, and what tells it how to ask again', () => {
  const failover = { codes: [404, 407, 500, 503] };
  const best = (...statuses: string[]) => {
    const { a, out } = invited({ failover });
    let at = out;
    for (const status of statuses) {
      a.receive(answer(at.text, status, `t${status.slice(0, 3)}`), PBX[backendOf(at.to)]!);
      at = a.sent.findLast((s) => first(s) === first(out)) ?? at;
    }
    const told = a.sent.filter((s) => first(s)!.startsWith('SIP/2.0'));
    expect(told).toHaveLength(1);
    expect(told[0]!.to).toMatchObject(endpoint(PHONE));
    expect(header(told[0]!.text, 'Via')).toHaveLength(1);
    expect(header(told[0]!.text, 'To')[0]).toContain(`tag=t${first(told[0]!)!.slice(8, 11)}`);
    return first(told[0]!);
  };
  expect(best('503 Service Unavailable', '404 Not Found', '500 Server Error')).toBe('SIP/2.0 404 Not Found');
  expect(best('404 Not Found', '407 Proxy Auth', '503 Service Unavailable')).toBe('SIP/2.0 407 Proxy Auth');
  expect(best('404 Not Found', '503 Service Unavailable', '486 Busy Here')).toBe('SIP/2.0 486 Busy Here');
  expect(best('500 Server Error', '603 Decline')).toBe('SIP/2.0 603 Decline');
});

test('a failure and then silence: the better of it and 408', () => {
  const { a, out } = invited({ backends: three.slice(0, 2), failover: { codes: [407, 503] } });
  a.receive(answer(out.text, '407 Proxy Auth', 'x'), PBX[backendOf(out.to)]!);
  a.sent.length = 0;
  const told = firsts(a.pass(32_100)).filter((f) => f!.startsWith('SIP/2.0'));
  expect(told).toEqual(['SIP/2.0 407 Proxy Auth']);
  const b = invited({ backends: three.slice(0, 2) });
  b.a.receive(answer(b.out.text, '503 Service Unavailable', 'x'), PBX[backendOf(b.out.to)]!);
  b.a.sent.length = 0;
  expect(firsts(b.a.pass(32_100)).filter((f) => f!.startsWith('SIP/2.0'))).toEqual(['SIP/2.0 408 Request Timeout']);
});

test('a 6xx of a PBX that was given up ends the search too: nobody rings any more, a late 200 is released', () => {
  const { a, out, at } = invited();
  const moved = a.pass(1600).find((s) => backendOf(s.to) !== backendOf(out.to))!;
  a.receive(answer(moved.text, '180 Ringing'), PBX[backendOf(moved.to)]!);
  a.sent.length = 0;
  a.receive(answer(out.text, '603 Decline', 'x'), at);
  expect(firsts(a.sent)).toEqual([
    'ACK sip:clyde@example.com SIP/2.0',
    'SIP/2.0 603 Decline',
    'CANCEL sip:clyde@example.com SIP/2.0',
  ]);
  expect(a.sent[2]!.to).toEqual(moved.to);
  a.sent.length = 0;
  a.receive(answer(moved.text, '200 OK', 'late', ['Contact: <sip:c@10.0.0.99>']), PBX[backendOf(moved.to)]!);
  expect(firsts(a.sent)).toEqual(['ACK sip:c@10.0.0.99 SIP/2.0', 'BYE sip:c@10.0.0.99 SIP/2.0']);
});

test('a 183 or a 408 for a request that is no INVITE is not passed on (RFC 4320)', () => {
  const a = stateful();
  const out = a.receive(request({ method: 'MESSAGE' }), PHONE)!;
  const at = PBX[backendOf(out.to)]!;
  expect(a.receive(answer(out.text, '183 Session Progress'), at)).toBeUndefined();
  expect(a.receive(answer(out.text, '408 Request Timeout'), at)).toBeUndefined();
  expect(a.exchanges!.size).toBe(0);
});

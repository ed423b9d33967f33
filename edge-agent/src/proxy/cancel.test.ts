import { expect, test } from 'vitest';
import { agent, answer, header, request } from './proxy.fixture.ts';

/** CANCELs towards attempts: each goes its own way until it is answered (RFC 3261 §9.1, §17.1.2). */

const PHONE = 'udp 198.51.100.7:5060';
const three = ['11', '12', '13'].map((n, i) => ({ name: `pbx${i + 1}`, address: `10.0.0.${n}` }));
const pbxOf = (to: { ip3: number }) => `udp 10.0.0.${to.ip3 & 255}:5060`;
const first = (s: { text: string }) => s.text.split('\r\n')[0]!;
const firsts = (list: { text: string }[]) => list.map(first);
const branch = (text: string) => /branch=([^;]+)/.exec(header(text, 'Via')[0]!)![1];
const CANCEL = 'CANCEL sip:clyde@example.com SIP/2.0';

/** An INVITE that one PBX left unanswered, and that then went to the next. */
function movedOn(from = PHONE, invite = request(), listener = 0) {
  const a = agent({ backends: three, transactions: 'stateful' }, { transactions: 100 });
  const out = a.receive(invite, from, listener)!;
  const moved = a.pass(1600).find((s) => s.to.ip3 !== out.to.ip3)!;
  a.sent.length = 0;
  const says = (to: typeof out, status: string, ...rest: [tag?: string, more?: string[]]) =>
    a.receive(answer(to.text, status, ...rest), pbxOf(to.to));
  /** CANCELs that time brings towards one of the two. */
  const cancels = (ms: number, to: typeof out) =>
    a.pass(ms).filter((s) => first(s) === CANCEL && s.to.ip3 === to.to.ip3);
  return { a, out, moved, says, cancels };
}

test('the CANCEL of a PBX that was given up is sent again until it is answered, while the next one rings', () => {
  const { out, moved, says, cancels } = movedOn();
  says(moved, '180 Ringing');
  expect(first(says(out, '180 Ringing')!)).toBe(CANCEL);
  const again = cancels(8000, out);
  // Timer E: after 0.5, 1, 2 and 4 s.
  expect(again).toHaveLength(4);
  for (const s of again) expect(branch(s.text)).toBe(branch(out.text));
  says(again[0]!, '200 OK');
  expect(cancels(60_000, out)).toEqual([]);
});

test('it ends with the answer to its INVITE too, and after Timer F in any case', () => {
  const answered = movedOn();
  answered.says(answered.moved, '180 Ringing');
  answered.says(answered.out, '180 Ringing');
  answered.a.sent.length = 0;
  answered.says(answered.out, '487 Request Terminated', 'x');
  expect(firsts(answered.a.sent)).toEqual(['ACK sip:clyde@example.com SIP/2.0']);
  expect(answered.cancels(60_000, answered.out)).toEqual([]);
  const silent = movedOn();
  silent.says(silent.moved, '180 Ringing');
  silent.says(silent.out, '180 Ringing');
  expect(silent.cancels(32_000, silent.out)).toHaveLength(10);
  expect(silent.cancels(60_000, silent.out)).toEqual([]);
  expect(silent.a.exchanges!.size).toBe(1);
});

test('the current attempt is cancelled because another one answered: its 487 ends the CANCEL', () => {
  const { a, out, moved, says, cancels } = movedOn();
  says(moved, '180 Ringing');
  a.sent.length = 0;
  says(out, '200 OK');
  expect(firsts(a.sent)).toEqual(['SIP/2.0 200 OK', CANCEL]);
  expect(cancels(600, moved)).toHaveLength(1);
  a.sent.length = 0;
  says(moved, '487 Request Terminated', 'x');
  expect(firsts(a.sent)).toEqual(['ACK sip:clyde@example.com SIP/2.0']);
  expect(a.pass(60_000)).toEqual([]);
  expect(a.exchanges!.size).toBe(0);
});

test('an attempt that has not answered at all is asked no more once another one has the call', () => {
  const { a, out, moved, says, cancels } = movedOn();
  says(out, '200 OK');
  expect(a.pass(3000)).toEqual([]);
  expect(first(says(moved, '180 Ringing')!)).toBe(CANCEL);
  expect(cancels(600, moved)).toHaveLength(1);
});

test('a 6xx of a PBX that was given up: it is sent again until its ACK, and the CANCEL of the one that rings until its 487', () => {
  const { a, out, moved, says } = movedOn();
  says(moved, '180 Ringing');
  says(out, '603 Decline', 'x');
  expect(firsts(a.pass(600)).sort()).toEqual([CANCEL, 'SIP/2.0 603 Decline']);
  a.receive(request({ method: 'ACK', to: '<sip:clyde@example.com>;tag=x' }), PHONE);
  // The caller is through; the phone behind the other PBX still rings.
  expect(new Set(firsts(a.pass(20_000)))).toEqual(new Set([CANCEL]));
  a.sent.length = 0;
  says(moved, '487 Request Terminated', 'y');
  expect(firsts(a.sent)).toEqual(['ACK sip:clyde@example.com SIP/2.0']);
  expect(a.pass(60_000)).toEqual([]);
  expect(a.exchanges!.size).toBe(0);
});

test('to a caller on a stream no failure is sent twice, while the CANCEL over UDP is', () => {
  const invite = request({ via: 'SIP/2.0/TCP 198.51.100.7;branch=z9hG4bKt' });
  const { a, out, moved, says } = movedOn('tcp 198.51.100.7:41000 #7', invite, 1);
  says(moved, '180 Ringing');
  says(out, '603 Decline', 'x');
  expect(firsts(a.pass(2000))).toEqual([CANCEL, CANCEL]);
});

test('over TCP to a PBX a CANCEL is sent once', () => {
  const tcp = three.map((b) => ({ ...b, transport: 'tcp' as const }));
  const a = agent({ backends: tcp, transactions: 'stateful' }, { transactions: 100 });
  const out = a.receive(request(), PHONE)!;
  a.receive(answer(out.text, '180 Ringing'), pbxOf(out.to).replace('udp', 'tcp') + ' #3', 1);
  a.receive(request({ method: 'CANCEL' }), PHONE);
  expect(firsts(a.sent).filter((f) => f === CANCEL)).toHaveLength(1);
  expect(a.pass(30_000)).toEqual([]);
});

test('a caller that gives up says why to whoever rings (RFC 3326), and a PBX that nobody needs any more hears that it was answered elsewhere', () => {
  const { a, out, moved, says } = movedOn();
  says(moved, '180 Ringing');
  says(out, '180 Ringing');
  const reasons = ['Reason: SIP;cause=600;text="Busy, all of us"', 'Reason: Q.850;cause=17'];
  a.sent.length = 0;
  a.receive(request({ method: 'CANCEL', more: reasons }), PHONE);
  const later = [...a.sent, ...a.pass(600)].filter((s) => first(s) === CANCEL);
  const to = (pbx: typeof out) => later.filter((s) => s.to.ip3 === pbx.to.ip3).map((s) => header(s.text, 'Reason'));
  const said = reasons.map((r) => r.slice('Reason: '.length));
  expect(to(moved)).toEqual([said, said]);
  // The other one was cancelled before, when nobody had said a reason: what is sent again is the same.
  expect(to(out)).toEqual([[]]);

  const elsewhere = movedOn();
  elsewhere.says(elsewhere.moved, '180 Ringing');
  elsewhere.a.sent.length = 0;
  elsewhere.says(elsewhere.out, '200 OK');
  const cancel = elsewhere.a.sent.find((s) => first(s) === CANCEL)!;
  expect(header(cancel.text, 'Reason')).toEqual(['SIP;cause=200;text="Call completed elsewhere"']);
});

test('reasons are bounded: of what is too long nothing goes on', () => {
  const { a, moved, says } = movedOn();
  says(moved, '180 Ringing');
  a.sent.length = 0;
  a.receive(request({ method: 'CANCEL', more: [`Reason: SIP;text="${'x'.repeat(600)}"`] }), PHONE);
  expect(header(a.sent.find((s) => first(s) === CANCEL)!.text, 'Reason')).toEqual([]);
});

test('a provisional answer to a CANCEL: it is sent again at the longest interval only (§17.1.2.2)', () => {
  const { a, out, moved, says, cancels } = movedOn();
  says(moved, '180 Ringing');
  const cancel = says(out, '180 Ringing')!;
  a.receive(answer(cancel.text, '100 Trying'), pbxOf(cancel.to));
  // The timer that ran, and then every 4 s.
  expect(cancels(8000, out)).toHaveLength(2);
});

import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

/** CANCEL and the ACK of a failure that reach an agent which has not seen their INVITE: it was restarted, or took over from another one. */

const PHONE = 'udp 198.51.100.7:5060';
const backends = ['11', '12', '13', '14'].map((n, i) => ({ name: `pbx${i + 1}`, address: `10.0.0.${n}` }));
const pbxOf = (to: { ip3: number }) => `udp 10.0.0.${to.ip3 & 255}:5060`;
const first = (s: { text: string } | undefined) => s?.text.split('\r\n')[0];
const branch = (text: string) => /branch=([^;]+)/.exec(header(text, 'Via')[0]!)![1];
const wayOf = (s: { to: { ip3: number }; text: string }) => `${s.to.ip3 & 255} ${branch(s.text)}`;
const another = (farm = {}) => agent({ backends, ...farm }, { transactions: 100 });
const REASON = 'Reason: Q.850;cause=16;text="Terminated"';
const CANCEL = 'CANCEL sip:clyde@example.com SIP/2.0';

/** Where an INVITE went at the agent that saw it, which then moved on twice after silence. */
function ways(farm = {}) {
  const a = another(farm);
  const out = a.receive(request(), PHONE)!;
  const all = [out, ...a.pass(5000)].filter((s) => s.text.startsWith('INVITE'));
  return { out, all: [...new Set(all.map(wayOf))], sent: all };
}

test('a CANCEL goes to the first three candidates, each under the branch of its attempt; the caller gets its 200 from here', () => {
  const { all } = ways();
  expect(all).toHaveLength(3);
  const b = another();
  b.receive(request({ method: 'CANCEL', more: [REASON] }), PHONE);
  const cancels = b.sent.filter((s) => first(s) === CANCEL);
  expect(cancels.map(wayOf)).toEqual(all);
  for (const s of cancels) {
    expect(header(s.text, 'Via')).toHaveLength(1);
    expect(header(s.text, 'CSeq')).toEqual(['1 CANCEL']);
    expect(header(s.text, 'Reason')).toEqual([REASON.slice('Reason: '.length)]);
  }
  const [answered, ...more] = b.sent.filter((s) => first(s) !== CANCEL);
  expect([first(answered), answered!.to, more]).toEqual(['SIP/2.0 200 OK', endpoint(PHONE), []]);
  // What is sent again is done again, alike.
  b.receive(request({ method: 'CANCEL', more: [REASON] }), PHONE);
  expect(b.sent.slice(4).map((s) => s.text)).toEqual(b.sent.slice(0, 4).map((s) => s.text));
  expect(b.exchanges!.size).toBe(0);
});

test('what the PBXs say to it ends here; the 487 of the one that rang reaches the caller, and its ACK that PBX', () => {
  const { sent } = ways();
  const rang = sent.at(-1)!;
  const b = another();
  b.receive(request({ method: 'CANCEL' }), PHONE);
  for (const cancel of b.sent.filter((s) => first(s) === CANCEL)) {
    const known = branch(cancel.text) === branch(rang.text);
    expect(
      b.receive(answer(cancel.text, known ? '200 OK' : '481 No Such Call', 'x'), pbxOf(cancel.to)),
    ).toBeUndefined();
  }
  const ended = b.receive(answer(rang.text, '487 Request Terminated', 'x'), pbxOf(rang.to))!;
  expect([first(ended), ended.to]).toEqual(['SIP/2.0 487 Request Terminated', endpoint(PHONE)]);
  b.sent.length = 0;
  b.receive(request({ method: 'ACK', to: header(ended.text, 'To')[0]! }), PHONE);
  expect(b.sent.map(wayOf)).toContain(wayOf(rang));
  expect(b.drops).toEqual([]);
});

test('the ACK of a failure goes to the three as it came, under their branches', () => {
  const { all } = ways();
  const b = another();
  b.receive(request({ method: 'ACK', to: '<sip:clyde@example.com>;tag=x' }), PHONE);
  expect(b.sent.map(wayOf)).toEqual(all);
  for (const { text } of b.sent) {
    expect(header(text, 'To')).toEqual(['<sip:clyde@example.com>;tag=x']);
    expect(header(text, 'Max-Forwards')).toEqual(['69']);
    expect(header(text, 'Via').map((v) => v.includes('received='))).toEqual([false, true]);
  }
});

test('never back to the PBX that it comes from, and with none left 503', () => {
  const from = 'udp 10.0.0.11:5060';
  const via = 'SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKp';
  const b = another({ backends: backends.slice(0, 2) });
  b.receive(request({ method: 'CANCEL', via }), from);
  expect(b.sent.map((s) => [first(s), s.to.ip3 & 255])).toEqual([
    [CANCEL, 12],
    ['SIP/2.0 200 OK', 11],
  ]);
  const alone = another({ backends: backends.slice(0, 1) });
  expect(first(alone.receive(request({ method: 'CANCEL', via }), from))).toBe('SIP/2.0 503 Service Unavailable');
  expect(alone.drops).toEqual(['no_backend']);
});

test('a token names the PBX, and in a farm without transactions there is but one: its own answer goes to the caller', () => {
  const a = another();
  const route = `Route: ${header(a.receive(request(), PHONE)!.text, 'Record-Route')[0]}`;
  const b = another();
  b.receive(request({ method: 'ACK', cseq: 2, to: '<sip:clyde@example.com>;tag=x', more: [route] }), PHONE);
  b.receive(request({ method: 'CANCEL', cseq: 2, to: '<sip:clyde@example.com>;tag=x', more: [route] }), PHONE);
  expect(b.sent.map((s) => s.text.split(' ')[0])).toEqual(['ACK', 'CANCEL']);
  const c = another({ transactions: 'stateless' });
  const cancel = c.receive(request({ method: 'CANCEL' }), PHONE)!;
  expect(c.sent).toHaveLength(1);
  expect(first(c.receive(answer(cancel.text, '481 No Such Call'), pbxOf(cancel.to)))).toBe('SIP/2.0 481 No Such Call');
});

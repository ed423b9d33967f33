import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

const PHONE = 'udp 198.51.100.7:5060';
const backends = ['11', '12'].map((n, i) => ({ name: `pbx${i + 1}`, address: `10.0.0.${n}`, tcpAbove: 1300 }));
const tcp = (to: { ip3: number }) => `tcp 10.0.0.${to.ip3 & 255}:5060`;
const first = (s: { text: string }) => s.text.split('\r\n')[0];
const body = 'a=candidate\n'.repeat(90);
const large = (more: Parameters<typeof request>[0] = {}) => request({ body, ...more });
const create = (transactions = 100, farm = {}) => agent({ backends, ...farm }, { transactions });
const branch = (text: string) => /branch=([^;]+)/.exec(header(text, 'Via')[0]!)![1];

test('a large request goes over TCP, and our Via and Record-Route say so; the answer and the dialog find back', () => {
  const a = create();
  const small = a.receive(request(), PHONE)!;
  expect(small).toMatchObject({ how: 'datagram', listener: 0 });
  const out = a.receive(large({ callId: 'c2', via: 'SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKb' }), PHONE)!;
  expect(out).toMatchObject({ how: 'dial', listener: 1, to: endpoint(tcp(out.to)) });
  expect(header(out.text, 'Via')[0]).toMatch(/^SIP\/2\.0\/TCP 192\.0\.2\.10:5060;branch=/);
  const routes = header(out.text, 'Record-Route');
  expect(routes.map((r) => /;transport=tcp;lr>$/.test(r))).toEqual([true, false]);
  const ok = a.receive(answer(out.text), `${tcp(out.to)} #9`, 1)!;
  expect(ok).toMatchObject({ how: 'datagram', to: endpoint(PHONE), listener: 0 });
  // What is small goes by UDP again, to the same PBX.
  const route = [...routes].reverse().map((r) => `Route: ${r}`);
  const dialog = { callId: 'c2', to: '<sip:clyde@example.com>;tag=t1', more: route };
  const bye = a.receive(request({ method: 'BYE', cseq: 2, ...dialog }), PHONE)!;
  expect(bye).toMatchObject({ how: 'datagram', to: { ip3: out.to.ip3 } });
  expect(header(bye.text, 'Route')).toEqual([]);
  const again = a.receive(large({ cseq: 3, ...dialog }), PHONE)!;
  expect(again).toMatchObject({ how: 'dial', to: { ip3: out.to.ip3 } });
  expect(a.counts).toMatchObject({ [`large ${(out.to.ip3 & 255) - 11} tcp`]: 2 });
});

test('no datagram of more than the limit leaves, whatever the Routes and parameters, and none near it needs TCP', () => {
  const a = create(0);
  for (let length = 300; length < 1300; length += 7)
    for (const sentBy of ['198.51.100.7;rport', '192.168.0.7']) {
      const via = `SIP/2.0/UDP ${sentBy};branch=z9hG4bK${sentBy.length}${length}`;
      const out = a.receive(request({ body: 'x'.repeat(length), via }), PHONE)!;
      if (out.how === 'datagram') expect(out.text.length).toBeLessThanOrEqual(1300);
      else expect(out.text.length).toBeGreaterThan(1300 - 100);
    }
});

test('CANCEL, and the ACK of a failure, go the INVITE’s way under its branch', () => {
  const a = create(100, { backends: backends.slice(0, 1) });
  const out = a.receive(large(), PHONE)!;
  a.receive(answer(out.text, '180 Ringing'), `${tcp(out.to)} #9`, 1);
  a.sent.length = 0;
  a.receive(request({ method: 'CANCEL' }), PHONE);
  a.receive(answer(out.text, '487 Request Terminated'), `${tcp(out.to)} #9`, 1);
  const onward = a.sent.filter((s) => s.how === 'dial');
  expect(onward.map(first)).toEqual(['CANCEL sip:clyde@example.com SIP/2.0', 'ACK sip:clyde@example.com SIP/2.0']);
  for (const { text } of onward)
    expect([branch(text), header(text, 'Via')[0]!.slice(0, 11)]).toEqual([branch(out.text), 'SIP/2.0/TCP']);
});

test('TCP is refused: the same request by UDP, with Timer A, and so all for a minute; nothing is held against the PBX', () => {
  const a = create();
  const out = a.receive(large(), PHONE)!;
  a.sent.length = 0;
  a.refuse(tcp(out.to));
  const [byUdp] = a.sent;
  expect(byUdp).toMatchObject({ how: 'datagram', listener: 0, to: { ip3: out.to.ip3, transport: 0 } });
  expect([branch(byUdp!.text), header(byUdp!.text, 'Via')[0]!.slice(0, 11)]).toEqual([branch(out.text), 'SIP/2.0/UDP']);
  expect(header(byUdp!.text, 'Record-Route')).toHaveLength(1);
  expect(a.pass(600).map((s) => [s.how, s.text === byUdp!.text])).toEqual([['datagram', true]]);
  expect(a.signals.take((out.to.ip3 & 255) - 11, 'refused')).toBe(0);
  const next = (n: number) =>
    a.receive(large({ callId: `n${n}`, via: `SIP/2.0/UDP h;branch=z9hG4bKn${n}` }), PHONE)!.how;
  a.clock.seconds += 59;
  expect(next(1)).toBe('datagram');
  a.clock.seconds += 1;
  expect(next(2)).toBe('dial');
});

test('a connection that is lost is opened anew once, then UDP serves', () => {
  const a = create();
  const out = a.receive(large(), PHONE)!;
  a.sent.length = 0;
  a.refuse(tcp(out.to), false);
  a.refuse(tcp(out.to), false);
  expect(a.sent.map((s) => [s.how, branch(s.text)])).toEqual([
    ['dial', branch(out.text)],
    ['datagram', branch(out.text)],
  ]);
});

test('without transactions the phone’s own retransmission goes by UDP', () => {
  const a = create(0, { transactions: 'stateless' });
  const out = a.receive(large(), PHONE)!;
  expect(out.how).toBe('dial');
  a.refuse(tcp(out.to));
  expect(a.receive(large(), PHONE)).toMatchObject({ how: 'datagram', to: { ip3: out.to.ip3 } });
});

test('a REGISTER’s Path and Contact are the same whatever its length: bindings outlast it', () => {
  for (const mode of ['path', 'contact'] as const) {
    const a = create(0, { registration: { mode } });
    const register = (callId: string, more: string[]) =>
      a.receive(request({ method: 'REGISTER', callId, to: '<sip:bonnie@example.com>', more }), PHONE)!;
    const short = register('r1', []);
    const long = register('r2', [`X-Vendor: ${'v'.repeat(1300)}`]);
    expect([short.how, long.how]).toEqual(['datagram', 'dial']);
    expect(header(long.text, 'Path')).toEqual(header(short.text, 'Path'));
    expect(header(long.text, 'Contact')).toEqual(header(short.text, 'Contact'));
  }
});

test('a backend without tcpAbove gets everything by UDP', () => {
  const a = agent({}, { transactions: 10 });
  expect(a.receive(large(), PHONE)!.how).toBe('datagram');
  expect(a.counts).not.toHaveProperty('large 0 udp');
});

import { expect, test } from 'vitest';
import { agent, answer, request } from './proxy.fixture.ts';

/** Answers to what has its answer already. */

const CLIENT = 'tcp 198.51.100.7:41000 #7';
const register = request({ method: 'REGISTER', via: 'SIP/2.0/TCP 198.51.100.7:41000;branch=z9hG4bKr' });
const first = (s: { text: string } | undefined) => s?.text.split('\r\n')[0];
const pbxOf = (to: { ip3: number }) => `udp 10.0.0.${to.ip3 & 255}:5060`;

test('a request that is no INVITE is answered once: what is sent again, or late by a PBX given up, ends here (Timer K)', () => {
  const a = agent({}, { transactions: 100 });
  const out = a.receive(register, CLIENT, 1)!;
  const moved = a.pass(4100).find((s) => s.text.startsWith('REGISTER') && s.to.ip3 !== out.to.ip3)!;
  const reply = (s: typeof out, status: string) => a.receive(answer(s.text, status), pbxOf(s.to));
  expect(first(reply(moved, '401 Unauthorized'))).toBe('SIP/2.0 401 Unauthorized');
  expect(reply(moved, '401 Unauthorized')).toBeUndefined();
  expect(reply(out, '200 OK')).toBeUndefined();
  expect(a.drops).toEqual([]);
  // The phone asks again, and is answered again.
  const again = a.receive(register, CLIENT, 1)!;
  expect([again.to, first(reply(again, '401 Unauthorized'))]).toEqual([moved.to, 'SIP/2.0 401 Unauthorized']);
});

test('without transactions every answer goes through, and so does each 2xx of an INVITE', () => {
  const stateless = agent({ transactions: 'stateless' });
  const out = stateless.receive(register, CLIENT, 1)!;
  for (let i = 0; i < 2; i++) expect(first(stateless.receive(answer(out.text), pbxOf(out.to)))).toBe('SIP/2.0 200 OK');
  const a = agent({}, { transactions: 100 });
  const call = a.receive(request(), 'udp 198.51.100.7:5060')!;
  for (const tag of ['t1', 't1', 't2'])
    expect(first(a.receive(answer(call.text, '200 OK', tag), pbxOf(call.to)))).toBe('SIP/2.0 200 OK');
});

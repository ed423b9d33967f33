import { expect, test } from 'vitest';
import { agent, answer, header, request } from './proxy.fixture.ts';

/** Messages that exchanges keep are bounded by their bytes too, whatever their number. */

const PHONE = 'udp 198.51.100.7:5060';
const pbxOf = (to: { ip3: number }) => `udp 10.0.0.${to.ip3 & 255}:5060`;
const first = (s: { text: string } | undefined) => s?.text.split('\r\n')[0];
const KB = 1024;
const bounded = (keptBytes: number) => agent({}, { transactions: 1000, keptBytes });
const large = (i: number, more: Parameters<typeof request>[0] = {}) =>
  request({ callId: `large${i}`, via: `SIP/2.0/UDP h;branch=z9hG4bKl${i}`, body: 'x'.repeat(60 * KB), ...more });

test('at the limit new work is refused with 503, a dialog goes on; what ends makes room', () => {
  const a = bounded(200 * KB);
  const calls = [1, 2, 3].map((i) => a.receive(large(i), PHONE)!);
  for (const call of calls) expect(first(call)).toContain('INVITE');
  const refused = a.receive(large(4), PHONE)!;
  expect([first(refused), header(refused.text, 'Retry-After')]).toEqual(['SIP/2.0 503 Service Unavailable', ['5']]);
  const route = `Route: ${header(calls[0]!.text, 'Record-Route')[0]}`;
  const info = a.receive(large(1, { method: 'INFO', cseq: 2, to: '<sip:c@x>;tag=t', more: [route] }), PHONE)!;
  expect([first(info), info.to]).toEqual(['INFO sip:clyde@example.com SIP/2.0', calls[0]!.to]);
  expect([a.exchanges!.size, a.counts['refused transaction_limit'], a.drops]).toEqual([3, 1, []]);
  a.receive(answer(calls[0]!.text), pbxOf(calls[0]!.to));
  expect(first(a.receive(large(5), PHONE))).toContain('INVITE');
  expect(a.exchanges!.keptBytes).toBeLessThan(200 * KB);
});

test('records that wait for their next use hold back half of it at most', () => {
  const a = bounded(64 * KB);
  const calls = Array.from({ length: 20 }, (_, i) => a.receive(large(i, { body: 'x'.repeat(2 * KB) }), PHONE)!);
  expect(a.counts['refused transaction_limit']).toBeUndefined();
  for (const call of calls) a.receive(answer(call.text), pbxOf(call.to));
  expect(a.exchanges!.size).toBe(0);
  expect(a.exchanges!.keptBytes).toBeLessThanOrEqual(32 * KB);
  expect(a.exchanges!.keptBytes).toBeGreaterThan(0);
});

test('an answer that finds no room is passed on and not kept: its retransmissions come from the PBX, or not at all', () => {
  const a = bounded(100 * KB);
  const out = a.receive(large(1), PHONE)!;
  const long = [`X-Long: ${'y'.repeat(50 * KB)}`];
  a.sent.length = 0;
  expect(first(a.receive(answer(out.text, '183 Session Progress', 't', long), pbxOf(out.to)))).toContain('183');
  expect(first(a.receive(large(1), PHONE))).toBe('SIP/2.0 100 Trying');
  a.sent.length = 0;
  a.receive(answer(out.text, '486 Busy Here', 't', long), pbxOf(out.to));
  expect(a.sent.map(first)).toEqual(['ACK sip:clyde@example.com SIP/2.0', 'SIP/2.0 486 Busy Here']);
  expect(a.pass(3000)).toEqual([]);
  expect(a.exchanges!.keptBytes).toBeLessThanOrEqual(100 * KB);
});

test('a failure that finds no room is no candidate for the best', () => {
  const a = bounded(100 * KB);
  const out = a.receive(large(1), PHONE)!;
  a.receive(answer(out.text, '503 Service Unavailable', 't', [`X-Long: ${'y'.repeat(50 * KB)}`]), pbxOf(out.to));
  const moved = a.sent.at(-1)!;
  expect(moved.to).not.toEqual(out.to);
  a.receive(answer(moved.text, '486 Busy Here', 'u'), pbxOf(moved.to));
  expect(first(a.sent.at(-1))).toBe('SIP/2.0 486 Busy Here');
  expect(a.exchanges!.keptBytes).toBeLessThanOrEqual(100 * KB);
});

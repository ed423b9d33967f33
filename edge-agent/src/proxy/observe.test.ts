import { expect, test } from 'vitest';
import { METHOD } from '../sip/method.ts';
import type { CallEvents } from './context.ts';
import { agent, answer, header, request, type Sent } from './proxy.fixture.ts';

interface Told {
  what: 'request' | 'response' | 'answered' | 'transaction';
  method: number;
  call: number;
  key?: number;
  transaction?: number;
  leg?: number;
  flags?: number;
  backend?: number;
  source?: number;
  start?: number;
  binding?: number;
  status?: number;
  value?: number;
  plan?: number;
  dialogStart?: number;
  began?: number;
  provisional?: number;
  sent?: number;
  attempts?: number;
  failovers?: number;
}

/** An agent, and what it tells about calls. */
function observed(transactions?: number) {
  const told: Told[] = [];
  const events: CallEvents = {
    active: true,
    request: (method, call, key, transaction, _farm, leg, flags, backend, source, start, binding) =>
      void told.push({ what: 'request', method, call, key, transaction, leg, flags, backend, source, start, binding }),
    response: (method, call, key, status, value) =>
      void told.push({ what: 'response', method, call, key, status, value }),
    answered: (method, call, transaction, _farm, flags, status) =>
      void told.push({ what: 'answered', method, call, transaction, flags, status }),
    transaction: (watched, status, value) => void told.push({ what: 'transaction', ...watched, status, value }),
    plan: 3,
  };
  return { ...agent({}, transactions ? { transactions, events } : { events }), told };
}
const PHONE = 'udp 198.51.100.7:5060';
const pbxOf = (sent: Sent): string => `udp 10.0.0.${sent.to.ip3 & 255}:5060`;
const IN_DIALOG = 1;
const CREDENTIALS = 2;
const UNREGISTER = 4;

/** Within the dialog, from the phone: by the Route that the INVITE's answer set. */
const later = (method: string, forwarded: string, cseq: number, more: string[] = []): string =>
  request({
    method,
    cseq,
    to: '<sip:clyde@example.com>;tag=t1',
    via: `SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK${method}${cseq};rport`,
    more: [...header(forwarded, 'record-route').map((route) => `Route: ${route}`), ...more],
  });

test('a call as told by a stateless agent', () => {
  const a = observed();
  const invite = a.receive(request(), PHONE)!;
  const backend = a.told[0]!.backend!;
  const pbx = pbxOf(invite);
  a.receive(answer(invite.text, '100 Trying'), pbx);
  a.receive(answer(invite.text, '180 Ringing'), pbx);
  a.receive(answer(invite.text), pbx);
  a.receive(later('ACK', invite.text, 1), PHONE);
  a.receive(later('INVITE', invite.text, 2), PHONE);
  const bye = a.receive(later('BYE', invite.text, 3, ['Authorization: Digest x']), PHONE)!;
  a.receive(answer(bye.text), pbx);
  const { call, key, transaction } = a.told[0]!;
  const start = 1_700_000_000 & 0xffffff;
  const known = { what: 'request', call, leg: 0, backend, source: -1 };
  expect(a.told).toMatchObject([
    { ...known, method: METHOD.INVITE, flags: 0, start: -1 },
    { what: 'response', method: METHOD.INVITE, call, key, status: 180 },
    { what: 'response', method: METHOD.INVITE, call, key, status: 200 },
    { ...known, method: METHOD.INVITE, flags: IN_DIALOG, start },
    { ...known, method: METHOD.BYE, flags: IN_DIALOG | CREDENTIALS, start },
    { what: 'response', method: METHOD.BYE, call, status: 200 },
  ]);
  expect(a.told[4]!.key).toBe(a.told[5]!.key);
  expect(new Set([key, a.told[3]!.key, a.told[4]!.key]).size).toBe(3);
  expect(new Set([transaction, a.told[3]!.transaction, a.told[4]!.transaction]).size).toBe(3);
});

test('a retransmission through a stateless agent is told with the same attempt and transaction', () => {
  const a = observed();
  a.receive(request(), PHONE);
  a.receive(request(), PHONE);
  expect(a.told[1]).toEqual(a.told[0]);
});

test('another call is another call, though everything else is the same', () => {
  const a = observed();
  a.receive(request(), PHONE);
  a.receive(request({ callId: 'c2@phone' }), PHONE);
  expect(a.told[1]!.call).not.toBe(a.told[0]!.call);
});

test('a call as told by an agent that keeps transactions: each whole, when it has ended', () => {
  const a = observed(10);
  const invite = a.receive(request(), PHONE)!;
  const pbx = pbxOf(invite);
  a.receive(answer(invite.text, '100 Trying'), pbx);
  expect(a.told).toEqual([]);
  a.pass(300);
  a.receive(answer(invite.text, '180 Ringing'), pbx);
  a.pass(500);
  a.receive(answer(invite.text), pbx);
  // A further 2xx of a fork is none of it.
  a.receive(answer(invite.text, '200 OK', 't2'), pbx);
  a.receive(later('ACK', invite.text, 1), PHONE);
  const bye = a.receive(later('BYE', invite.text, 3, ['Authorization: Digest x']), PHONE)!;
  a.receive(answer(bye.text), pbx);
  const whole = a.told.filter((t) => t.what === 'transaction');
  const start = 1_700_000_000 & 0xffffff;
  const { call } = whole[0]!;
  expect(whole).toMatchObject([
    {
      method: METHOD.INVITE,
      call,
      plan: 3,
      flags: 0,
      dialogStart: -1,
      status: 200,
      sent: 1,
      attempts: 1,
      failovers: 0,
    },
    { method: METHOD.BYE, call, flags: IN_DIALOG | CREDENTIALS, dialogStart: start, status: 200, provisional: 0 },
  ]);
  expect(whole[0]!.provisional! - whole[0]!.began!).toBe(300);
});

test('a failover is part of its transaction, which ends at the second backend', () => {
  const a = observed(10);
  const first = a.receive(request(), PHONE)!;
  a.receive(answer(first.text, '503 Busy'), pbxOf(first));
  const again = a.sent.at(-1)!;
  a.receive(answer(again.text), pbxOf(again));
  const backend = (again.to.ip3 & 255) - 11;
  expect(a.told).toMatchObject([{ what: 'transaction', status: 200, sent: 2, attempts: 2, failovers: 1, backend }]);
});

test('retransmissions count, and silence is the end of what nobody is told about', () => {
  const a = observed(10);
  a.receive(register(), PHONE);
  a.pass(40_000);
  expect(a.told).toMatchObject([{ what: 'transaction', method: METHOD.REGISTER, status: 0 }]);
  expect(a.told[0]!.sent).toBeGreaterThan(5);
});

test('what the agent answers itself is told with the transaction that it was', () => {
  const a = observed(10);
  a.setState(0, 'down');
  a.setState(1, 'down');
  a.receive(request(), PHONE);
  expect(a.told).toMatchObject([{ what: 'answered', method: METHOD.INVITE, status: 503, flags: 0 }]);
  // A broken request belongs to no call, and a keepalive is none.
  a.receive('INVITE sip:x SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKx\nContent-Length: x\n\n', PHONE);
  a.receive(request({ method: 'OPTIONS', uri: 'sip:192.0.2.10' }), PHONE);
  expect(a.told).toHaveLength(1);
});

test('an INVITE that nobody answers ends with the 408 that the caller gets', () => {
  const a = observed(10);
  a.receive(request(), PHONE);
  a.pass(40_000);
  expect(a.told).toMatchObject([{ what: 'transaction', method: METHOD.INVITE, status: 408 }]);
});

const register = (more: string[] = [], callId = 'r1@phone'): string =>
  request({ method: 'REGISTER', uri: 'sip:example.com', callId, more });

test.each([
  ['its Contact says', ['Contact: <sip:bonnie@198.51.100.7:5060>;expires=90'], 90],
  ['a header says for all', ['Contact: <sip:bonnie@198.51.100.7:5060>', 'Expires: 60'], 60],
  ['nobody says', ['Contact: <sip:bonnie@198.51.100.7:5060>'], 3600],
  ['the longest of several', ['Contact: "a;expires=7" <sip:b@x;expires=9>;expires=5, <sip:c@x>;q=1;EXPIRES = 70'], 70],
  ['nothing is stored any more', [], 0],
])('a registration is stored for as long as %s', (_name, more, seconds) => {
  const a = observed(10);
  const sent = a.receive(register(), PHONE)!;
  a.receive(answer(sent.text, '200 OK', 't', more), pbxOf(sent));
  expect(a.told).toMatchObject([{ what: 'transaction', method: METHOD.REGISTER, status: 200, value: seconds }]);
});

test('a binding is its address-of-record and Contact, whatever the Call-ID; removals are known', () => {
  const a = observed();
  const bindingOf = (text: string) => {
    a.receive(text, PHONE);
    const { binding, flags } = a.told.at(-1)!;
    return { binding, removed: (flags! & UNREGISTER) !== 0 };
  };
  const first = bindingOf(register());
  expect(first.binding).not.toBe(0);
  expect(bindingOf(register([], 'other@phone'))).toEqual(first);
  expect(bindingOf(register(['Expires: 0'])).removed).toBe(true);
  expect(bindingOf(register(['Expires: 60'])).removed).toBe(false);
  expect(bindingOf(register().replace('5060>', '5060>;expires=0'))).toEqual({ ...first, removed: true });
  expect(bindingOf(register().replace('5060>', '5061>')).binding).not.toBe(first.binding);
  expect(bindingOf(register().replace(/Contact: .*\n/, '')).binding).toBe(0);
});

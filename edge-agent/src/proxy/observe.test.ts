import { expect, test } from 'vitest';
import { METHOD } from '../sip/method.ts';
import type { CallEvents } from './context.ts';
import { agent, answer, header, request, type Sent } from './proxy.fixture.ts';

interface Told {
  what: 'request' | 'response' | 'answered' | 'failover';
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
    failover: (method, call, key, status) => void told.push({ what: 'failover', method, call, key, status }),
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

test.each([undefined, 10])('a call as told by an agent with %s transactions', (transactions) => {
  const a = observed(transactions);
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

test('a failover is told with its cause, the failure that it hides is not', () => {
  const a = observed(10);
  const first = a.receive(request(), PHONE)!;
  const second = a.receive(answer(first.text, '503 Busy'), pbxOf(first))!;
  expect(second.text).toMatch(/^ACK/);
  const again = a.sent.at(-1)!;
  a.receive(answer(again.text), pbxOf(again));
  const [before, after, failover, response] = a.told;
  expect(a.told).toHaveLength(4);
  expect(after).toMatchObject({ what: 'request', call: before!.call, transaction: before!.transaction });
  expect(after!.backend).toBe(1 - before!.backend!);
  expect(failover).toMatchObject({ what: 'failover', key: before!.key, status: 503 });
  expect(response).toMatchObject({ what: 'response', key: after!.key, status: 200 });
});

test('silence that leads to a failover has status 0', () => {
  const a = observed(10);
  a.receive(request(), PHONE);
  a.pass(2000);
  expect(a.told.filter((t) => t.what === 'failover')).toMatchObject([{ key: a.told[0]!.key, status: 0 }]);
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
  expect(a.told.at(-1)).toMatchObject({ what: 'answered', status: 408, transaction: a.told[0]!.transaction });
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
  expect(a.told.at(-1)).toMatchObject({ what: 'response', method: METHOD.REGISTER, status: 200, value: seconds });
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

import { expect, test } from 'vitest';
import { agent, endpoint, header, request } from './proxy.fixture.ts';

/** Subscriptions (RFC 6665) whose NOTIFY is there before the answer to the SUBSCRIBE. */

const PHONE = { udp: 'udp 203.0.113.9:40000', tcp: 'tcp 203.0.113.9:40000 #7' } as const;
const LISTENER = { udp: 0, tcp: 1 } as const;
const pbxOf = (to: { ip3: number }) => `udp 10.0.0.${to.ip3 & 255}:5060`;
const routesOf = (text: string) => header(text, 'Record-Route').map((r) => `Route: ${r}`);

test.each([
  ['udp', 0],
  ['tcp', 0],
  ['udp', 50],
  ['tcp', 50],
] as const)('a phone on %s refreshes by the Record-Routes of the NOTIFY alone, %i transactions', (transport, n) => {
  const a = agent(n ? {} : { transactions: 'stateless' }, { transactions: n });
  const via = (branch: string) => `SIP/2.0/${transport.toUpperCase()} 203.0.113.9:40000;branch=z9hG4bK${branch}`;
  const phone = PHONE[transport];
  const out = a.receive(request({ method: 'SUBSCRIBE', via: via('s1') }), phone, LISTENER[transport])!;
  const pbx = pbxOf(out.to);
  const notify = request({
    method: 'NOTIFY',
    uri: 'sip:bonnie@203.0.113.9:40000',
    via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKn1',
    from: '<sip:clyde@example.com>;tag=t1',
    to: 'Bonnie <sip:bonnie@example.com>;tag=b1',
    more: routesOf(out.text),
  });
  const sent = a.receive(notify, pbx)!;
  expect(sent.to).toMatchObject(endpoint(phone));
  expect(header(sent.text, 'Route')).toEqual([]);
  expect(header(sent.text, 'Record-Route')).toHaveLength(transport === 'udp' ? 1 : 2);
  // The phone is the NOTIFY's server: its route set stands in the order of the Record-Routes (RFC 3261 §12.1.1).
  a.setState((out.to.ip3 & 255) - 11, 'down');
  const refresh = request({
    method: 'SUBSCRIBE',
    via: via('s2'),
    cseq: 2,
    to: '<sip:clyde@example.com>;tag=t1',
    more: routesOf(sent.text),
  });
  const refreshed = a.receive(refresh, phone, LISTENER[transport])!;
  expect(refreshed.to).toMatchObject({ ip3: out.to.ip3 });
  expect(header(refreshed.text, 'Route')).toEqual([]);
  // Not a new dialog: nothing is recorded in the refresh.
  expect(header(refreshed.text, 'Record-Route')).toEqual([]);
});

test('a PBX that has subscribed at a phone gets its NOTIFY with the Record-Routes that lead back', () => {
  const a = agent();
  const registered = a.receive(request({ method: 'REGISTER', to: '<sip:bonnie@example.com>' }), PHONE.udp)!;
  const pbx = pbxOf(registered.to);
  const subscribe = {
    method: 'SUBSCRIBE',
    uri: 'sip:bonnie@203.0.113.9:40000',
    via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKs1',
    from: '<sip:pbx@example.com>;tag=p1',
    to: '<sip:bonnie@example.com>',
    more: [`Route: ${header(registered.text, 'Path')[0]}`],
  };
  const out = a.receive(request(subscribe), pbx)!;
  const dialog = { from: '<sip:bonnie@example.com>;tag=b1', to: '<sip:pbx@example.com>;tag=p1' };
  const notify = request({ method: 'NOTIFY', ...dialog, more: routesOf(out.text) });
  const sent = a.receive(notify, PHONE.udp)!;
  expect(sent.to).toMatchObject(endpoint(pbx));
  expect(header(sent.text, 'Record-Route')).toHaveLength(1);
  const refresh = { ...subscribe, to: '<sip:bonnie@example.com>;tag=b1', cseq: 2, more: routesOf(sent.text) };
  expect(a.receive(request(refresh), pbx)!.to).toMatchObject(endpoint(PHONE.udp));
});

import { expect, test } from 'vitest';
import { createPeers, Peers } from './peers.ts';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

test('agents are found by number and recognised by address, of both families, until replaced', () => {
  const memory = createPeers();
  new Peers(memory).replace([
    { number: 2, address: '10.0.0.22' },
    { number: 300, address: '2001:db8::3' },
  ]);
  const peers = new Peers(memory);
  const to = endpoint('udp 0.0.0.0:1');
  expect(peers.find(300, to)).toBe(true);
  expect(to).toMatchObject({ ip0: 0x20010db8, ip3: 3 });
  expect([peers.has(to), peers.has(endpoint('udp 10.0.0.22:7')), peers.has(endpoint('udp 10.0.0.23:7'))]).toEqual([
    true,
    true,
    false,
  ]);
  expect(peers.find(3, to)).toBe(false);
  peers.replace([]);
  expect([peers.find(2, to), peers.has(endpoint('udp 10.0.0.22:7'))]).toEqual([false, false]);
});

/** No more than the table holds, and no stranger instead. */
test('it is bounded', () => {
  const peers = new Peers(createPeers());
  peers.replace(Array.from({ length: 100 }, (_, i) => ({ number: i + 1, address: `10.0.1.${i + 1}` })));
  expect(peers.find(64, endpoint('udp 0.0.0.0:1'))).toBe(true);
  expect(peers.find(65, endpoint('udp 0.0.0.0:1'))).toBe(false);
});

const OWN = {
  listeners: [
    { transport: 'udp' as const, port: 5060 },
    { transport: 'tcp' as const, port: 5060 },
  ],
};
const ADDRESS = ['192.0.2.21', '192.0.2.22'] as const;
const ALL = ADDRESS.map((address, i) => ({ number: i + 1, address }));
const PBX = 'udp 10.0.0.11:5060';
const CLIENT = 'tcp 198.51.100.7:40001 #7';

/** Two agents of one site, each with its own address, and a client that is registered over a connection to the first. */
function site(transactions = 0) {
  const farm = { ...OWN, transactions: transactions ? ('stateful' as const) : ('stateless' as const) };
  const make = (number: 1 | 2, peers = ALL) =>
    agent(farm, {
      number,
      address: ADDRESS[number - 1],
      peers: peers.filter((p) => p.number !== number),
      transactions,
    });
  const [a, b] = [make(1), make(2)];
  const register = request({
    method: 'REGISTER',
    uri: 'sip:example.com',
    via: 'SIP/2.0/TCP 198.51.100.7:40001;branch=z9hG4bKr',
    to: '<sip:bonnie@example.com>',
  });
  const path = header(a.receive(register, CLIENT, 1)!.text, 'Path')[0]!;
  return { a, b, make, path };
}

const toClient = (path: string, o: { method?: string; to?: string; cseq?: number } = {}) =>
  request({
    uri: 'sip:bonnie@198.51.100.7:40001',
    via: `SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bK${o.method ?? 'i'}`,
    from: '<sip:clyde@example.com>;tag=p1',
    to: '<sip:bonnie@example.com>',
    callId: 'c9',
    more: [`Route: ${path}`],
    ...o,
  });

/** What goes from one agent arrives at the other. */
const asSent = (text: string) => text.replaceAll('\r\n', '\n');
const sentOf = (from: ReturnType<typeof agent>, what: RegExp) => from.sent.filter((m) => what.test(m.text));

test.each([0, 50])(
  'a call for a client of another agent goes through that agent, and its dialog both ways, %i transactions',
  (n) => {
    const { a, b, path } = site(n);
    b.receive(toClient(path), PBX);
    const [hop] = sentOf(b, /^INVITE/);
    expect(hop).toMatchObject({ how: 'datagram', listener: 0, to: endpoint('udp 192.0.2.21:5060') });
    expect(header(hop!.text, 'Route')).toEqual([path]);
    a.receive(asSent(hop!.text), 'udp 192.0.2.22:5060');
    const [invite] = sentOf(a, /^INVITE/);
    expect(invite).toMatchObject({ how: 'stream', listener: 1, to: endpoint(CLIENT) });
    expect(header(invite!.text, 'Route')).toEqual([]);
    // Towards the client its own agent, towards the PBX the one that it sent to.
    const routes = header(invite!.text, 'Record-Route');
    expect(routes.map((r) => /@([^>]+);lr/.exec(r)![1])).toEqual(['192.0.2.21:5060;transport=tcp', '192.0.2.22:5060']);
    // The answer goes back the same way.
    a.receive(answer(invite!.text, '200 OK', 'b9'), CLIENT, 1);
    const [ok] = sentOf(a, /^SIP\/2\.0 200 /);
    expect(ok).toMatchObject({ to: endpoint('udp 192.0.2.22:5060') });
    b.receive(asSent(ok!.text), 'udp 192.0.2.21:5060');
    expect(sentOf(b, /^SIP\/2\.0 200/)[0]).toMatchObject({ to: endpoint(PBX) });

    // The PBX hangs up: through both again. All Routes of ours are taken off by the one that reaches the client.
    const reversed = [...routes].reverse().join(', ');
    b.receive(toClient(reversed, { method: 'BYE', to: '<sip:bonnie@example.com>;tag=b9', cseq: 2 }), PBX);
    const [byeHop] = sentOf(b, /^BYE/);
    expect(byeHop).toMatchObject({ to: endpoint('udp 192.0.2.21:5060') });
    a.receive(asSent(byeHop!.text), 'udp 192.0.2.22:5060');
    const [bye] = sentOf(a, /^BYE/);
    expect(bye).toMatchObject({ how: 'stream', to: endpoint(CLIENT) });
    expect(header(bye!.text, 'Route')).toEqual([]);
    // The client hangs up: its agent knows the way to the PBX.
    a.receive(
      request({
        method: 'BYE',
        uri: 'sip:clyde@10.0.0.11',
        via: 'SIP/2.0/TCP 198.51.100.7:40001;branch=z9hG4bKb',
        from: '<sip:bonnie@example.com>;tag=b9',
        to: '<sip:clyde@example.com>;tag=p1',
        callId: 'c9',
        more: routes.map((r) => `Route: ${r}`),
      }),
      CLIENT,
      1,
    );
    expect(sentOf(a, /^BYE/)[1]).toMatchObject({ how: 'datagram', to: endpoint(PBX) });
  },
);

test('what a peer passed on goes to no third agent, and a client is no peer', () => {
  const { a, b, path } = site();
  a.closed.add('0#7');
  const hop = b.receive(toClient(path), PBX)!;
  expect(a.receive(asSent(hop.text), 'udp 192.0.2.22:5060')!.text).toMatch(/^SIP\/2\.0 430 /);
  // From the peer's address, but by another port than agents send from.
  expect(a.receive(asSent(hop.text).replace('z9hG4bKi', 'z9hG4bKj'), 'udp 192.0.2.22:40000')!.text).toMatch(
    /^SIP\/2\.0 403 /,
  );
  // One that takes itself for somebody else: nothing circles.
  const confused = agent(OWN, { number: 3, address: ADDRESS[0], peers: [{ number: 1, address: ADDRESS[1] }] });
  expect(confused.receive(asSent(hop.text), 'udp 192.0.2.22:5060')!.text).toMatch(/^SIP\/2\.0 430 /);
});

test('an agent that is not known (any more), or a farm without a common listener: 430', () => {
  const { make, path } = site();
  expect(make(2, []).receive(toClient(path), PBX)!.text).toMatch(/^SIP\/2\.0 430 /);
  const fixed = agent({}, { number: 2, peers: ALL });
  expect(fixed.receive(toClient(path), PBX)!.text).toMatch(/^SIP\/2\.0 430 /);
});

test('an answer that comes to another agent is passed to the one with the connection, and makes its client known there', () => {
  const { a, b, path } = site();
  const out = a.sent[0]!;
  const hop = b.receive(answer(out.text), PBX)!;
  expect(hop).toMatchObject({ how: 'datagram', to: endpoint('udp 192.0.2.21:5060') });
  const ok = a.receive(asSent(hop.text), 'udp 192.0.2.22:5060')!;
  expect(ok).toMatchObject({ how: 'stream', to: { connection: 7 } });
  expect(header(ok.text, 'Via')).toHaveLength(1);
  // No circle between two that disagree about who is who.
  const c = agent(OWN, { number: 3, address: ADDRESS[0], peers: [{ number: 1, address: ADDRESS[1] }] });
  expect(c.receive(asSent(hop.text), 'udp 192.0.2.22:5060')).toBeUndefined();
  expect(c.drops).toEqual(['unknown_flow']);
  expect(path).toBeDefined();
});

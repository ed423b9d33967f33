import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

/** Each test is an attack, or a message that one reader takes differently from the next. */

const PHONE = 'udp 198.51.100.7:5060';
const PBX = ['udp 10.0.0.11:5060', 'udp 10.0.0.12:5060'] as const;
const backendOf = (to: { ip3: number }) => (to.ip3 & 255) - 11;

test('Routes of ours without end are refused, in lines of their own or in one', () => {
  const a = agent();
  const lines = Array.from({ length: 25 }, () => 'Route: <sip:192.0.2.10;lr>');
  expect(a.receive(request({ more: lines }), PHONE)!.text).toMatch(/^SIP\/2\.0 400 /);
  const one = `Route: ${Array.from({ length: 3000 }, () => '<sip:192.0.2.10;lr>').join(',')}`;
  expect(a.receive(request({ more: [one] }), PHONE)!.text).toMatch(/^SIP\/2\.0 400 /);
});

test('more Vias than hops are dropped, also where the message would be answered', () => {
  const a = agent();
  const lines = Array.from({ length: 100 }, (_, i) => [`X-${i}: y`, 'Via: SIP/2.0/UDP 1.2.3.4']).flat();
  expect(a.receive(request({ more: [...lines, 'Proxy-Require: x'] }), PHONE)).toBeUndefined();
  expect(a.receive(request({ cseq: 2 ** 31, more: lines }), PHONE)).toBeUndefined();
  expect(a.drops).toEqual(['malformed', 'malformed']);
});

test.each([
  ['without a value', 'SIP/2.0/UDP h:5060;received;branch=z9hG4bKa'],
  ['with a bracket that does not close', 'SIP/2.0/UDP h:5060;received=[1.2.3.4;branch=z9hG4bKa'],
  ['twice', 'SIP/2.0/UDP h:5060;received=1.1.1.1;received=2.2.2.2;branch=z9hG4bKa'],
])('a received parameter %s makes the Via unreadable', (_name, via) => {
  const a = agent();
  expect(a.receive(request({ via }), PHONE)).toBeUndefined();
  expect(a.drops).toEqual(['malformed']);
});

test('a received that the client brought is replaced whole, brackets too, and its look-alikes stay', () => {
  const a = agent();
  const out = a.receive(
    request({ via: 'SIP/2.0/UDP h:5060;received=[::1];reserved=x;rport=7;branch=z9hG4bKa' }),
    'udp 203.0.113.9:40000',
  )!;
  expect(header(out.text, 'Via')[1]).toBe(
    'SIP/2.0/UDP h:5060;received=203.0.113.9;rport=40000;reserved=x;branch=z9hG4bKa',
  );
  expect(header(out.text, 'Call-ID')).toHaveLength(1);
});

test('a branch that somebody saw cannot be used to have us send elsewhere', () => {
  const a = agent();
  const out = a.receive(request(), PHONE)!;
  const honest = answer(out.text);
  expect(a.receive(honest, PBX[backendOf(out.to)]!)!.to).toMatchObject(endpoint(PHONE));
  const elsewhere = honest.replace('received=198.51.100.7', 'received=192.0.2.99');
  expect(elsewhere).not.toBe(honest);
  expect(a.receive(elsewhere, PBX[backendOf(out.to)]!)).toBeUndefined();
  const otherPort = honest.replace(/rport=5060/, 'rport=53');
  expect(otherPort).not.toBe(honest);
  expect(a.receive(otherPort, PBX[backendOf(out.to)]!)).toBeUndefined();
  expect(a.drops).toEqual(['forged_branch', 'forged_branch']);
});

test('a branch of a UDP call does not lead to a TCP connection, and the other way round', () => {
  const a = agent();
  const udp = answer(a.receive(request(), PHONE)!.text);
  const tcp = answer(
    a.receive(request({ via: 'SIP/2.0/TCP h;branch=z9hG4bKa' }), 'tcp 198.51.100.7:41000 #77', 1)!.text,
  );
  const w = /;w=[\w-]+/.exec(tcp)![0];
  expect(
    a.receive(udp.replace(';rport\n', `${w};rport\n`).replace(';rport\r\n', `${w};rport\r\n`), PBX[0]),
  ).toMatchObject({ how: 'datagram', to: endpoint(PHONE) });
  expect(a.receive(tcp.replace(w, ''), PBX[0])).toBeUndefined();
  expect(a.receive(tcp.replace(w, `${w.slice(0, -1)}${w.endsWith('A') ? 'B' : 'A'}`), PBX[0])).toBeUndefined();
  expect(a.receive(tcp, PBX[0])).toMatchObject({ how: 'stream', to: { connection: 77 } });
});

test('on a stream the body’s length is always said: a body cannot become a message of its own', () => {
  const a = agent({ backends: [{ name: 'pbx1', address: '10.0.0.11', transport: 'tcp' }] });
  const inner = 'REGISTER sip:x SIP/2.0\n\n';
  const plain = request({ body: inner }).replace(/Content-Length: \d+\n/, '');
  const out = a.receive(plain, PHONE)!;
  expect(out.how).toBe('dial');
  const body = out.text.slice(out.text.indexOf('\r\n\r\n') + 4);
  expect(header(out.text, 'Content-Length')).toEqual([String(body.length)]);
  const b = agent();
  const asked = b.receive(request({ via: 'SIP/2.0/TCP h;branch=z9hG4bKa' }), 'tcp 198.51.100.7:41000 #77', 1)!;
  const back = b.receive(answer(asked.text).replace('Content-Length: 0\n', ''), PBX[0])!;
  expect(header(back.text, 'Content-Length')).toEqual(['0']);
});

test('a token of another call, preloaded into a new one, does not choose the backend', () => {
  const a = agent();
  const first = a.receive(request(), PHONE)!;
  a.setState(backendOf(first.to), 'down');
  const out = a.receive(request({ callId: 'new', more: [`Route: ${header(first.text, 'Record-Route')[0]}`] }), PHONE)!;
  expect(backendOf(out.to)).toBe(1 - backendOf(first.to));
  expect(header(out.text, 'Record-Route')).toHaveLength(1);
  expect(header(out.text, 'Route')).toEqual([]);
});

test('a strict router’s request is turned back: the last Route is the target (RFC 3261 §16.4)', () => {
  const a = agent();
  const first = a.receive(request(), PHONE)!;
  const own = /<(.+)>/.exec(header(first.text, 'Record-Route')[0]!)![1]!;
  const bye = a.receive(
    request({
      method: 'BYE',
      uri: own,
      to: '<sip:c@example.com>;tag=t',
      more: ['Route: <sip:p2.example;lr>, <sip:clyde@10.9.9.9>'],
    }),
    PHONE,
  )!;
  expect(backendOf(bye.to)).toBe(backendOf(first.to));
  expect(bye.text.split('\r\n')[0]).toBe('BYE sip:clyde@10.9.9.9 SIP/2.0');
  expect(header(bye.text, 'Route')).toEqual(['<sip:p2.example;lr>']);
});

test.each([
  ['in lines of their own', (routes: string[]) => routes.map((r) => `Route: ${r}`)],
  ['in one line', (routes: string[]) => [`Route: ${routes.join(', ')}`]],
  ['in two lines', ([own, ...rest]: string[]) => [`Route: ${own}`, `Route: ${rest.join(',')}`]],
])('a strict router behind a double Record-Route: our other entry goes too, %s', (_how, lines) => {
  const a = agent();
  const client = 'tcp 198.51.100.7:41000 #7';
  const out = a.receive(request({ via: 'SIP/2.0/TCP h;branch=z9hG4bKa' }), client, 1)!;
  const [top, twin] = header(out.text, 'Record-Route');
  for (const rest of [[], ['<sip:p2.example;lr>']]) {
    const bye = request({
      method: 'BYE',
      uri: /<(.+)>/.exec(top!)![1]!,
      via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKb',
      from: '<sip:clyde@example.com>;tag=t',
      to: '<sip:bonnie@example.com>;tag=b1',
      callId: `strict-${rest.length}`,
      more: lines([twin!, ...rest, '<sip:bonnie@198.51.100.7:41000>']),
    });
    const sent = a.receive(bye, PBX[backendOf(out.to)]!)!;
    expect(sent).toMatchObject({ how: 'stream', to: { connection: 7 } });
    expect(sent.text.split('\r\n')[0]).toBe('BYE sip:bonnie@198.51.100.7:41000 SIP/2.0');
    expect(header(sent.text, 'Route').map((r) => r.trim())).toEqual(rest);
  }
});

test('the farm’s DNS name in a Route is the farm itself', () => {
  const a = agent({ names: ['SIP.example.com'] });
  const out = a.receive(request({ more: ['Route: <sip:sip.Example.com;lr>'] }), PHONE)!;
  expect(header(out.text, 'Route')).toEqual([]);
  expect(a.receive(request({ method: 'OPTIONS', uri: 'sip:sip.example.com' }), PHONE)!.text).toMatch(/^SIP\/2\.0 200 /);
  const foreign = a.receive(request({ more: ['Route: <sip:other.example.com;lr>,'] }), PHONE)!;
  expect(header(foreign.text, 'Route')).toEqual(['<sip:other.example.com;lr>,']);
});

test('a Route line of ours that ends in a comma goes as a whole', () => {
  const a = agent();
  expect(header(a.receive(request({ more: ['Route: <sip:192.0.2.10;lr> , '] }), PHONE)!.text, 'Route')).toEqual([]);
});

test('between two PBXs the dialog goes to the PBX’s own address, with the address that PBXs know', () => {
  const a = agent({
    listeners: [{ transport: 'udp', address: '10.0.1.5', port: 5060, advertise: { clients: '203.0.113.7' } }],
  });
  const out = a.receive(request({ via: 'SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKp' }), 'udp 10.0.0.11:49999')!;
  expect(backendOf(out.to)).toBe(1);
  const bye = a.receive(
    request({
      method: 'BYE',
      from: '<sip:clyde@example.com>;tag=t1',
      to: '<sip:bonnie@example.com>;tag=b1',
      more: header(out.text, 'Record-Route').map((r) => `Route: ${r}`),
    }),
    PBX[1],
  )!;
  expect(bye.to).toMatchObject(endpoint(PBX[0]));
  expect(header(bye.text, 'Via')[0]).toContain(' 10.0.1.5:5060;');
});

test('what a refusal must carry', () => {
  const a = agent();
  expect(header(a.receive(request({ more: ['Proxy-Require: foo, bar'] }), PHONE)!.text, 'Unsupported')).toEqual([
    'foo, bar',
  ]);
  const tagged = a.receive(request({ to: '<sip:c@d>;tag=x' }).replace('1 INVITE', 'x INVITE'), PHONE)!;
  expect(tagged.text).toMatch(/^SIP\/2\.0 400 /);
  expect(header(tagged.text, 'To')).toEqual(['<sip:c@d>;tag=x']);
});

test('a Via that cannot be read hides no loop', () => {
  const a = agent();
  const out = a.receive(request(), PHONE)!;
  const ours = header(out.text, 'Via')[0]!;
  const looped = request({ more: [`Via: garbage , ${ours}`] });
  expect(a.receive(looped, 'udp 198.51.100.50:5060')!.text).toMatch(/^SIP\/2\.0 4(00|82) /);
});

test('two PBXs on one address are told apart by their ports', () => {
  const a = agent({
    backends: [
      { name: 'p1', address: '10.0.0.11' },
      { name: 'p2', address: '10.0.0.11', port: 5070 },
    ],
  });
  for (let i = 0; i < 5; i++)
    expect(a.receive(request({ uri: `sip:u${i}@x` }), 'udp 10.0.0.11:5070')!.to).toMatchObject(
      endpoint('udp 10.0.0.11:5060'),
    );
});

test('nothing that was handled before shows in what comes after', () => {
  const a = agent();
  const clean = agent().receive(request(), PHONE)!.text;
  a.receive(request({ more: ['Route: <sip:192.0.2.10;lr>', 'Max-Forwards: 3'] }), PHONE);
  a.receive('garbage that is no SIP at all', PHONE);
  a.receive(request({ via: 'SIP/2.0/UDP h;received=;branch=z' }), PHONE);
  expect(a.receive(request(), PHONE)!.text).toBe(clean);
});

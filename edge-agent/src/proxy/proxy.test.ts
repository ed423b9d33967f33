import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

const PHONE = 'udp 198.51.100.7:5060';
const PBX = ['udp 10.0.0.11:5060', 'udp 10.0.0.12:5060'] as const;
const backendOf = (to: { ip3: number }) => (to.ip3 & 255) - 11;

test('an INVITE from a phone gets our Via on top, a Record-Route, its source noted, one hop less, and its body untouched', () => {
  const a = agent();
  const out = a.receive(request({ body: 'v=0\n' }), 'udp 203.0.113.9:40000')!;
  expect(out.how).toBe('datagram');
  const vias = header(out.text, 'Via');
  expect(vias[0]).toMatch(/^SIP\/2\.0\/UDP 192\.0\.2\.10:5060;branch=z9hG4bK[\w-]{26};rport$/);
  expect(vias[1]).toBe('SIP/2.0/UDP 198.51.100.7:5060;received=203.0.113.9;rport=40000;branch=z9hG4bKa');
  expect(header(out.text, 'Record-Route')).toEqual([expect.stringMatching(/^<sip:[\w-]{48}@192\.0\.2\.10:5060;lr>$/)]);
  expect(header(out.text, 'Max-Forwards')).toEqual(['69']);
  expect(out.text.startsWith('INVITE sip:clyde@example.com SIP/2.0\r\nVia: ')).toBe(true);
  expect(out.text.endsWith('\r\n\r\nv=0\r')).toBe(true);
});

test('a response goes back by the Vias: ours is taken off, received and rport of the next lead to the phone', () => {
  const a = agent();
  const out = a.receive(request(), 'udp 203.0.113.9:40000')!;
  const back = a.receive(answer(out.text, '180 Ringing'), PBX[backendOf(out.to)]!)!;
  expect(back.to).toMatchObject(endpoint('udp 203.0.113.9:40000'));
  expect(header(back.text, 'Via')).toEqual([
    'SIP/2.0/UDP 198.51.100.7:5060;received=203.0.113.9;rport=40000;branch=z9hG4bKa',
  ]);
  expect(a.drops).toEqual([]);
});

test('our Via is taken off also where both stand in one line', () => {
  const a = agent();
  const out = a.receive(request(), PHONE)!;
  const one = answer(out.text).split('\n');
  const vias = one.filter((l) => l.startsWith('Via: ')).map((l) => l.slice(5));
  const text = [one[0], `Via: ${vias.join(' , ')}`, ...one.slice(1).filter((l) => !l.startsWith('Via: '))].join('\n');
  const back = a.receive(text, PBX[backendOf(out.to)]!)!;
  expect(header(back.text, 'Via')).toHaveLength(1);
  expect(header(back.text, 'Via')[0]).toContain('198.51.100.7:5060');
});

test('requests of the dialog follow the token alone: to the same PBX though it is down for new calls, and to the phone', () => {
  const a = agent();
  const out = a.receive(request(), PHONE)!;
  const first = backendOf(out.to);
  const rr = header(out.text, 'Record-Route')[0]!;
  a.setState(first, 'down');
  const other = agent({}, { number: 2 });
  for (const node of [a, other]) {
    const bye = node.receive(
      request({
        method: 'BYE',
        uri: 'sip:clyde@10.9.9.9',
        to: '<sip:clyde@example.com>;tag=t1',
        cseq: 2,
        more: [`Route: ${rr}`],
      }),
      PHONE,
    )!;
    expect(backendOf(bye.to)).toBe(first);
    expect(header(bye.text, 'Route')).toEqual([]);
    expect(header(bye.text, 'Record-Route')).toEqual([]);
    const fromPbx = node.receive(
      request({
        method: 'BYE',
        uri: 'sip:bonnie@198.51.100.7:5060',
        via: 'SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKp',
        from: '<sip:clyde@example.com>;tag=t1',
        to: '<sip:bonnie@example.com>;tag=b1',
        cseq: 9,
        more: [`Route: ${rr}, <sip:elsewhere.example;lr>`],
      }),
      PBX[first]!,
    )!;
    expect(fromPbx.to).toMatchObject(endpoint(PHONE));
    expect(header(fromPbx.text, 'Route')).toEqual(['<sip:elsewhere.example;lr>']);
  }
});

test('REGISTER carries our Path and says that path is supported where the phone did not', () => {
  const a = agent();
  const register = { method: 'REGISTER', uri: 'sip:example.com', to: '<sip:bonnie@example.com>' };
  const plain = a.receive(request(register), PHONE)!;
  expect(header(plain.text, 'Path')).toEqual([expect.stringMatching(/^<sip:[\w-]{48}@192\.0\.2\.10:5060;lr>$/)]);
  expect(header(plain.text, 'Supported')).toEqual(['path']);
  const has = a.receive(request({ ...register, more: ['k: timer , Path'] }), PHONE)!;
  expect(header(has.text, 'Supported')).toEqual([]);
  const none = agent({ registration: { mode: 'none' } }).receive(request(register), PHONE)!;
  expect(header(none.text, 'Path')).toEqual([]);
});

test('a request of a PBX reaches the phone through Path, and the dialog that it makes goes both ways', () => {
  const a = agent();
  const reg = a.receive(
    request({ method: 'REGISTER', uri: 'sip:example.com', to: '<sip:bonnie@example.com>' }),
    'udp 203.0.113.9:40000',
  )!;
  const path = header(reg.text, 'Path')[0]!;
  const pbx = backendOf(reg.to);
  const invite = {
    uri: 'sip:bonnie@198.51.100.7:5060',
    via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKp',
    from: '<sip:clyde@example.com>;tag=p1',
    to: '<sip:bonnie@example.com>',
  };
  const out = a.receive(request({ ...invite, more: [`Route: ${path}`] }), PBX[pbx]!)!;
  expect(out.to).toMatchObject(endpoint('udp 203.0.113.9:40000'));
  expect(header(out.text, 'Route')).toEqual([]);
  const rr = header(out.text, 'Record-Route')[0]!;
  const ok = a.receive(answer(out.text, '200 OK', 'b9'), 'udp 203.0.113.9:40000')!;
  expect(ok.to).toMatchObject(endpoint('udp 10.0.0.11:5060'));
  // The phone hangs up: its From tag is not the initiator's.
  const bye = a.receive(
    request({
      method: 'BYE',
      uri: 'sip:pbx',
      from: '<sip:bonnie@example.com>;tag=b9',
      to: '<sip:clyde@example.com>;tag=p1',
      more: [`Route: ${rr}`],
    }),
    'udp 203.0.113.9:40000',
  )!;
  expect(bye.to).toMatchObject(endpoint(PBX[pbx]!));
  const ack = a.receive(
    request({ ...invite, method: 'ACK', to: '<sip:bonnie@example.com>;tag=b9', more: [`Route: ${rr}`] }),
    PBX[pbx]!,
  )!;
  expect(ack.to).toMatchObject(endpoint('udp 203.0.113.9:40000'));
});

test('a stranger that saw a token cannot ring the client past the PBX, and a changed token routes nothing', () => {
  const a = agent();
  const reg = a.receive(request({ method: 'REGISTER', uri: 'sip:example.com' }), PHONE)!;
  const path = header(reg.text, 'Path')[0]!;
  const stolen = a.receive(request({ more: [`Route: ${path}`] }), 'udp 198.51.100.66:5060')!;
  expect(stolen.text).toMatch(/^SIP\/2\.0 403 /);
  expect(stolen.to).toMatchObject(endpoint('udp 198.51.100.66:5060'));
  const changed = path.replace(/sip:(.{20})(.)/, (_, head, c) => `sip:${head}${c === 'A' ? 'B' : 'A'}`);
  const forged = a.receive(request({ more: [`Route: ${changed}`] }), PBX[0])!;
  expect(forged.text).toMatch(/^SIP\/2\.0 403 /);
  expect(a.drops).toEqual(['forged_token', 'forged_token']);
});

test('server A to server B: a request of a backend without a token goes to another one', () => {
  const a = agent();
  for (const [sender, other] of [
    [0, 1],
    [1, 0],
  ] as const)
    for (const user of ['bonnie', 'clyde', 'x1', 'x2', 'x3']) {
      const out = a.receive(
        request({ uri: `sip:${user}@example.com`, via: 'SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKp' }),
        PBX[sender],
      )!;
      expect(backendOf(out.to)).toBe(other);
    }
});

test('a retransmission gives the same bytes, on another agent too; CANCEL and the ACK of a failure share the branch of their INVITE', () => {
  const a = agent();
  const b = agent({}, { number: 2 });
  const branch = (text: string) => /branch=([^;]+)/.exec(header(text, 'Via')[0]!)![1];
  const first = a.receive(request(), PHONE)!;
  expect(a.receive(request(), PHONE)!.text).toBe(first.text);
  expect(branch(b.receive(request(), PHONE)!.text)).toBe(branch(first.text));
  expect(branch(a.receive(request({ method: 'CANCEL' }), PHONE)!.text)).toBe(branch(first.text));
  const ack = a.receive(request({ method: 'ACK', to: '<sip:clyde@example.com>;tag=x' }), PHONE)!;
  expect(branch(ack.text)).toBe(branch(first.text));
  expect(branch(a.receive(request({ cseq: 2 }), PHONE)!.text)).not.toBe(branch(first.text));
});

test('a backend that is down gets nothing new; with none left the answer is 503 with Retry-After', () => {
  const a = agent();
  const first = backendOf(a.receive(request(), PHONE)!.to);
  a.setState(first, 'down');
  expect(backendOf(a.receive(request({ cseq: 2 }), PHONE)!.to)).toBe(1 - first);
  a.setState(1 - first, 'down');
  const out = a.receive(request({ cseq: 3 }), PHONE)!;
  expect(out.text).toMatch(/^SIP\/2\.0 503 Service Unavailable\r\n/);
  expect(header(out.text, 'Retry-After')).toEqual(['5']);
  expect(header(out.text, 'To')[0]).toMatch(/^<sip:clyde@example\.com>;tag=[0-9a-f]{8}$/);
  expect(a.receive(request({ method: 'ACK' }), PHONE)).toBeUndefined();
});

test('a loop is answered 482, a spiral with another Request-URI goes on', () => {
  const a = agent();
  const out = a.receive(request(), PHONE)!;
  const inner = out.text.replaceAll('\r\n', '\n');
  // The same request comes back from a client side again, as from a misconfigured neighbour.
  expect(a.receive(inner, 'udp 198.51.100.50:5060')!.text).toMatch(/^SIP\/2\.0 482 /);
  const spiral = inner.replace('sip:clyde@example.com SIP', 'sip:clyde2@example.com SIP');
  expect(a.receive(spiral, 'udp 198.51.100.50:5060')!.text).toMatch(/^INVITE /);
});

test.each([
  ['no breadth left', request({ more: ['Max-Breadth: 0'] }), 440],
  ['no hops left', request().replace('Max-Forwards: 70', 'Max-Forwards: 0'), 483],
  ['an option that we lack', request({ more: ['Proxy-Require: foo'] }), 420],
  ['a scheme that we lack', request({ uri: 'http://example.com/' }), 416],
  ['a CSeq of another method', request().replace('1 INVITE', '1 OPTIONS'), 400],
  ['a CSeq out of bounds', request({ cseq: 2 ** 31 }), 400],
  ['two Call-IDs', request({ more: ['Call-ID: other'] }), 400],
  ['two Call-IDs, one hidden by a blank and its compact form', request({ more: ['i : other'] }), 400],
  ['more body promised than there is', request().replace('Content-Length: 0', 'Content-Length: 10'), 400],
  ['a negative length', request().replace('Content-Length: 0', 'Content-Length: -1'), 400],
  ['a length that overflows', request().replace('Content-Length: 0', 'Content-Length: 18446744073709551616'), 400],
  ['a keepalive OPTIONS for the agent itself', request({ method: 'OPTIONS', uri: 'sip:192.0.2.10:5060' }), 200],
])('%s is answered', (_name, text, status) => {
  const a = agent();
  expect(a.receive(text, PHONE)!.text).toMatch(new RegExp(`^SIP/2\\.0 ${status} `));
  expect(a.counts[`local ${status}`]).toBe(1);
});

test('Max-Breadth goes on as it came: one attempt at a time needs no more (RFC 5393 §5)', () => {
  const a = agent();
  const out = (more: string[]) => header(a.receive(request({ more }), PHONE)!.text, 'Max-Breadth');
  expect(out(['Max-Breadth: 1'])).toEqual(['1']);
  expect(out([])).toEqual([]);
});

test('Max-Forwards is added where it is missing and keeps its width where it shrinks', () => {
  const a = agent();
  expect(header(a.receive(request().replace('Max-Forwards: 70\n', ''), PHONE)!.text, 'Max-Forwards')).toEqual(['70']);
  expect(
    header(a.receive(request().replace('Max-Forwards: 70', 'Max-Forwards: 10'), PHONE)!.text, 'Max-Forwards'),
  ).toEqual(['09']);
});

test('a response with a branch that we did not make goes nowhere', () => {
  const a = agent();
  const out = a.receive(request(), PHONE)!;
  const forged = answer(out.text).replace(/branch=z9hG4bK(.)/, (_, c) => `branch=z9hG4bK${c === 'A' ? 'B' : 'A'}`);
  expect(a.receive(forged, PBX[0])).toBeUndefined();
  expect(a.receive(answer(request().replaceAll('\n', '\r\n')), PBX[0])).toBeUndefined();
  expect(a.drops).toEqual(['forged_branch', 'forged_branch']);
});

test('from TCP to UDP: two Record-Routes, and the response finds the connection by our Via', () => {
  const a = agent({}, { worker: 2 });
  const out = a.receive(
    request({ via: 'SIP/2.0/TCP 198.51.100.7:5060;branch=z9hG4bKa' }),
    'tcp 198.51.100.7:41000 #77',
    1,
  )!;
  expect(out).toMatchObject({ how: 'datagram', listener: 0 });
  expect(header(out.text, 'Record-Route')).toEqual([
    expect.stringMatching(/^<sip:[\w-]{48}@192\.0\.2\.10:5060;lr>$/),
    expect.stringMatching(/^<sip:[\w-]{48}@192\.0\.2\.10:5060;transport=tcp;lr>$/),
  ]);
  const back = a.receive(answer(out.text), PBX[backendOf(out.to)]!)!;
  expect(back).toMatchObject({ how: 'stream', worker: 2 });
  expect(back.to.connection).toBe(77);
  // The callee hangs up: both of our Routes come off, and the connection is found by the token.
  const rr = header(out.text, 'Record-Route');
  const bye = a.receive(
    request({
      method: 'BYE',
      from: '<sip:clyde@example.com>;tag=t1',
      to: '<sip:bonnie@example.com>;tag=b1',
      more: rr.map((r) => `Route: ${r}`),
    }),
    PBX[backendOf(out.to)]!,
  )!;
  expect(bye).toMatchObject({ how: 'stream', worker: 2 });
  expect(bye.to).toMatchObject(endpoint('tcp 198.51.100.7:41000 #77'));
  expect(header(bye.text, 'Route')).toEqual([]);
});

test('each side is told the address that it can reach', () => {
  const a = agent({
    listeners: [
      {
        transport: 'udp',
        address: '10.0.1.5',
        port: 5060,
        advertise: { clients: '203.0.113.7', backends: '10.0.1.5' },
      },
    ],
  });
  const out = a.receive(request(), PHONE)!;
  expect(header(out.text, 'Via')[0]).toContain(' 10.0.1.5:5060;');
  expect(header(out.text, 'Record-Route').map((r) => r.replace(/sip:[\w-]+@/, ''))).toEqual([
    '<10.0.1.5:5060;lr>',
    '<203.0.113.7:5060;lr>',
  ]);
});

test('IPv6 on both sides', () => {
  const a = agent({
    listeners: [{ transport: 'udp', address: '2001:db8::10', port: 5060 }],
    backends: [{ name: 'pbx1', address: '2001:db8::11' }],
  });
  const out = a.receive(
    request({ via: 'SIP/2.0/UDP [2001:db8::7]:5060;branch=z9hG4bKa;rport' }),
    'udp [2001:db8::7]:5060',
  )!;
  expect(header(out.text, 'Via')[0]).toContain('SIP/2.0/UDP [2001:db8::10]:5060;branch=');
  expect(header(out.text, 'Record-Route')).toEqual([
    expect.stringMatching(/^<sip:[\w-]{64}@\[2001:db8::10\]:5060;lr>$/),
  ]);
  const back = a.receive(answer(out.text), 'udp [2001:db8::11]:5060')!;
  expect(back.to).toMatchObject(endpoint('udp [2001:db8::7]:5060'));
  const bye = a.receive(
    request({
      method: 'BYE',
      from: '<sip:c@example.com>;tag=t1',
      to: '<sip:b@example.com>;tag=b1',
      more: [`Route: ${header(out.text, 'Record-Route')[0]}`],
    }),
    'udp [2001:db8::11]:5060',
  )!;
  expect(bye.to).toMatchObject(endpoint('udp [2001:db8::7]:5060'));
});

test('round robin alternates calls, and keeps a call where it is', () => {
  const a = agent({ balancing: { strategy: 'weighted-round-robin' } });
  const picks = Array.from({ length: 10 }, (_, i) => backendOf(a.receive(request({ callId: `c${i}` }), PHONE)!.to));
  expect(picks.filter((p) => p === 0)).toHaveLength(5);
  expect(picks.map((_, i) => backendOf(a.receive(request({ callId: `c${i}`, cseq: 2 }), PHONE)!.to))).toEqual(picks);
});

test.each([
  { strategy: 'weighted-round-robin' as const },
  { strategy: 'least-sessions' as const },
  { strategy: 'hash' as const, key: 'call-id' },
])('the answer to a challenge goes to the PBX that challenged, whoever would be chosen: $strategy', (balancing) => {
  const a = agent({ balancing });
  const register = (callId: string, more: string[] = []) =>
    a.receive(request({ method: 'REGISTER', uri: 'sip:example.com', callId, more }), PHONE)!;
  for (let i = 0; i < 6; i++) {
    const out = register(`c${i}`);
    const challenger = backendOf(out.to);
    a.receive(
      answer(out.text, '401 Unauthorized', 't', [`WWW-Authenticate: Digest realm="x", nonce="n${i}"`]),
      PBX[challenger]!,
    );
    // A phone that starts over with another Call-ID.
    const retried = register(`d${i}`, [`Authorization: Digest username="bonnie", nonce="n${i}"`]);
    expect(backendOf(retried.to)).toBe(challenger);
  }
});

test.each(['udp 203.0.113.9:40000', 'udp [2001:db8::9]:40000'])(
  'a STUN Binding request from %s is told where it came from',
  (from) => {
    const a = agent();
    const id = Array.from({ length: 12 }, (_, i) => i * 20);
    a.receiveBytes(Uint8Array.of(0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, ...id), from);
    const out = Buffer.from(a.sent[0]!.text, 'latin1');
    expect(a.sent[0]!.to).toMatchObject(endpoint(from));
    expect([out.readUInt16BE(0), out.readUInt16BE(2)]).toEqual([0x0101, out.length - 20]);
    expect([...out.subarray(4, 20)]).toEqual([0x21, 0x12, 0xa4, 0x42, ...id]);
    expect(out.readUInt16BE(20)).toBe(0x0020);
    expect(out.readUInt16BE(26) ^ 0x2112).toBe(40_000);
    const xored = out.subarray(28).map((byte, i) => byte ^ out[4 + i]!);
    const e = endpoint(from);
    const words = xored.length === 4 ? [e.ip3] : [e.ip0, e.ip1, e.ip2, e.ip3];
    expect(words.map((_, i) => Buffer.from(xored).readUInt32BE(i * 4))).toEqual(words);
  },
);

test('what only looks like STUN is a keepalive at most', () => {
  const a = agent();
  for (const bytes of [
    Uint8Array.of(0),
    Uint8Array.of(0, 1, 0, 9, 0x21, 0x12, 0xa4, 0x42, ...new Array(12).fill(0)),
    new Uint8Array(20),
  ])
    a.receiveBytes(bytes, PHONE);
  expect(a.sent).toEqual([]);
  expect(a.drops).toEqual(['keepalive', 'keepalive', 'keepalive']);
});

test('phones are told shorter expiries than the PBX granted, every binding and the header alike', () => {
  const a = agent({ registration: { maxExpires: '2m' } });
  const out = a.receive(request({ method: 'REGISTER', uri: 'sip:example.com' }), PHONE)!;
  const back = a.receive(
    answer(out.text, '200 OK', 't', [
      'Contact: "a;expires=9999" <sip:a@h;expires=9999>;q="1;expires=9999" ; EXPIRES = 3600, <sip:b@h>;expires=60',
      'm: sip:c@h;expires=7200;x',
      'Expires: 3600',
      'X-Expires: 3600',
    ]),
    PBX[backendOf(out.to)]!,
  )!;
  expect(back.text).toContain(
    [
      'Contact: "a;expires=9999" <sip:a@h;expires=9999>;q="1;expires=9999" ; EXPIRES = 120, <sip:b@h>;expires=60',
      'm: sip:c@h;expires=120;x',
      'Expires: 120',
      'X-Expires: 3600',
    ].join('\r\n'),
  );
  const other = a.receive(request(), PHONE)!;
  expect(a.receive(answer(other.text, '200 OK', 't', ['Expires: 3600']), PBX[backendOf(other.to)]!)!.text).toContain(
    '\r\nExpires: 3600',
  );
});

test('more bindings than anybody has are passed on as they came where they no longer fit', () => {
  const a = agent({ registration: { maxExpires: '2m' } });
  const out = a.receive(request({ method: 'REGISTER', uri: 'sip:example.com' }), PHONE)!;
  const many = Array.from({ length: 60 }, (_, i) => `Contact: <sip:u${i}@h>;expires=3600`);
  const back = a.receive(answer(out.text, '200 OK', 't', many), PBX[backendOf(out.to)]!)!;
  expect(header(back.text, 'Contact')).toHaveLength(60);
  expect(header(back.text, 'Contact')[0]).toBe('<sip:u0@h>;expires=120');
});

import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

/** What audits and CVEs found in SIP servers, a test each (test/corpus and the fuzzers hold more of the kind). */

const PHONE = 'udp 198.51.100.7:5060';
const pbxOf = (to: { ip3: number }) => `udp 10.0.0.${to.ip3 & 255}:5060`;
const isForwarded = (sent: { text: string } | undefined) => sent !== undefined && !sent.text.startsWith('SIP/2.0 4');

test.each([
  ...['-1', '+5', '0x5', '5 5', '5,5', '', 'five', '5;x'],
  ...['65536', '4294967296', '4294967301', '9223372036854775808', '18446744073709551621', '9'.repeat(400)],
])('Content-Length %s: not believed, not forwarded (overflow, truncation to 32 and 64 bits, negative)', (length) => {
  const a = agent();
  const text = request({ body: 'hello' }).replace('Content-Length: 5', `Content-Length: ${length}`);
  expect(isForwarded(a.receive(text, PHONE))).toBe(false);
  expect(a.drops).toEqual(['malformed']);
});

test.each([['Content-Length: 0\nContent-Length: 5'], ['l: 5\nContent-Length: 0'], ['CONTENT-LENGTH : 5\nl\t: 4']])(
  'two Content-Lengths that differ, %j: not forwarded',
  (lines) => {
    const a = agent();
    expect(isForwarded(a.receive(request({ body: 'hello' }).replace('Content-Length: 5', lines), PHONE))).toBe(false);
  },
);

test.each([
  'Digest',
  'Digest ',
  'Digest username="bonnie',
  'Digest nonce=',
  'Digest nonce="',
  'Digest ,,,=,="",nonce',
  'Digest nonce="a\\',
  `Digest nonce="${'n'.repeat(20_000)}"`,
  'Basic',
  '=',
])('an incomplete Authorization %j passes as it is, and chooses nobody', (value) => {
  const a = agent();
  const plain = a.receive(request(), PHONE)!;
  const out = a.receive(request({ more: [`Authorization: ${value}`, `Proxy-Authorization: ${value}`] }), PHONE)!;
  expect(header(out.text, 'Authorization')).toEqual([value.trim()]);
  expect(out.to).toEqual(plain.to);
});

test('nothing is read behind the end of a message, wherever it ends (parameter parsing past the end)', () => {
  const path = header(agent().receive(request({ method: 'REGISTER' }), PHONE)!.text, 'Path')[0];
  const more = [`Route: ${path}`, 'Supported: path', 'Authorization: Digest nonce="x"', 'Contact: <sip:b@h>;expires=9'];
  const messages = [request({ method: 'REGISTER', more }), answer(agent().receive(request({ more }), PHONE)!.text)];
  const a = agent();
  const marker = ';leak=LEAK\r\nLEAK: LEAK\r\n\r\n';
  for (const text of messages.map((m) => m.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n')))
    for (let end = 0; end <= text.length; end++) {
      a.sent.length = 0;
      const bytes = Buffer.from(text.slice(0, end) + marker.repeat(4), 'latin1');
      const whole = new Uint8Array(bytes);
      a.receiveBytes(whole.subarray(0, end), PHONE);
      // The same with the rest of the buffer in sight, as in the datapath's one large block.
      a.receiveBytes(whole, PHONE, 0, end);
      for (const { text: sent } of a.sent) expect(sent).not.toContain('LEAK');
    }
});

const HOSTILE = [
  ';',
  ';;',
  ';=',
  ';tag',
  ';tag=',
  '<',
  '<>',
  '>',
  '"',
  '<sip:',
  '<sip:@',
  '<sip:[',
  '<sip:a@[::',
  '\\',
  '%',
  '%0',
  '<sip:a@b>;tag="',
];
test.each(['Via', 'To', 'From', 'Contact', 'Route', 'Call-ID', 'CSeq', 'Max-Forwards', 'Request-URI'])(
  'a %s that ends too soon or makes no sense: refused or passed on as it is, and the next message is read right',
  (name) => {
    const a = agent({ registration: { mode: 'contact' } });
    for (const method of ['INVITE', 'REGISTER'])
      for (const value of HOSTILE) {
        const text = request({ method });
        const hostile =
          name === 'Request-URI'
            ? text.replace(/^(\S+) \S+/, `$1 ${value}`)
            : /^(?:Route)$/.test(name)
              ? request({ method, more: [`${name}: ${value}`] })
              : text.replace(new RegExp(`^${name}: .*$`, 'm'), () => `${name}: ${value}`);
        const sent = a.receive(hostile, PHONE);
        if (isForwarded(sent) && name !== 'Request-URI' && name !== 'Max-Forwards')
          expect(sent!.text).toContain(`${name}: ${value}`);
      }
    expect(isForwarded(a.receive(request({ callId: 'next' }), PHONE))).toBe(true);
  },
);

test('an empty SDP attribute, and a multipart whose parts never end: bodies pass byte for byte', () => {
  const bodies = [
    'v=0\no=- 1 1 IN IP4 192.0.2.1\ns=\nt=0 0\na=\na\n=\n',
    `--b\nContent-Type: application/sdp\nContent-Length: 99999999999\n\n${'--b'.repeat(5000)}`,
  ];
  for (const body of bodies) {
    const wire = body.replaceAll('\n', '\r\n');
    const text = request({ body: wire, more: ['Content-Type: multipart/mixed;boundary="b'] });
    const out = agent().receive(text.slice(0, text.indexOf('\n\n') + 2) + body, PHONE)!;
    expect(out.text.slice(out.text.indexOf('\r\n\r\n') + 4)).toBe(wire);
  }
});

test.each([0, 20])('a reply whose headers do not fit its request goes nowhere, %i transactions', (transactions) => {
  const create = () => {
    const a = agent(transactions ? {} : { transactions: 'stateless' }, { transactions });
    const out = a.receive(request(), PHONE)!;
    a.sent.length = 0;
    return { a, out, ok: answer(out.text) };
  };
  const cases: [string, (ok: string) => string, stateless?: true][] = [
    ['another method in CSeq', (ok) => ok.replace('1 INVITE', '1 BYE')],
    ['no Via but ours', (ok) => ok.replace(/\nVia: SIP\/2\.0\/UDP 198[^\n]*/, ''), true],
    ['a Via of ours that we did not make', (ok) => ok.replace(/branch=z9hG4bK.{4}/, 'branch=z9hG4bKAAAA')],
    ['no Via at all', (ok) => ok.replace(/\nVia: [^\n]*/g, ''), true],
    ['no CSeq', (ok) => ok.replace(/\nCSeq: [^\n]*/, ''), true],
    ['no Call-ID', (ok) => ok.replace(/\nCall-ID: [^\n]*/, ''), true],
    ['a status of four digits', (ok) => ok.replace('200 OK', '2000 OK'), true],
    ['a status of 099', (ok) => ok.replace('200 OK', '099 OK'), true],
  ];
  for (const [what, spoil, always] of cases) {
    const { a, out, ok } = create();
    const text = spoil(ok.replaceAll('\r\n', '\n'));
    expect(text, what).not.toBe(ok.replaceAll('\r\n', '\n'));
    // A stateless proxy knows no method that a response should have.
    if (!transactions && !always && what.startsWith('another')) continue;
    expect(a.receive(text, pbxOf(out.to)), what).toBeUndefined();
  }
});

test('over-long To and From tags, branches and Call-IDs pass whole, and ours stay short (CVE-2018-8828)', () => {
  const long = 'x'.repeat(15_000);
  const a = agent({}, { transactions: 10 });
  const out = a.receive(
    request({
      method: 'REGISTER',
      via: `SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK${long}`,
      from: `<sip:b@h>;tag=${long}`,
      to: `<sip:b@h>;tag=${long}`,
      callId: long,
    }),
    PHONE,
  )!;
  for (const name of ['From', 'To', 'Call-ID']) expect(header(out.text, name)[0]).toContain(long);
  expect(header(out.text, 'Via')[0]!.length).toBeLessThan(120);
  expect(a.receive(answer(out.text), pbxOf(out.to))!.to).toMatchObject(endpoint(PHONE));
});

test.each(['Route : ', 'ROUTE: ', 'route\t : ', 'Route:\n ', 'Route :\t'])(
  'a header that is to go, smuggled past by odd spelling (CVE-2020-28361): %j',
  (name) => {
    const a = agent();
    const first = a.receive(request(), PHONE)!;
    const own = header(first.text, 'Record-Route')[0]!;
    const dialog = { method: 'BYE', cseq: 2, to: '<sip:clyde@example.com>;tag=t' };
    const out = a.receive(request({ ...dialog, more: [`${name}${own}`] }), PHONE)!;
    expect(out.to).toEqual(first.to);
    expect(out.text.toLowerCase()).not.toMatch(/^route/m);
    // A token that is not ours is noticed in any spelling.
    const forged = own.replace(/sip:.{48}/, `sip:${'A'.repeat(48)}`);
    expect(a.receive(request({ ...dialog, more: [`${name}${forged}`] }), PHONE)!.text).toMatch(/^SIP\/2\.0 403 /);
  },
);

test.each(['Route\u000b: ', 'Ro ute: ', 'Route\u0000: ', 'Route\u00a0: ', '\u000bRoute: ', ': '])(
  'a header name that others may read as another one is refused: %j',
  (name) => {
    expect(isForwarded(agent().receive(request({ more: [`${name}<sip:192.0.2.10;lr>`] }), PHONE))).toBe(false);
  },
);

test.each([
  ['2147483647 INVITE', true],
  ['0 INVITE', true],
  ['2147483648 INVITE', false],
  ['4294967297 INVITE', false],
  ['-1 INVITE', false],
  ['1', false],
  ['INVITE', false],
  ['1 BYE', false],
  ['1INVITE', false],
  [`${'9'.repeat(500)} INVITE`, false],
])('CSeq %s: forwarded %s', (cseq, good) => {
  expect(isForwarded(agent().receive(request().replace('1 INVITE', cseq), PHONE))).toBe(good);
});

test('a flood of requests takes no more than its share of memory (CVE-2021-41145): past it 503, and the dialogs that stand go on', () => {
  const a = agent({ transactions: 'stateful' }, { transactions: 50 });
  const call = a.receive(request(), PHONE)!;
  a.receive(answer(call.text), pbxOf(call.to));
  for (let i = 0; i < 2000; i++)
    for (const method of ['INVITE', 'REGISTER', 'SUBSCRIBE', 'XYZZY'])
      a.receive(request({ method, callId: `f${i}`, via: `SIP/2.0/UDP h;branch=z9hG4bK${method}${i}` }), PHONE);
  expect(a.exchanges!.size).toBe(50);
  expect(a.counts['refused transaction_limit']).toBe(8000 - 50);
  const bye = { method: 'BYE', cseq: 2, to: '<sip:clyde@example.com>;tag=t1' };
  const route = `Route: ${header(call.text, 'Record-Route')[0]}`;
  const out = a.receive(request({ ...bye, via: 'SIP/2.0/UDP h;branch=z9hG4bKbye', more: [route] }), PHONE)!;
  expect(out.to).toEqual(call.to);
});

test('all challenges of a 401 or 407 are relayed, in their order (RFC 8760)', () => {
  for (const transactions of [0, 10]) {
    const a = agent(transactions ? {} : { transactions: 'stateless' }, { transactions });
    const out = a.receive(request({ method: 'REGISTER' }), PHONE)!;
    const more = ['SHA-512-256', 'SHA-256', 'MD5'].map(
      (name) => `WWW-Authenticate: Digest realm="r", nonce="${name}", algorithm=${name}`,
    );
    more.splice(1, 0, 'Proxy-Authenticate: Digest realm="p", nonce="1"');
    const back = a.receive(answer(out.text, '401 Unauthorized', 't', more), pbxOf(out.to))!;
    expect(back.text.split('\r\n').filter((line) => /-Authenticate/.test(line))).toEqual(more);
  }
});

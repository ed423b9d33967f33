import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

const CONTACT_MODE = { registration: { mode: 'contact' as const } };
const PHONE = 'udp 203.0.113.9:40000';
const CLIENT = 'tcp 198.51.100.7:40001 #7';
const OWN = '<sip:bonnie@192.168.1.2:5060;ob>';

const register = (contacts: string[], more: Parameters<typeof request>[0] = {}) =>
  request({ method: 'REGISTER', uri: 'sip:example.com', to: '<sip:bonnie@example.com>', ...more }).replace(
    /^Contact: .*$/m,
    contacts.map((contact) => `Contact: ${contact}`).join('\n'),
  );
const overTcp = { via: 'SIP/2.0/TCP 198.51.100.7:40001;branch=z9hG4bKr' };
const pbxOf = (to: { ip3: number }) => `udp 10.0.0.${to.ip3 & 255}:5060`;
const uriOf = (contact: string) => /<([^>]+)>/.exec(contact)![1]!;
const URI = /^<sip:[\w-]+@192\.0\.2\.10:5060>/;

/** What a PBX sends to a URI that it has in its location table. */
const invite = (uri: string, callId = 'c9') =>
  request({
    uri,
    via: `SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bK${callId}`,
    from: '<sip:clyde@example.com>;tag=p1',
    to: '<sip:bonnie@example.com>',
    callId,
  });

test('a Contact becomes a URI of ours, with its parameters as they were, and no Path', () => {
  const a = agent(CONTACT_MODE);
  const out = a.receive(register([`"Bonnie" ${OWN};expires=300;+sip.instance="<urn:uuid:1>"`]), PHONE)!;
  const [contact] = header(out.text, 'Contact');
  expect(contact).toMatch(/^"Bonnie" <sip:[\w-]+@192\.0\.2\.10:5060>;expires=300;\+sip\.instance="<urn:uuid:1>"$/);
  expect(header(out.text, 'Path')).toEqual([]);
  expect(header(out.text, 'Supported')).toEqual([]);
});

test('the URI is the same whenever, by which worker, agent and connection the client registers; another client gets another', () => {
  const uris = [
    agent(CONTACT_MODE).receive(register([OWN], overTcp), CLIENT, 1)!,
    agent(CONTACT_MODE, { number: 2, worker: 1 }).receive(
      register([OWN], { via: 'SIP/2.0/TCP 198.51.100.7:40002;branch=z9hG4bKs', cseq: 9, callId: 'again' }),
      'tcp 198.51.100.7:40002 #8',
      1,
    )!,
    agent(CONTACT_MODE).receive(register([OWN], { ...overTcp, to: '<sip:clyde@example.com>' }), CLIENT, 1)!,
    agent(CONTACT_MODE).receive(register([OWN]), PHONE)!,
    agent(CONTACT_MODE).receive(register([OWN]), 'udp 203.0.113.9:40001')!,
  ].map((out) => uriOf(header(out.text, 'Contact')[0]!));
  expect(uris[0]).toBe(uris[1]);
  expect(new Set(uris).size).toBe(4);
});

test('every Contact is rewritten: several lines, several in one, without brackets; what is no SIP URI stays', () => {
  const a = agent(CONTACT_MODE);
  const out = a.receive(
    register(['sip:bonnie@192.168.1.2;q=0.5 , "x, y" <sips:b@h.example>;q=0.1', '<mailto:b@example.com>']),
    PHONE,
  )!;
  const [first, second] = header(out.text, 'Contact');
  const parts = first!.split(' , ');
  expect(parts[0]).toMatch(/^<sip:[\w-]+@192\.0\.2\.10:5060>;q=0\.5$/);
  expect(parts[1]).toMatch(/^"x, y" <sip:[\w-]+@192\.0\.2\.10:5060>;q=0\.1$/);
  expect(second).toBe('<mailto:b@example.com>');
  const star = a.receive(register(['*'], { cseq: 2, more: ['Expires: 0'] }), PHONE)!;
  expect(header(star.text, 'Contact')).toEqual(['*']);
});

test('the answer gives the phone its own Contacts again, all of them, and those of other registrars untouched', () => {
  const a = agent({ registration: { mode: 'contact', maxExpires: '2m' } });
  const other = agent(CONTACT_MODE, { number: 2 });
  const out = a.receive(register([OWN]), PHONE)!;
  const second = other.receive(register(['<sip:bonnie@10.1.1.1>'], overTcp), CLIENT, 1)!;
  const bindings = [out, second].map((o) => `<${uriOf(header(o.text, 'Contact')[0]!)}>`);
  const ok = a.receive(
    answer(out.text, '200 OK', 'r', [
      `Contact: ${bindings[0]};expires=300, ${bindings[1]};expires=60`,
      'Contact: <sip:desk@172.16.0.9>;expires=900',
    ]),
    pbxOf(out.to),
  )!;
  expect(header(ok.text, 'Contact')).toEqual([
    `${OWN};expires=120, <sip:bonnie@10.1.1.1>;expires=60`,
    '<sip:desk@172.16.0.9>;expires=120',
  ]);
});

test.each([0, 100])(
  'what a PBX sends to that URI reaches the phone with its own Contact as Request-URI, %i transactions',
  (n) => {
    const farm = { ...CONTACT_MODE, transactions: n ? ('stateful' as const) : ('stateless' as const) };
    const a = agent(farm, { transactions: n });
    const out = a.receive(register([OWN]), PHONE)!;
    const uri = uriOf(header(out.text, 'Contact')[0]!);
    const before = a.sent.length;
    a.receive(invite(uri), pbxOf(out.to));
    const sent = a.sent.slice(before).find((m) => m.text.startsWith('INVITE'))!;
    expect(sent.to).toMatchObject(endpoint(PHONE));
    expect(sent.text.startsWith(`INVITE ${OWN.slice(1, -1)} SIP/2.0\r\n`)).toBe(true);
    const [rr] = header(sent.text, 'Record-Route');
    // Sent again, it is the same once more.
    if (n > 0) expect(a.pass(510).find((m) => m.text.startsWith('INVITE'))?.text).toBe(sent.text);
    // The dialog goes by its Record-Route, as ever.
    const bye = a.receive(
      request({
        method: 'BYE',
        uri: 'sip:pbx@10.0.0.11',
        via: 'SIP/2.0/UDP 203.0.113.9:40000;branch=z9hG4bKb',
        from: '<sip:bonnie@example.com>;tag=b9',
        to: '<sip:clyde@example.com>;tag=p1',
        callId: 'c9',
        more: [`Route: ${rr}`],
      }),
      PHONE,
    )!;
    expect(bye.to).toMatchObject({ ip3: out.to.ip3 });
  },
);

test('a phone on TCP is found by the connection that it registered over, also after it reconnected', () => {
  const a = agent(CONTACT_MODE);
  const log = (port: number, connection: number) => {
    const via = `SIP/2.0/TCP 198.51.100.7:${port};branch=z9hG4bK${port}`;
    const out = a.receive(register([OWN], { via, callId: `r${port}` }), `tcp 198.51.100.7:${port} #${connection}`, 1)!;
    a.receive(answer(out.text), pbxOf(out.to));
    return { pbx: pbxOf(out.to), uri: uriOf(header(out.text, 'Contact')[0]!) };
  };
  const { pbx, uri } = log(40_001, 7);
  expect(a.receive(invite(uri, 'c1'), pbx)).toMatchObject({ how: 'stream', to: { connection: 7 } });
  a.closed.add('0#7');
  expect(a.receive(invite(uri, 'c2'), pbx)!.text).toMatch(/^SIP\/2\.0 430 /);
  expect(log(40_002, 8).uri).toBe(uri);
  expect(a.receive(invite(uri, 'c3'), pbx)).toMatchObject({ how: 'stream', to: { connection: 8 } });
});

test('a client that knows another one’s URI cannot ring it past the PBX, and a changed URI is a stranger', () => {
  const a = agent(CONTACT_MODE);
  const out = a.receive(register([OWN]), PHONE)!;
  const uri = uriOf(header(out.text, 'Contact')[0]!);
  expect(a.receive(invite(uri), 'udp 203.0.113.66:5060')!.text).toMatch(/^SIP\/2\.0 403 /);
  const changed = uri.replace(/sip:(.{12})(.)/, (_, head, c) => `sip:${head}${c === 'A' ? 'B' : 'A'}`);
  // Nobody's: balanced like any other callee, to the other PBX.
  const elsewhere = a.receive(invite(changed, 'c2'), pbxOf(out.to))!;
  expect(elsewhere.to.ip3).not.toBe(out.to.ip3);
  expect(elsewhere.text.startsWith(`INVITE ${changed} SIP/2.0`)).toBe(true);
});

test('a URI has 255 bytes at most; a Contact that does not fit, too many, or one with blanks inside: 400', () => {
  const a = agent(CONTACT_MODE);
  const longest = a.receive(register([`<sip:${'b'.repeat(125)}@h.invalid>`]), PHONE)!;
  expect(uriOf(header(longest.text, 'Contact')[0]!).length).toBeLessThanOrEqual(255);
  for (const bad of [
    [`<sip:${'b'.repeat(127)}@h.invalid>`],
    new Array(9).fill('<sip:b@h.invalid>'),
    ['<sip:bonnie@192.168.1.2;x= y>'],
  ])
    expect(a.receive(register(bad), PHONE)!.text).toMatch(/^SIP\/2\.0 400 /);
  const most = a.receive(
    register(Array.from({ length: 8 }, (_, i) => `<sip:${'b'.repeat(124)}${i}@h.invalid>`)),
    PHONE,
  )!;
  expect(header(most.text, 'Contact').every((c) => URI.test(c))).toBe(true);
});

test('IPv6 phones as well', () => {
  const listeners = [{ transport: 'udp' as const, address: '2001:db8::10', port: 5060 }];
  const backends = [{ name: 'pbx1', address: '2001:db8::11' }];
  const a = agent({ ...CONTACT_MODE, listeners, backends });
  const phone = 'udp [2001:db8:1:2:3:4:5:6]:40000';
  const out = a.receive(register([OWN], { via: 'SIP/2.0/UDP [2001:db8::9];branch=z9hG4bK1' }), phone)!;
  const uri = uriOf(header(out.text, 'Contact')[0]!);
  expect(uri.length).toBeLessThanOrEqual(255);
  expect(a.receive(invite(uri), 'udp [2001:db8::11]:5060')!.to).toMatchObject(endpoint(phone));
});

test('bindings of before the mode was changed still lead to their phones', () => {
  const out = agent(CONTACT_MODE).receive(register([OWN]), PHONE)!;
  const uri = uriOf(header(out.text, 'Contact')[0]!);
  expect(agent().receive(invite(uri), pbxOf(out.to))!.to).toMatchObject(endpoint(PHONE));
});

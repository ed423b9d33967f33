import { agent, answer, header, request } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { CORPUS, readMessage } from '../corpus/corpus.ts';

const PHONE = 'udp 203.0.113.9:40000';
const SDP = 'v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\nm=audio 4000 RTP/AVP 0 8\n';
const CHALLENGE = 'WWW-Authenticate: Digest realm="example.com", nonce="f84f1cec41e6cbe5aea9c8e88d359", qop="auth"';
const CREDENTIALS =
  'Authorization: Digest username="bonnie", realm="example.com", nonce="f84f1cec41e6cbe5aea9c8e88d359", uri="sip:example.com", response="d41d8cd98f00b204e9800998ecf8427e", algorithm=MD5, cnonce="0a4f113b", qop=auth, nc=00000001';

/** Where a message comes from. PBXs of the fixture's farm, a phone over UDP, and one over TCP. */
export const SOURCES = [
  { from: PHONE, listener: 0 },
  { from: 'udp 198.51.100.7:5060', listener: 0 },
  { from: 'udp 10.0.0.11:5060', listener: 0 },
  { from: 'udp 10.0.0.12:5060', listener: 0 },
  { from: 'tcp 203.0.113.9:40001 #7', listener: 1 },
] as const;

/** The messages of a registration and of calls both ways through the fixture's agent, with its own tokens and branches in them. */
function conversation(): string[] {
  const a = agent();
  const out: string[] = [];
  const say = (text: string, from: string): string => {
    out.push(text);
    const sent = a.receive(text, from);
    if (sent === undefined) throw new Error(`nothing became of:\n${text}`);
    return sent.text;
  };
  const pbxOf = (forwarded: string) =>
    `udp 10.0.0.${11 + Number(!a.sent.some((s) => s.text === forwarded && (s.to.ip3 & 255) === 11))}:5060`;

  const register = { method: 'REGISTER', uri: 'sip:example.com', to: '<sip:bonnie@example.com>' };
  const registered = say(request({ ...register, more: ['Supported: outbound, path', 'Expires: 300'] }), PHONE);
  say(answer(registered, '401 Unauthorized', 'r1', [CHALLENGE]), pbxOf(registered));
  say(
    request({ ...register, via: 'SIP/2.0/UDP 198.51.100.7;rport;branch=z9hG4bKr2', cseq: 2, more: [CREDENTIALS] }),
    PHONE,
  );

  const invite = say(request({ body: SDP, more: ['Allow: INVITE, ACK, BYE', 'Content-Type: application/sdp'] }), PHONE);
  const token = header(invite, 'Record-Route')[0]!;
  say(answer(invite, '180 Ringing'), pbxOf(invite));
  say(answer(invite, '200 OK', 't1', ['Contact: <sip:clyde@10.0.0.11>']), pbxOf(invite));
  const to = '<sip:clyde@example.com>;tag=t1';
  const via = (n: number) => `SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKd${n};rport`;
  say(request({ method: 'ACK', via: via(1), to, more: [`Route: ${token}`] }), PHONE);
  say(request({ method: 'BYE', via: via(2), to, cseq: 2, more: [`Route: ${token}, <sip:far.example;lr>`] }), PHONE);

  const path = header(registered, 'Path')[0]!;
  say(
    request({
      via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKp, SIP/2.0/TCP [2001:db8::7];branch=z9hG4bKq',
      uri: 'sip:bonnie@198.51.100.7:5060',
      from: '"Clyde \\"B\\"" <sip:clyde@example.com>;tag=p1',
      to: '<sip:bonnie@example.com>',
      callId: 'p@pbx',
      body: SDP,
      more: [`Route: ${path}`],
    }),
    pbxOf(registered),
  );
  say(request({ method: 'CANCEL', callId: 'c9', via: via(3) }), PHONE);
  say(
    request({ method: 'MESSAGE', callId: 'm1', via: via(4), body: 'hello', more: ['Content-Type: text/plain'] }),
    PHONE,
  );
  say(request({ method: 'OPTIONS', uri: 'sip:192.0.2.10:5060', callId: 'o1', via: via(5) }), PHONE);
  return out.map((text) => text.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n'));
}

/** A registration in mode `contact`, over UDP and TCP, and what the PBX sends to the URI that it got. */
function rewritten(): string[] {
  const a = agent({ registration: { mode: 'contact' } });
  const register = { method: 'REGISTER', uri: 'sip:example.com', to: '<sip:bonnie@example.com>' };
  const out: string[] = [];
  for (const { from, listener } of [SOURCES[0], SOURCES[4]]) {
    const via = listener === 1 ? { via: 'SIP/2.0/TCP 198.51.100.7;branch=z9hG4bKt' } : {};
    const text = request({ ...register, ...via, more: ['m: sip:b@h;q=0.1, "x" <sip:c@h;ob>;+sip.instance="<urn:1>"'] });
    const sent = a.receive(text, from, listener)!.text;
    const [contact] = header(sent, 'Contact');
    const uri = /<([^>]+)>/.exec(contact!)![1]!;
    out.push(text, answer(sent, '200 OK', 'r1', [`Contact: ${contact};expires=300, <sip:other@h>;expires=900`]));
    out.push(request({ uri, via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKp', callId: `p${listener}@pbx` }));
  }
  return out.map((text) => text.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n'));
}

/** A STUN Binding request, by which a phone keeps its flow open (RFC 5626 §4.4.2). */
export const STUN = '\0\x01\0\0\x21\x12\xa4\x42' + 'transaction1';

/** What a load balancer in front of us says first, both versions. */
export const PROXY_HEADERS = [
  'PROXY TCP4 198.51.100.7 192.0.2.1 40000 5061\r\n',
  'PROXY TCP6 2001:db8::1 2001:db8::2 40000 5061\r\n',
  'PROXY UNKNOWN whatever\r\n',
  '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x07\xc0\0\x02\x01\x9c\x40\x13\xc5',
  `\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8${'\0'.repeat(28)}\x9c\x40\x13\xc5`,
  '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0',
];

/** What is mutated, Latin-1: the corpus of the RFCs, and what phones and PBXs say all day. */
export function messages(): string[] {
  const corpus = CORPUS.map(({ file }) => Buffer.from(readMessage(file)).toString('latin1'));
  const everyday = conversation();
  // As many of these as of those: most of the corpus is answered or dropped early.
  return [...corpus, ...everyday, ...everyday, ...everyday, ...rewritten(), ...rewritten(), STUN];
}

import { expect, test } from 'vitest';
import { parameter, responseTarget, SipMessage, splitList, uriOf } from './message.ts';
import { Registrar } from './registrar.ts';
import { answerEcho } from './sdp.ts';
import { passwordOf } from './users.ts';

const invite = `INVITE sip:echo@10.0.0.1 SIP/2.0\r
v: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK1, SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bK2;received=10.0.0.8;rport=99\r
From: "A, B" <sip:a@x;tag=no>;tag=f1\r
t: <sip:echo@x>\r
i: c1\r
CSeq: 7 INVITE\r
Subject: folded\r
 line\r
Content-Length: 2\r
\r
ok`;

test('reads compact names, folds and lists, and writes what it read', () => {
  const message = SipMessage.parse(Buffer.from(invite))!;
  expect(message.list('via').map((v) => parameter(v, 'branch'))).toEqual(['z9hG4bK1', 'z9hG4bK2']);
  expect(message.list('via').map(responseTarget)).toEqual([
    { host: '10.0.0.9', port: 5060 },
    { host: '10.0.0.8', port: 99 },
  ]);
  expect([message.method, message.cseq, message.tag('from'), message.tag('to')]).toEqual([
    'INVITE',
    7,
    'f1',
    undefined,
  ]);
  expect(message.get('subject')).toBe('folded line');
  expect(SipMessage.parse(message.toBytes())).toEqual(message);
});

test('a reply keeps the Vias and tags To once', () => {
  const request = SipMessage.parse(Buffer.from(invite))!;
  const response = SipMessage.parse(request.reply(180, 'Ringing', 't9').toBytes())!;
  expect([response.status, response.tag('to'), response.list('via').length]).toEqual([180, 't9', 2]);
});

test('lists are split outside of quotes and brackets', () => {
  expect(splitList('"a, \\"b" <sip:x,y>;q=1 , <sip:z>')).toEqual(['"a, \\"b" <sip:x,y>;q=1', '<sip:z>']);
  expect(uriOf('"a <b>" <sip:u@[::1]:5080;lr>;tag=1')).toEqual({
    text: 'sip:u@[::1]:5080;lr',
    user: 'u',
    host: '::1',
    port: 5080,
  });
});

test('the echo answers the first audio stream and refuses the others', () => {
  const offer =
    'v=0\r\nc=IN IP4 1.2.3.4\r\nm=video 9 RTP/AVP 96\r\nm=audio 8 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\na=sendonly\r\n';
  const answer = answerEcho(offer, '127.0.0.1', 4000, 1);
  expect(answer?.split('\r\n').slice(5)).toEqual([
    'm=video 0 RTP/AVP 96',
    'm=audio 4000 RTP/AVP 8 0',
    'a=rtpmap:8 PCMA/8000',
    'a=recvonly',
    '',
  ]);
  expect(answerEcho('v=0\r\nm=audio 8 RTP/SAVPF 0\r\n', '127.0.0.1', 4000, 1)).toBeUndefined();
});

test('the registrar offers SHA-256 above MD5 and calls an old nonce stale', () => {
  let now = 1_000_000;
  const registrar = new Registrar({ passwordOf, now: () => now });
  const register = invite.replaceAll('INVITE', 'REGISTER').replace('echo@x', 'bonnie@x');
  const challenge = registrar.register(SipMessage.parse(Buffer.from(register))!);
  expect(challenge.status).toBe(401);
  expect(challenge.all('www-authenticate').map((v) => /algorithm=(\S+),/.exec(v)?.[1])).toEqual(['SHA-256', 'MD5']);
  const nonce = /nonce="([^"]+)"/.exec(challenge.get('www-authenticate')!)![1]!;
  now += 61_000;
  const old = SipMessage.parse(Buffer.from(register))!;
  old.set('Authorization', [
    `Digest username="bonnie", realm="demo.sipfleet", nonce="${nonce}", uri="sip:x", response="00", qop=auth, nc=00000001, cnonce="c"`,
  ]);
  const again = registrar.register(old);
  // Stale is said to those alone who proved the password.
  expect([again.status, again.get('www-authenticate')?.includes('stale')]).toEqual([401, false]);
});

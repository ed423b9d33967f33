import { expect, test } from 'vitest';
import { parameter, responseTarget, SipMessage, splitList, uriOf } from './text-message.ts';

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

test('every byte of a body and of a display name comes back as it was', () => {
  const all = Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)).toString('latin1');
  const high = all.slice(128);
  const message = new SipMessage('MESSAGE sip:a@b SIP/2.0', [
    ['Via', 'SIP/2.0/UDP h;branch=z9hG4bK1'],
    ['From', `"${high}" <sip:a@b>;tag=1`],
    ['To', '<sip:c@d>'],
    ['Call-ID', 'x'],
    ['CSeq', '1 MESSAGE'],
  ]);
  message.body = all;
  const read = SipMessage.parse(message.toBytes())!;
  expect(read.get('from')).toBe(`"${high}" <sip:a@b>;tag=1`);
  expect(read.body).toBe(all);
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

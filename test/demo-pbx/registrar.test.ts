import { expect, test } from 'vitest';
import { SipMessage } from '../../edge-agent/src/sip/text-message.ts';
import { Registrar } from './registrar.ts';
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

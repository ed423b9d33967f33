import { expect, test } from 'vitest';
import { parseCredentials, secretOf, verifyCredentials } from '../../sip/digest.ts';
import { SipMessage } from '../../sip/text-message.ts';
import { Authenticator } from './authentication.ts';

const bonnie = { username: 'bonnie', password: 'parker' };
const request = (method = 'REGISTER'): SipMessage =>
  new SipMessage(`${method} sip:example.com SIP/2.0`, [['CSeq', `1 ${method}`]]);

function challenge(status: 401 | 407, ...values: string[]): SipMessage {
  const response = new SipMessage(`SIP/2.0 ${status} Unauthorized`, [['CSeq', '1 REGISTER']]);
  response.set(status === 401 ? 'WWW-Authenticate' : 'Proxy-Authenticate', values);
  return response;
}

test('of several challenges the topmost that is understood is answered, once a realm (RFC 8760)', () => {
  const authenticator = new Authenticator(bonnie);
  const ask = challenge(
    401,
    'Bearer realm="x"',
    'Digest realm="x", nonce="0", algorithm=SHA-3, qop="auth"',
    'Digest realm="x", nonce="1", algorithm=SHA-256, qop="auth,auth-int", opaque="o"',
    'Digest realm="x", nonce="2", algorithm=MD5, qop="auth"',
  );
  authenticator.learn(ask, request());
  const retry = request();
  authenticator.apply(retry);
  expect(retry.all('authorization')).toHaveLength(1);
  const credentials = parseCredentials(retry.get('authorization')!)!;
  expect(credentials).toMatchObject({ nonce: '1', algorithm: 'SHA-256', qop: 'auth', nc: '00000001', opaque: 'o' });
  expect(verifyCredentials(credentials, secretOf('SHA-256', 'bonnie', 'x', 'parker'), 'REGISTER')).toBe(true);
  // The nonce goes on being used, counted (RFC 7616 §3.4).
  const next = request();
  authenticator.apply(next);
  expect(parseCredentials(next.get('authorization')!)?.nc).toBe('00000002');
});

test('a proxy and a registrar, and two realms, are answered side by side', () => {
  const authenticator = new Authenticator(bonnie);
  authenticator.learn(challenge(407, 'Digest realm="a", nonce="1"', 'Digest realm="b", nonce="2"'), request());
  const second = request();
  authenticator.apply(second);
  authenticator.learn(challenge(401, 'Digest realm="a", nonce="3"'), second);
  const third = request();
  authenticator.apply(third);
  expect([third.all('proxy-authorization').length, third.all('authorization').length]).toEqual([2, 1]);
});

test('refused credentials are told; an old nonce is worth another try, but not for ever', () => {
  const authenticator = new Authenticator(bonnie);
  const tried = (): SipMessage => {
    const message = request();
    authenticator.apply(message);
    return message;
  };
  authenticator.learn(challenge(401, 'Digest realm="x", nonce="1"'), tried());
  authenticator.learn(challenge(401, 'Digest realm="x", nonce="2", stale=true'), tried());
  authenticator.learn(challenge(401, 'Digest realm="x", nonce="3", stale=true'), tried());
  const why = /^401 to REGISTER: password of bonnie refused \(realm x\)$/;
  expect(() => authenticator.learn(challenge(401, 'Digest realm="x", nonce="4", stale=true'), tried())).toThrow(why);
  const other = new Authenticator(bonnie);
  other.learn(challenge(401, 'Digest realm="x", nonce="1"'), request());
  const message = request();
  other.apply(message);
  expect(() => other.learn(challenge(401, 'Digest realm="x", nonce="2"'), message)).toThrow(why);
});

test('nothing to answer with, and nothing that can be answered', () => {
  const ask = challenge(401, 'Digest realm="x", nonce="1"');
  expect(() => new Authenticator(undefined).learn(ask, request())).toThrow(/a user name and a password are asked for/);
  const odd = challenge(401, 'Digest realm="x", nonce="1", qop="auth-int"', 'Digest nonce=');
  expect(() => new Authenticator(bonnie).learn(odd, request())).toThrow(/no challenge in it that can be answered/);
});

test('ACK and CANCEL are never given credentials of their own', () => {
  const authenticator = new Authenticator(bonnie);
  authenticator.learn(challenge(401, 'Digest realm="x", nonce="1"'), request());
  for (const method of ['ACK', 'CANCEL']) {
    const message = request(method);
    authenticator.apply(message);
    expect(message.get('authorization')).toBeUndefined();
  }
});

import { expect, test } from 'vitest';
import {
  answerChallenge,
  type DigestChallenge,
  digestResponse,
  formatChallenge,
  formatCredentials,
  parseChallenges,
  parseCredentials,
  secretOf,
  verifyCredentials,
} from './digest.ts';

const mufasa = { username: 'Mufasa', password: 'Circle of Life' };
const get = { method: 'GET', uri: '/dir/index.html' };

// RFC 7616 §3.9.1, both challenges of one response.
const RFC7616 = `Digest
       realm="http-auth@example.org",
       qop="auth, auth-int",
       algorithm=SHA-256,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
       opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`;
const client = { cnonce: 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ', nc: 1 };

test('RFC 7616 §3.9.1: SHA-256 and MD5', () => {
  const challenges = parseChallenges([RFC7616, RFC7616.replace('SHA-256', 'MD5')]);
  const answers = challenges.map((c) => answerChallenge(c, mufasa, get, client)?.response);
  expect(answers).toEqual([
    '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1',
    '8ca523f5e9506fed4657c9700eebdbec',
  ]);
});

test('RFC 7616 §3.9.2 with erratum 4897: SHA-512-256 and a name beyond ASCII', () => {
  const [challenge] = parseChallenges([
    'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, charset=UTF-8, userhash=true, ' +
      'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS"',
  ]);
  const who = { username: 'J\u00e4s\u00f8n Doe', password: 'Secret, or not?' };
  const answer = answerChallenge(
    challenge as DigestChallenge,
    who,
    { method: 'GET', uri: '/doe.json' },
    { cnonce: 'NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v', nc: 1 },
  );
  expect(answer?.response).toBe('3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5');
});

test('RFC 2617 §3.5: MD5 with qop, and the same without (RFC 2069)', () => {
  const base = { nonce: 'dcd98b7102dd2f0e8b11d0f600bfb0c093', uri: '/dir/index.html', algorithm: 'MD5' } as const;
  const secret = secretOf('MD5', 'Mufasa', 'testrealm@host.com', 'Circle Of Life');
  expect(digestResponse({ ...base, qop: 'auth', nc: '00000001', cnonce: '0a4f113b' }, secret, 'GET')).toBe(
    '6629fae49393a05397450978507c4ef1',
  );
  expect(digestResponse(base, secret, 'GET')).toBe('670fd8c2df070c60b045671b8b24ff02');
});

test('several challenges in one value, other schemes and unknown algorithms stepped over, order kept', () => {
  const value =
    'Basic realm="b", Digest realm="a, \\"x\\"", nonce="n1", algorithm=SHA-256, qop="auth", ' +
    'Digest realm="r", nonce="n2", algorithm=WHIRLPOOL, DIGEST Realm="r", NONCE = "n3" , stale=TRUE';
  expect(parseChallenges([value])).toEqual([
    { realm: 'a, "x"', nonce: 'n1', algorithm: 'SHA-256', qop: ['auth'], stale: false },
    { realm: 'r', nonce: 'n3', algorithm: 'MD5', qop: [], stale: true },
  ]);
});

test('a challenge and credentials read back as they were written', () => {
  const challenge: DigestChallenge = {
    realm: 'a "quoted\\ realm',
    nonce: 'n',
    opaque: 'o',
    algorithm: 'SHA-256-sess',
    qop: ['auth', 'auth-int'],
    stale: true,
  };
  expect(parseChallenges([formatChallenge(challenge)])).toEqual([challenge]);
  const answer = answerChallenge(challenge, mufasa, { method: 'REGISTER', uri: 'sip:pbx' }, { cnonce: 'c', nc: 17 });
  expect(answer).toMatchObject({ nc: '00000011', qop: 'auth', cnonce: 'c', opaque: 'o' });
  expect(parseCredentials(formatCredentials(answer!))).toEqual(answer);
});

test.each([
  ['another method', { method: 'INVITE' }],
  ['another password', { password: 'wrong' }],
  ['another uri', { uri: 'sip:other' }],
  ['a cut response', { cut: true }],
  ['auth-int, whose body is not checked here', { qop: 'auth-int' }],
])('refuses %s', (_, change: { method?: string; password?: string; uri?: string; cut?: boolean; qop?: string }) => {
  const challenge: DigestChallenge = { realm: 'r', nonce: 'n', algorithm: 'SHA-256', qop: ['auth'], stale: false };
  const good = answerChallenge(challenge, mufasa, { method: 'REGISTER', uri: 'sip:pbx' }, { cnonce: 'c', nc: 1 })!;
  const secret = secretOf('SHA-256', 'Mufasa', 'r', change.password ?? mufasa.password);
  expect(verifyCredentials(good, secretOf('SHA-256', 'Mufasa', 'r', mufasa.password), 'REGISTER')).toBe(true);
  const bad = {
    ...good,
    uri: change.uri ?? good.uri,
    qop: change.qop ?? good.qop ?? '',
    response: change.cut ? good.response.slice(1) : good.response,
  };
  expect(verifyCredentials(bad, secret, change.method ?? 'REGISTER')).toBe(false);
});

test.each([
  ['nothing', ''],
  ['another scheme', 'Basic dXNlcjpwYXNz'],
  ['no response', 'Digest username="u", realm="r", nonce="n", uri="sip:x"'],
  ['an open quote', 'Digest username="u", realm="r", nonce="n", uri="sip:x", response="00'],
  ['a field twice', 'Digest username="u", username="v", realm="r", nonce="n", uri="sip:x", response="0"'],
  ['qop without cnonce', 'Digest username="u", realm="r", nonce="n", uri="sip:x", response="0", qop=auth, nc=00000001'],
  [
    'nc of seven digits',
    'Digest username="u", realm="r", nonce="n", uri="x", response="0", qop=auth, cnonce="c", nc=0000001',
  ],
  ['a parameter before the scheme', 'username="u", Digest realm="r", nonce="n", uri="x", response="0"'],
])('credentials with %s are no credentials', (_, value) => {
  expect(parseCredentials(value)).toBeUndefined();
});

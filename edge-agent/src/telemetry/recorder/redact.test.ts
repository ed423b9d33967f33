import { expect, test } from 'vitest';
import { createRedactor, createUserHash } from './redact.ts';

const plain = createRedactor({ headers: ['p-asserted-identity', 'contact'], hashUsers: false, key: '' });
const hashing = { headers: [], hashUsers: true, key: 'k' };
const hashed = createRedactor(hashing);
const hash = createUserHash(hashing);
const lines = (...text: string[]): Buffer => Buffer.from(text.join('\r\n'), 'latin1');
const text = (bytes: Buffer): string => bytes.toString('latin1');

test('credentials always hide, configured headers too: folded, oddly spaced, in either form; lengths stay', () => {
  const message = lines(
    'INVITE sip:clyde@example.com SIP/2.0',
    'AUTHORIZATION  : Digest username="b",',
    ' response="x1y2"',
    'Proxy-Authorization:Digest a',
    'Authentication-Info: rspauth="q"',
    'P-Asserted-Identity: <sip:+4912345@example.com>',
    'm: <sip:10.0.0.9>',
    'Subject: Authorization: none',
    '',
    '',
  );
  const clean = text(plain(message));
  expect(clean).toHaveLength(message.length);
  expect(clean).not.toMatch(/x1y2|4912345|rspauth|10\.0\.0\.9/);
  // Still credentials, as far as a decoder looks.
  expect(clean).toContain('AUTHORIZATION  : Digest username="x",\r\n response="xxxx"\r\n');
  expect(clean).toContain('sip:clyde@example.com');
  expect(clean).toContain('\r\nSubject: Authorization: none\r\n');
});

test.each(['\n', '\r', '\r\n'])('lines that end with %j hide all the same', (newline) => {
  const message = ['REGISTER sip:a SIP/2.0', 'Authorization: Digest', '\tresponse="x1y2"', 'Call-ID: c', '', ''].join(
    newline,
  );
  const clean = text(plain(Buffer.from(message)));
  expect(clean).not.toMatch(/x1y2/);
  expect(clean).toMatch(/Call-ID: c/);
});

test.each([
  [
    'Digest username="bon\\"nie, realm=", response="abc=", nc=00000001, x=y',
    'Digest username="xxxxxxxx, realm=", response="xxxx", nc=xxxxxxxx, xxx',
  ],
  ['digest\tresponse=c2VjcmV0', 'digest\tresponse=xxxxxxxx'],
  ['Basic dXNlcjpwYXNz=', 'xxxxxxxxxxxxxxxxxxx'],
  ['Bearer response=abc', 'xxxxxxxxxxxxxxxxxxx'],
  ['Digest', 'xxxxxx'],
])('of credentials %s remains %s', (value, rest) => {
  expect(text(plain(lines('A sip:a SIP/2.0', `Authorization: ${value}`, '', '')))).toContain(
    `\r\nAuthorization: ${rest}\r\n`,
  );
});

test('a message inside a body hides its credentials, SDP its keys; binary bodies stay as they are', () => {
  const sipfrag = lines(
    'NOTIFY sip:a SIP/2.0',
    'Content-Type: message/sipfrag',
    '',
    'INVITE sip:b SIP/2.0',
    'Authorization: Digest q',
    '',
  );
  expect(text(plain(sipfrag))).toMatch(/INVITE sip:b SIP\/2\.0\r\nAuthorization: Digest x\r\n/);
  const sdp = lines(
    'INVITE sip:a SIP/2.0',
    '',
    'v=0',
    'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3|2^20',
    'a=ice-pwd:hunter2',
    'a=rtpmap:0 PCMU/8000',
    '',
  );
  const clean = text(plain(sdp));
  expect(clean).not.toMatch(/d0Rmd|hunter2/);
  expect(clean).toContain('a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x');
  expect(clean).toContain('a=rtpmap:0 PCMU/8000');
  const binary = Buffer.concat([lines('MESSAGE sip:a SIP/2.0', '', ''), Buffer.from([0, 128, 255, 195, 40])]);
  expect(plain(binary)).toEqual(binary);
});

test('users become hashes: the same user the same one, escaped, with a password or with parameters', () => {
  const message = lines(
    'INVITE sip:clyde@a SIP/2.0',
    'To: "Clyde Barrow" <sips:cl%79de:pw@a>;tag=1',
    'From: Bonnie P. <sip:bonnie;day=1@a>',
    'P-Asserted-Identity: <tel:+4912345>, <sip:bonnie@b>',
    'Contact: <sip:10.0.0.1:5060>;+sip.instance="<urn:uuid:1>"',
    'Identity: eyJvcmlnIjoiNDkxMjM0NSJ9',
    '',
    '',
  );
  expect(text(hashed(message)).split('\r\n')).toEqual([
    `INVITE sip:${hash('clyde')}@a SIP/2.0`,
    `To: "xxxxx xxxxxx" <sips:${hash('clyde')}@a>;tag=1`,
    `From: xxxxxx xx <sip:${hash('bonnie')}@a>`,
    `P-Asserted-Identity: <tel:${hash('+4912345')}>, <sip:${hash('bonnie')}@b>`,
    'Contact: <sip:10.0.0.1:5060>;+sip.instance="<urn:uuid:1>"',
    `Identity: ${'x'.repeat(24)}`,
    '',
    '',
  ]);
  expect(hash('clyde')).toMatch(/^u[0-9a-f]{16}$/);
  expect(createUserHash({ ...hashing, key: 'other' })('clyde')).not.toBe(hash('clyde'));
  expect(createUserHash({ ...hashing, hashUsers: false })('clyde')).toBe('clyde');
});

test('where users are hashed a body names nobody, and keeps its length', () => {
  const body = lines('o=bonnie 1 1 IN IP4 10.0.0.1', 's=call', 'Referred-By: <sip:clyde:pw@a>', 'tel:+4912345', '');
  const message = Buffer.concat([lines('INVITE sip:a SIP/2.0', '', ''), body]);
  const clean = hashed(message);
  expect(clean).toHaveLength(message.length);
  expect(text(clean)).not.toMatch(/bonnie|clyde|pw|49123/);
  expect(text(clean)).toContain('<sip:xxxxxxxx@a>');
});

test.each([
  ['sip:', 'sip:'.repeat(16_000)],
  ['quotes', '"\\'.repeat(30_000)],
  ['colons', ':a'.repeat(30_000)],
  ['spaces', `Authorization${' '.repeat(60_000)}`],
  ['lines', '\r\n '.repeat(20_000)],
  ['at', 'sip:a;b'.repeat(9_000)],
])('the longest message of nothing but %s takes no longer than others of its length', (_name, filler) => {
  const message = lines('INVITE sip:a SIP/2.0', `Subject: ${filler}`, filler, '', filler);
  // Quadratic steps would take minutes: the test's own time limit speaks.
  expect(hashed(message).length).toBeGreaterThan(0);
  expect(plain(message)).toHaveLength(message.length);
});

import { expect, onTestFinished, test } from 'vitest';
import { MessageView, PARSE_ERRORS } from '../sip/message.ts';
import { createNonces, Nonces } from './nonces.ts';

let to = '<sip:a@b>';
function message(start: string, ...lines: string[]): MessageView {
  const bytes = Buffer.from(
    [
      start,
      'Via: SIP/2.0/UDP h',
      'From: <sip:a@b>;tag=1',
      `To: ${to}`,
      'Call-ID: x',
      'CSeq: 1 REGISTER',
      ...lines,
      '',
      '',
    ].join('\r\n'),
  );
  const view = new MessageView();
  expect(PARSE_ERRORS[view.parse(bytes, 0, bytes.length)]).toBe('');
  return view;
}
const challenge = (...lines: string[]) => message('SIP/2.0 401 Unauthorized', ...lines);
const backends = (...ids: number[]) => ids.map((id) => ({ id }));
const NOW = 1000;
const FIVE = backends(50, 40, 30, 20, 10);
const retry = (...lines: string[]) => message('REGISTER sip:b SIP/2.0', ...lines);

test('the retry leads to the backend that challenged, whichever worker saw the challenge', () => {
  const memory = createNonces();
  const [one, two] = [new Nonces(memory, FIVE), new Nonces(memory, FIVE)];
  one.learn(challenge('WWW-Authenticate: Digest realm="b", nonce="abc123"'), 4, NOW);
  one.learn(challenge('Proxy-Authenticate: Digest nonce="def",realm="b"'), 0, NOW);
  expect(two.find(retry('Authorization: Digest username="u", cnonce="zzz", nonce="abc123"'), NOW)).toBe(4);
  expect(two.find(retry('Proxy-Authorization: Digest username="u",nonce="def"'), NOW)).toBe(0);
  expect(two.find(retry('Authorization: Digest username="u", nonce="abc124"'), NOW)).toBe(-1);
  expect(two.find(retry(), NOW)).toBe(-1);
});

test('several challenges of one response, and headers without a nonce', () => {
  const nonces = new Nonces(createNonces(), FIVE);
  nonces.learn(
    challenge('WWW-Authenticate: Digest realm="b", nonce="md5"', 'WWW-Authenticate: Digest realm="b", NONCE="sha"'),
    2,
    NOW,
  );
  nonces.learn(
    challenge('WWW-Authenticate: Digest realm="b", nonce=""', 'WWW-Authenticate: Digest nonce="open'),
    3,
    NOW,
  );
  expect(nonces.find(retry('Authorization: Digest nonce="sha"'), NOW)).toBe(2);
  expect(nonces.find(retry('Authorization: Digest nonce="md5"'), NOW)).toBe(2);
  expect(nonces.find(retry('Authorization: Digest nonce="open"'), NOW)).toBe(-1);
});

test('a new plan goes on with what the one before knew, its backends under their new numbers', () => {
  const memory = createNonces();
  const before = new Nonces(memory, backends(7, 8, 9));
  for (const b of [0, 1, 2]) before.learn(challenge(`WWW-Authenticate: Digest nonce="n${b}"`), b, NOW);
  const after = new Nonces(memory, backends(9, 7, 5));
  const found = (n: string) => after.find(retry(`Authorization: Digest nonce="${n}"`), NOW);
  expect([0, 1, 2].map((b) => found(`n${b}`))).toEqual([1, -1, 0]);
  // Threads that still run the plan before go on learning.
  before.learn(challenge('WWW-Authenticate: Digest nonce="late"'), 2, NOW);
  expect(found('late')).toBe(0);
});

test('a nonce that a phone uses again for somebody else, or later, leads nowhere', () => {
  const nonces = new Nonces(createNonces(), FIVE);
  const found = (callee: string, now: number) => {
    to = callee;
    return nonces.find(retry('Proxy-Authorization: Digest nonce="n"'), now);
  };
  onTestFinished(() => void found('<sip:a@b>', 0));
  to = '<sip:a@b>;tag=pbx';
  nonces.learn(challenge('Proxy-Authenticate: Digest nonce="n"'), 3, NOW);
  expect(found('<sip:a@b>', NOW + 31)).toBe(3);
  expect(found('<sip:a@b>', NOW + 32)).toBe(-1);
  expect(found('<sip:c@b>', NOW)).toBe(-1);
  // As of a PBX whose nonces last a second, for all.
  to = '<sip:c@b>';
  nonces.learn(challenge('Proxy-Authenticate: Digest nonce="n"'), 1, NOW);
  expect(['<sip:a@b>', '<sip:c@b>'].map((callee) => found(callee, NOW))).toEqual([3, 1]);
});

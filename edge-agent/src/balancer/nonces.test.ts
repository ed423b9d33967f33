import { expect, test } from 'vitest';
import { MessageView, PARSE_ERRORS } from '../sip/message.ts';
import { createNonces, Nonces } from './nonces.ts';

function message(start: string, ...lines: string[]): MessageView {
  const bytes = Buffer.from(
    [
      start,
      'Via: SIP/2.0/UDP h',
      'From: <sip:a@b>;tag=1',
      'To: <sip:a@b>',
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
const FIVE = backends(50, 40, 30, 20, 10);
const retry = (...lines: string[]) => message('REGISTER sip:b SIP/2.0', ...lines);

test('the retry leads to the backend that challenged, whichever worker saw the challenge', () => {
  const memory = createNonces();
  const [one, two] = [new Nonces(memory, FIVE), new Nonces(memory, FIVE)];
  one.learn(challenge('WWW-Authenticate: Digest realm="b", nonce="abc123"'), 4);
  one.learn(challenge('Proxy-Authenticate: Digest nonce="def",realm="b"'), 0);
  expect(two.find(retry('Authorization: Digest username="u", cnonce="zzz", nonce="abc123"'))).toBe(4);
  expect(two.find(retry('Proxy-Authorization: Digest username="u",nonce="def"'))).toBe(0);
  expect(two.find(retry('Authorization: Digest username="u", nonce="abc124"'))).toBe(-1);
  expect(two.find(retry())).toBe(-1);
});

test('several challenges of one response, and headers without a nonce', () => {
  const nonces = new Nonces(createNonces(), FIVE);
  nonces.learn(
    challenge('WWW-Authenticate: Digest realm="b", nonce="md5"', 'WWW-Authenticate: Digest realm="b", NONCE="sha"'),
    2,
  );
  nonces.learn(challenge('WWW-Authenticate: Digest realm="b", nonce=""', 'WWW-Authenticate: Digest nonce="open'), 3);
  expect(nonces.find(retry('Authorization: Digest nonce="sha"'))).toBe(2);
  expect(nonces.find(retry('Authorization: Digest nonce="md5"'))).toBe(2);
  expect(nonces.find(retry('Authorization: Digest nonce="open"'))).toBe(-1);
});

test('a new plan goes on with what the one before knew, its backends under their new numbers', () => {
  const memory = createNonces();
  const before = new Nonces(memory, backends(7, 8, 9));
  for (const b of [0, 1, 2]) before.learn(challenge(`WWW-Authenticate: Digest nonce="n${b}"`), b);
  const after = new Nonces(memory, backends(9, 7, 5));
  const found = (n: string) => after.find(retry(`Authorization: Digest nonce="${n}"`));
  expect([0, 1, 2].map((b) => found(`n${b}`))).toEqual([1, -1, 0]);
  // Threads that still run the plan before go on learning.
  before.learn(challenge('WWW-Authenticate: Digest nonce="late"'), 2);
  expect(found('late')).toBe(0);
});

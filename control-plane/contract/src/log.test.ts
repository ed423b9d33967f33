import { pino } from 'pino';
import { expect, test } from 'vitest';
import { logOptions, withoutSecrets } from './log.ts';

function logger() {
  let now = 0;
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { base: { agent: 'edge' }, ...logOptions(() => now) },
    { write: (line: string) => void lines.push(JSON.parse(line)) },
  );
  return {
    log,
    lines,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

test('lines are JSON with their fields, also of children', () => {
  const { log, lines } = logger();
  log.child({ room: 'link' }).warn({ reason: 'x' }, 'lost');
  log.info('plain');
  log.error(new Error('boom'));
  expect(lines).toMatchObject([
    { level: 40, agent: 'edge', room: 'link', reason: 'x', msg: 'lost' },
    { level: 30, msg: 'plain' },
    { level: 50, msg: 'boom', err: { type: 'Error' } },
  ]);
});

test('of one text no more than can be read; the next one says how many there were; others are not held up', () => {
  const { log, lines, pass } = logger();
  for (let i = 0; i < 1000; i++) log.child({ i }).warn({ i }, 'refused');
  log.warn('another');
  expect(lines).toHaveLength(21);
  pass(10_000);
  log.warn({ i: 1000 }, 'refused');
  log.warn({ i: 1001 }, 'refused');
  expect(lines.slice(21)).toMatchObject([{ i: 1000, suppressed: 980 }, { i: 1001 }]);
  expect(lines.at(-1)).not.toHaveProperty('suppressed');
  for (let i = 0; i < 30; i++) log.info('plain');
  pass(10_000);
  log.info('plain');
  expect(lines.at(-1)).toMatchObject({ msg: 'plain', suppressed: 10 });
});

test.each([
  ['token sft_abcdefghijkl refused', 'token sft_[hidden] refused'],
  ['SIPFLEET_JOIN_TOKEN=sfj_AbC-_123456', 'SIPFLEET_JOIN_TOKEN=sfj_[hidden]'],
  ['Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2ln!', 'Bearer [hidden JWT]!'],
  ['fetch https://user:pass@push.example.com/x failed', 'fetch https://[hidden]@push.example.com/x failed'],
  ['Authorization: Digest username="b", response="c"\r\nTo: x', 'Authorization: [hidden]'],
  ['-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY----- and more', '[hidden key] and more'],
  ['sip:bonnie@example.com answers 403; http://10.0.0.1/x', 'sip:bonnie@example.com answers 403; http://10.0.0.1/x'],
])('a line hides what is secret in %s', (text, clean) => {
  const line = withoutSecrets(JSON.stringify({ reason: text }));
  expect((JSON.parse(line) as { reason: string }).reason).toMatch(
    clean.startsWith('Auth') ? /^Authorization: \[hidden\]/ : clean,
  );
  if (clean.startsWith('Auth')) expect(line).not.toMatch(/Digest|username/);
});

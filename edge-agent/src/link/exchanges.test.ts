import { answerText } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { Exchanges } from './exchanges.ts';

function open(deadlineMs?: number) {
  const sent: { id: number; type: string }[] = [];
  let terminated = 0;
  const socket = { send: (text: string) => void sent.push(JSON.parse(text)), terminate: () => void terminated++ };
  return { sent, exchanges: new Exchanges(socket, deadlineMs), terminated: () => terminated };
}
const pull = { type: 'snapshot', running: null } as const;

test('each question gets the answer of its number, in whatever order they come', async () => {
  const { sent, exchanges } = open();
  const asked = [exchanges.ask(pull), exchanges.ask({ type: 'report', report: {} })];
  expect(sent.map(({ id, type }) => [id, type])).toEqual([
    [1, 'snapshot'],
    [2, 'report'],
  ]);
  expect(exchanges.take(answerText({ id: 2, status: 200 }, '{"a":1}'))).toBe(true);
  expect(exchanges.take(answerText({ id: 1, status: 200, etag: 'e', signature: '1.s' }, 'body\nwith lines'))).toBe(
    true,
  );
  expect(await Promise.all(asked)).toEqual([
    { head: { type: 'answer', id: 1, status: 200, etag: 'e', signature: '1.s' }, body: 'body\nwith lines' },
    { head: { type: 'answer', id: 2, status: 200 }, body: '{"a":1}' },
  ]);
});

test('a hint is no answer, and a wrong answer is none', () => {
  const { exchanges } = open();
  expect(exchanges.take('{"type":"schedule","site":"milan","jitterMs":0}')).toBe(false);
  expect(() => exchanges.take('{"type":"answer","id":"one"}\n')).toThrow('id');
  expect(() => exchanges.take('nonsense\n')).toThrow();
});

test('where nothing is heard the socket is given up, and HTTP is left', async () => {
  const { exchanges, terminated } = open(20);
  expect(await exchanges.ask(pull)).toBeUndefined();
  expect(terminated()).toBe(1);
});

test('where something is heard, though no answer, it stays; an answer that comes too late is nobody’s', async () => {
  const { exchanges, terminated } = open(20);
  const asked = exchanges.ask(pull);
  exchanges.take('{"type":"schedule","site":"milan","jitterMs":0}');
  expect(await asked).toBeUndefined();
  expect(terminated()).toBe(0);
  expect(exchanges.take(answerText({ id: 1, status: 200 }))).toBe(true);
});

test('a socket that ends leaves what was asked to HTTP, and takes nothing more', async () => {
  const { sent, exchanges } = open();
  const asked = exchanges.ask(pull);
  exchanges.lost();
  expect([await asked, await exchanges.ask(pull), sent.length]).toEqual([undefined, undefined, 1]);
});

test('what is too long for a message is not sent', async () => {
  const { sent, exchanges } = open();
  expect(await exchanges.ask({ type: 'report', report: 'x'.repeat(70_000) })).toBeUndefined();
  expect(sent).toEqual([]);
});

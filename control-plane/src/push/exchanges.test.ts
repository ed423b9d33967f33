import { EventEmitter } from 'node:events';
import type { Question } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { converse, type Exchanges } from './exchanges.ts';

class FakeSocket extends EventEmitter {
  readyState = 1;
  readonly sent: string[] = [];
  closed: number | undefined;
  send(text: string) {
    this.sent.push(text);
  }
  close(code: number) {
    this.closed ??= code;
    this.readyState = 2;
  }
  ask(question: object | string) {
    this.emit('message', typeof question === 'string' ? question : JSON.stringify(question), false);
  }
}
const asker = { agentId: 'agt_a', publicKey: 'key' };
const question = (id: number) => ({ type: 'snapshot', id, running: null });
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Answers when the test says so. */
function slow() {
  const asked: number[] = [];
  const waiting: (() => void)[] = [];
  const exchanges: Exchanges = {
    async answer(_asker, { id }: Question) {
      asked.push(id);
      await new Promise<void>((resolve) => waiting.push(resolve));
      return { text: `answer ${id}`, known: true };
    },
  };
  async function next() {
    await turn();
    waiting.shift()?.();
    await turn();
  }
  return { asked, exchanges, next };
}

test('one thing after the other, each answered in its turn', async () => {
  const [socket, { asked, exchanges, next }] = [new FakeSocket(), slow()];
  converse(socket, asker, exchanges);
  socket.ask(question(1));
  socket.ask(question(2));
  await turn();
  expect(asked).toEqual([1]);
  await next();
  expect([asked, socket.sent]).toEqual([[1, 2], ['answer 1']]);
  await next();
  expect(socket.sent).toEqual(['answer 1', 'answer 2']);
});

test('who asks without waiting for answers is cut off', async () => {
  const [socket, { exchanges }] = [new FakeSocket(), slow()];
  converse(socket, asker, exchanges);
  for (const id of [1, 2, 3, 4]) socket.ask(question(id));
  expect(socket.closed).toBeUndefined();
  socket.ask(question(5));
  expect(socket.closed).toBe(1008);
});

test.each([
  ['no JSON', 'x'.repeat(2000)],
  ['another kind of question', '{"type":"secrets","id":1}'],
  ['no number', '{"type":"report","report":{}}'],
])('%s is no question', (_what, text) => {
  const socket = new FakeSocket();
  converse(socket, asker, slow().exchanges);
  socket.ask(text);
  expect(socket.closed).toBe(1008);
});

test('bytes are no question either', () => {
  const socket = new FakeSocket();
  converse(socket, asker, slow().exchanges);
  socket.emit('message', Buffer.from(JSON.stringify(question(1))), true);
  expect(socket.closed).toBe(1008);
});

test('who is not known any more is told so, and loses its connection', async () => {
  const socket = new FakeSocket();
  converse(socket, asker, { answer: async () => ({ text: 'no', known: false }) });
  socket.ask(question(1));
  await turn();
  expect([socket.sent, socket.closed]).toEqual([['no'], 4401]);
});

test('a connection that ended meanwhile is sent nothing', async () => {
  const [socket, { exchanges, next }] = [new FakeSocket(), slow()];
  converse(socket, asker, exchanges);
  socket.ask(question(1));
  socket.readyState = 3;
  await next();
  expect(socket.sent).toEqual([]);
});

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXCHANGE_HEADER, readAnswer, Snapshot } from '@sipfleet/contract';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { Rates } from './auth/limits.ts';
import { farm } from './domain/configuration.fixture.ts';
import { clientOf, joinAgent } from './server.fixture.ts';
import { type ControlPlane, startControlPlane } from './server.ts';
import { openSqliteStore } from './store/sqlite.ts';

let dataDir: string;
let plane: ControlPlane;
const logger = pino({ level: 'silent' });
const store = () => ({ kind: 'sqlite', file: join(dataDir, 'store.db') }) as const;
beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'sipfleet-exchange-'));
  plane = await startControlPlane({ http: { host: '127.0.0.1', port: 0 }, store: store(), dataDir, logger });
  await clientOf(plane).putResource({ kind: 'Site', name: 'milan' }, { ifNoneMatch: '*' });
  await clientOf(plane).putResource(farm('pbx', ['milan']), { ifNoneMatch: '*' });
});
afterEach(async () => {
  await plane.close();
  rmSync(dataDir, { recursive: true });
});

/** A push connection over which questions are answered. */
async function connect(headers: Record<string, string>) {
  const socket = new WebSocket(`${plane.url.replace('http', 'ws')}/v1/agent/push`, { headers });
  const answers = new Map<number, (answer: { status: number; body: string }) => void>();
  socket.on('message', (data) => {
    const answer = readAnswer(data.toString());
    if (answer === undefined) return;
    const { id, status } = answer.head as { id: number; status: number };
    answers.get(id)?.({ status, body: answer.body });
  });
  const closed = new Promise<number>((resolve) => socket.on('close', resolve));
  const offered = new Promise<unknown>((resolve) =>
    socket.on('upgrade', ({ headers: answered }) => resolve(answered[EXCHANGE_HEADER])),
  );
  await once(socket, 'open');
  let last = 0;
  const ask = (question: object) =>
    new Promise<{ status: number; body: string }>((resolve) => {
      answers.set(++last, resolve);
      socket.send(JSON.stringify({ ...question, id: last }));
    });
  return { ask, closed, offered };
}
const report = {
  type: 'report',
  report: {
    version: '1.0.0',
    uptimeSeconds: 1,
    snapshot: { status: 'NONE', etag: null, generation: null, running: null },
    backends: [],
  },
};

test('an agent reports and gets its snapshot over its push connection', async () => {
  const agent = await joinAgent(plane);
  const { ask, offered } = await connect(await agent.authorization());
  expect(await offered).toBe('1');
  const answers = await Promise.all([ask(report), ask({ type: 'snapshot', running: null }), ask(report)]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(Snapshot.parse(JSON.parse(answers[1]?.body ?? ''))).toMatchObject({ site: 'milan', generation: 2 });
  expect(JSON.parse(answers[0]?.body ?? '')).toMatchObject({ site: 'milan', generation: 2 });
  expect(await clientOf(plane).listAgents()).toMatchObject([{ connected: true, lastReportAt: expect.any(String) }]);
});

test('an agent that was revoked, by whatever process, is answered 401 and thrown out', async () => {
  const agent = await joinAgent(plane);
  const { ask, closed } = await connect(await agent.authorization());
  expect((await ask(report)).status).toBe(200);
  const other = openSqliteStore(join(dataDir, 'store.db'));
  await other.deleteAgent(agent.agentId);
  await other.close();
  expect((await ask({ type: 'snapshot', running: null })).status).toBe(401);
  expect(await closed).toBe(4401);
});

test('reports of a crowd are one transaction, and each is there once it was answered', async () => {
  const agents = await Promise.all(Array.from({ length: 20 }, () => joinAgent(plane)));
  const sockets = await Promise.all(agents.map(async ({ authorization }) => connect(await authorization())));
  const answers = await Promise.all(sockets.map(({ ask }) => ask(report)));
  expect(answers.map(({ status }) => status)).toEqual(agents.map(() => 200));
  const listed = await clientOf(plane).listAgents();
  expect(listed.map(({ lastReportAt }) => typeof lastReportAt)).toEqual(agents.map(() => 'string'));
});

test('push connections are limited as requests are: an agent by itself, a stranger by its address behind the proxy', async () => {
  const agent = await joinAgent(plane);
  const headers = await agent.authorization();
  await plane.close();
  const limited = async (rates: Partial<Rates>, trustedProxies: string[]) => {
    const off: Rates = { agent: undefined, operator: undefined, address: undefined };
    const http = { host: '127.0.0.1', port: 0 };
    plane = await startControlPlane({
      http,
      store: store(),
      dataDir,
      rates: { ...off, ...rates },
      trustedProxies,
      logger,
    });
  };
  const upgrade = (sent: Record<string, string>) =>
    new Promise<[number | undefined, string | undefined]>((resolve) => {
      const socket = new WebSocket(`${plane.url.replace('http', 'ws')}/v1/agent/push`, { headers: sent });
      socket.on('unexpected-response', (_request, { statusCode, headers: answered }) => {
        resolve([statusCode, answered['retry-after']]);
        socket.terminate();
      });
      socket.on('error', () => {});
      socket.on('open', () => {
        resolve([101, undefined]);
        socket.terminate();
      });
    });
  await limited({ agent: 0.1 }, []);
  expect(await upgrade(headers)).toEqual([101, undefined]);
  expect(await upgrade(headers)).toEqual([429, expect.stringMatching(/^\d+$/)]);
  await plane.close();
  await limited({ address: 0.1 }, ['127.0.0.1']);
  const stranger = (from: string) => upgrade({ 'x-forwarded-for': from });
  expect([await stranger('192.0.2.1'), await stranger('192.0.2.2')]).toEqual([
    [401, undefined],
    [401, undefined],
  ]);
  expect((await stranger('192.0.2.1'))[0]).toBe(429);
  expect(await upgrade({ ...headers, 'x-forwarded-for': '192.0.2.1' })).toEqual([101, undefined]);
});

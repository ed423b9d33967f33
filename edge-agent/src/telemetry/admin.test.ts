import { afterEach, expect, test } from 'vitest';
import { type AdminServer, type AdminSource, type AgentStatus, createAdmin, listenAdmin } from './admin.ts';

const STATUS: AgentStatus = {
  agent: { id: null, name: 'edge', number: 1, site: null, version: '0.1.0', uptimeSeconds: 1 },
  snapshot: null,
  listeners: [{ farm: 'pbx', transport: 'udp', address: '10.0.0.1', port: 5060 }],
  backends: [],
  workers: { running: 1, restarts: 0 },
  link: null,
};
const source = (notReady?: string): AdminSource => ({
  metrics: { render: async (accept) => ({ contentType: `text/plain; of=${accept}`, text: 'a 1\n' }) },
  notReady: () => notReady,
  status: () => STATUS,
  calls: {
    recorder: () => undefined,
    explainCall: () => [],
    explainUser: () => [],
    traffic: () => [],
    hep: () => Buffer.alloc(0),
    hashed: (user) => user,
  },
});

let server: AdminServer | undefined;
afterEach(async () => {
  await server?.close();
  await server?.close();
  server = undefined;
});

test('/ready is 503 with the reason until it is 200; /healthz is 200 all along', async () => {
  const waiting = createAdmin(source('no snapshot yet'));
  expect((await waiting.request('/healthz')).status).toBe(200);
  const response = await waiting.request('/ready');
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({ status: 'not ready', reason: 'no snapshot yet' });
  expect((await createAdmin(source()).request('/ready')).status).toBe(200);
});

test('/metrics carries the content type that scrapers negotiate by, /v1/status is JSON, nothing can be written', async () => {
  const app = createAdmin(source());
  expect((await app.request('/metrics')).headers.get('content-type')).toBe('text/plain; of=');
  const metrics = await app.request('/metrics', { headers: { accept: 'application/openmetrics-text' } });
  expect(metrics.headers.get('content-type')).toBe('text/plain; of=application/openmetrics-text');
  expect(await metrics.text()).toBe('a 1\n');
  expect(await (await app.request('/v1/status')).json()).toEqual(STATUS);
  for (const method of ['POST', 'PUT', 'DELETE'])
    expect((await app.request('/v1/status', { method })).status).toBe(404);
});

test('it serves on a free port, and a taken one rejects', async () => {
  server = await listenAdmin(createAdmin(source()), '127.0.0.1', 0);
  const response = await fetch(`http://127.0.0.1:${server.port}/healthz`);
  expect(await response.json()).toEqual({ status: 'alive' });
  await expect(listenAdmin(createAdmin(source()), '127.0.0.1', server.port)).rejects.toMatchObject({
    code: 'EADDRINUSE',
  });
});

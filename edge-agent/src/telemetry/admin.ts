import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { addCallRoutes, type CallSource } from './admin-calls.ts';
import type { Exposition } from './exposition.ts';

/** What the local HTTP shows. All of it is read when asked for. */
export interface AdminSource {
  /** `accept`: the header of that name, empty if there is none. */
  metrics: { render(accept: string): Promise<Exposition> };
  /** Undefined once a plan is committed on all data threads; else why not. */
  notReady(): string | undefined;
  calls: CallSource;
  /** The body of `/v1/status`. */
  status(): AgentStatus;
}

export interface AgentStatus {
  agent: {
    id: string | null;
    name: string;
    number: number | null;
    site: string | null;
    version: string;
    uptimeSeconds: number;
  };
  snapshot: { etag: string; generation: number; appliedAt: string } | null;
  /** `port` as really bound. */
  listeners: { farm: string; transport: string; address: string; port: number }[];
  /** `since` in RFC 3339. `draining`: it keeps its dialogs and is given nothing new. `calls`: dialogs that go on there, of one that drains. */
  backends: {
    farm: string;
    backend: string;
    state: 'unknown' | 'up' | 'down';
    draining?: true;
    calls?: number;
    since: string;
    reason: string;
  }[];
  workers: { running: number; restarts: number };
  link: { connected: boolean; reconnects: number } | null;
}

/** The agent's local HTTP: read-only, and by default on the loopback address, because it asks for no credentials. */
export function createAdmin(source: AdminSource): Hono {
  const app = new Hono();
  app.get('/healthz', (c) => c.json({ status: 'alive' }));
  app.get('/ready', (c) => {
    const reason = source.notReady();
    return reason === undefined ? c.json({ status: 'ready' }) : c.json({ status: 'not ready', reason }, 503);
  });
  app.get('/metrics', async (c) => {
    const { text, contentType } = await source.metrics.render(c.req.header('accept') ?? '');
    return c.text(text, 200, { 'content-type': contentType });
  });
  app.get('/v1/status', (c) => c.json(source.status()));
  addCallRoutes(app, source.calls);
  return app;
}

export interface AdminServer {
  host: string;
  port: number;
  close(): Promise<void>;
}

/** Serves `app` on host and port (0: any). Rejects with the system's error if it cannot be bound. */
export function listenAdmin(app: Hono, host: string, port: number): Promise<AdminServer> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port }) as Server;
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve({ host, port: (server.address() as AddressInfo).port, close: () => close(server) });
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // Also without an error where it is closed already.
    server.close(() => resolve());
    // A scraper keeps its connection open between scrapes and would hold up the end of the process.
    server.closeAllConnections();
  });
}

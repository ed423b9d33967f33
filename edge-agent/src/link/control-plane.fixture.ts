import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type AgentReport,
  canonicalJson,
  EnrolRequest,
  type PushHint,
  parseWith,
  type Snapshot,
} from '@sipfleet/contract';
import { importJWK, jwtVerify } from 'jose';
import { type WebSocket, WebSocketServer } from 'ws';
import { sha256 } from './client.ts';

/** A control plane of one site and one join token, in memory: the routes, statuses and checks of the real one. */
export class FixtureControlPlane {
  readonly reports: AgentReport[] = [];
  readonly requests: string[] = [];
  readonly sockets = new Set<WebSocket>();
  readonly agent = { agentId: 'agt_abcdefghijklmnopqrst', number: 7, site: 'milan' };
  /** Set to have requests whose path begins with the key answered with this status. */
  readonly broken = new Map<string, number>();
  joinToken = 'join-me';
  body = '';
  etagOverride: string | undefined;
  #generation = 0;
  #publicKey: EnrolRequest['publicKey'] | undefined;
  readonly #server = createServer((req, res) => void this.#answer(req, res));
  readonly #push = new WebSocketServer({ noServer: true });
  #port = 0;

  constructor() {
    this.#server.on('upgrade', (req, socket, head) => void this.#upgrade(req, socket, head));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get etag(): string {
    return this.etagOverride ?? sha256(Buffer.from(this.body));
  }

  /** Listens, on the port of the last time if there was one. */
  async start(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.terminate();
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  /** What agents shall run from now on; says so to those that are connected. */
  publish(snapshot: Snapshot | string, jitterMs = 0): string {
    this.body = typeof snapshot === 'string' ? snapshot : canonicalJson(snapshot);
    this.#generation = typeof snapshot === 'string' ? this.#generation + 1 : snapshot.generation;
    this.hint({ type: 'snapshot', site: this.agent.site, generation: this.#generation, jitterMs });
    return this.etag;
  }

  hint(hint: PushHint | string): void {
    for (const socket of this.sockets) socket.send(typeof hint === 'string' ? hint : JSON.stringify(hint));
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = req.url ?? '';
    this.requests.push(`${req.method} ${path}`);
    const broken = [...this.broken].find(([prefix]) => path.startsWith(prefix));
    const problem = (status: number, title: string, detail: string): void => {
      res
        .writeHead(status, { 'content-type': 'application/problem+json' })
        .end(JSON.stringify({ title, status, detail }));
    };
    if (broken) return problem(broken[1], 'Broken', 'the test wants it so');
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const json = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
    if (path === '/v1/agents/enrol') {
      const request = parseWith(EnrolRequest, json);
      if (request.joinToken !== this.joinToken) return problem(401, 'Unauthorized', 'the join token is not known');
      this.#publicKey = request.publicKey;
      res.writeHead(201).end(JSON.stringify(this.agent));
      return;
    }
    if (!(await this.#authentic(req))) return problem(401, 'Unauthorized', 'the token is not valid');
    if (path === '/v1/agent/report') {
      this.reports.push(json as AgentReport);
      res.end(JSON.stringify({ site: this.agent.site, generation: this.#generation, etag: this.etag }));
      return;
    }
    if (req.headers['if-none-match'] === `"${this.etag}"`) {
      res.writeHead(304).end();
      return;
    }
    res.writeHead(200, { etag: `"${this.etag}"` }).end(this.body);
  }

  async #upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    if (!(await this.#authentic(req)) || req.url !== '/v1/agent/push')
      return void socket.end('HTTP/1.1 401 No\r\n\r\n');
    this.#push.handleUpgrade(req, socket, head, (ws) => {
      this.sockets.add(ws);
      ws.on('close', () => this.sockets.delete(ws));
    });
  }

  async #authentic(req: IncomingMessage): Promise<boolean> {
    if (!this.#publicKey) return false;
    const token = (req.headers.authorization ?? '').replace(/^Bearer /, '');
    const { agentId } = this.agent;
    const options = {
      issuer: agentId,
      subject: agentId,
      audience: 'sipfleet',
      algorithms: ['EdDSA'],
      maxTokenAge: '5m',
    };
    return jwtVerify(token, await importJWK(this.#publicKey, 'EdDSA'), options).then(
      () => true,
      () => false,
    );
  }
}

/** A snapshot of one farm with these backends. */
export function snapshotOf(generation: number, backends = ['pbx1'], more: Partial<Snapshot> = {}): Snapshot {
  return {
    format: 1,
    site: 'milan',
    generation,
    farms: [
      {
        spec: {
          kind: 'Farm',
          name: 'pbx',
          sites: ['milan'],
          listeners: [{ transport: 'udp', address: '127.0.0.1', port: 5060 }],
          mode: 'proxy',
          balancing: { strategy: 'hash', key: 'user' },
          backends: backends.map((name, i) => ({
            name,
            address: `192.0.2.${i + 1}`,
            port: 5060,
            transport: 'udp' as const,
            weight: 1,
            priority: 1 as const,
          })),
          checks: [],
          registration: { mode: 'path' },
        },
        revision: generation,
        tokenKeys: [{ id: 1, key: '00'.repeat(16) }],
      },
    ],
    ...more,
  };
}

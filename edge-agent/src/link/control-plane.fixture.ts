import {
  createCipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  AgentKeys,
  type AgentReport,
  answerText,
  canonicalJson,
  EnrolRequest,
  EXCHANGE_HEADER,
  EXCHANGE_VERSION,
  Farm,
  type PushHint,
  parseWith,
  Question,
  SEAL_INFO,
  type SecretBundle,
  SIGNATURE_HEADER,
  type Snapshot,
  signedText,
  type Target,
} from '@sipfleet/contract';
import { importJWK, jwtVerify } from 'jose';
import { type WebSocket, WebSocketServer } from 'ws';
import { sha256 } from './client.ts';

interface FixtureKey {
  sequence: number;
  x: string;
  key: KeyObject;
  /** By the key before it. */
  signature: string;
}

const signWith = (key: KeyObject, purpose: Parameters<typeof signedText>[0], body: string): string =>
  sign(null, Buffer.from(signedText(purpose, body)), key).toString('base64url');

/** A control plane of one site and one join token, in memory: the routes, statuses and checks of the real one. */
export class FixtureControlPlane {
  readonly reports: AgentReport[] = [];
  readonly requests: string[] = [];
  readonly sockets = new Set<WebSocket>();
  readonly agent = { agentId: 'agt_abcdefghijklmnopqrst', number: 7, site: 'milan' };
  /** Set to have requests whose path begins with the key answered with this status. */
  readonly broken = new Map<string, number>();
  /** Whether it offers to be asked over push sockets, and what it was asked there. */
  takesQuestions = false;
  readonly questions: Question[] = [];
  /** Set to have questions answered with this status; null: not at all. */
  questionStatus: number | null | undefined;
  /** What answers to reports carry besides the target. */
  answer: Partial<Target> = {};
  joinToken = 'join-me';
  body = '';
  etagOverride: string | undefined;
  /** Set to have snapshots go out under this header; null: without. */
  signatureOverride: string | null | undefined;
  /** What `GET /v1/agent/secrets` seals. */
  readonly secrets = new Map<string, { revision: number; data: Record<string, string> }>();
  /** The `x` of the agent's X25519 key. */
  sealKey: string | undefined;
  readonly signingKeys: FixtureKey[] = [];
  #generation = 0;
  #publicKey: EnrolRequest['publicKey'] | undefined;
  readonly #server = createServer((req, res) => void this.#answer(req, res));
  readonly #push = new WebSocketServer({ noServer: true });
  #port = 0;

  constructor() {
    this.rotate();
    this.#push.on('headers', (headers) => {
      if (this.takesQuestions) headers.push(`${EXCHANGE_HEADER}: ${EXCHANGE_VERSION}`);
    });
    this.#server.on('upgrade', (req, socket, head) => void this.#upgrade(req, socket, head));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Signs with a new key from now on. */
  rotate(): void {
    const last = this.signingKeys.at(-1);
    const key = generateKeyPairSync('ed25519').privateKey;
    const sequence = (last?.sequence ?? 0) + 1;
    const x = createPublicKey(key).export({ format: 'jwk' }).x as string;
    const signature = signWith(last?.key ?? key, 'keys', canonicalJson({ sequence, x }));
    this.signingKeys.push({ sequence, x, key, signature });
  }

  #sign(purpose: 'snapshot' | 'secrets', body: string): string {
    const { sequence, key } = this.signingKeys.at(-1) as FixtureKey;
    return `${sequence}.${signWith(key, purpose, body)}`;
  }

  /** As the contract describes it. */
  #seal(recipientKey: string): SecretBundle {
    const ephemeral = generateKeyPairSync('x25519');
    const ephemeralKey = ephemeral.publicKey.export({ format: 'jwk' }).x as string;
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: recipientKey }, format: 'jwk' });
    const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey });
    const salt = Buffer.concat([ephemeralKey, recipientKey].map((x) => Buffer.from(x, 'base64url')));
    const derived = Buffer.from(hkdfSync('sha256', shared, salt, SEAL_INFO, 44));
    const cipher = createCipheriv('aes-256-gcm', derived.subarray(0, 32), derived.subarray(32));
    const secrets = Object.fromEntries([...this.secrets].map(([name, { revision }]) => [name, revision]));
    const header = { format: 1 as const, agentId: this.agent.agentId, secrets };
    cipher.setAAD(Buffer.from(canonicalJson(header)));
    const values = Object.fromEntries([...this.secrets].map(([name, { data }]) => [name, data]));
    const box = [cipher.update(JSON.stringify(values)), cipher.final(), cipher.getAuthTag()];
    return { ...header, recipientKey, ephemeralKey, box: Buffer.concat(box).toString('base64url') };
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
      this.sealKey = request.sealKey?.x;
      const { sequence, x } = this.signingKeys.at(-1) as FixtureKey;
      res.writeHead(201).end(JSON.stringify({ ...this.agent, signingKey: { sequence, x } }));
      return;
    }
    if (!(await this.#authentic(req))) return problem(401, 'Unauthorized', 'the token is not valid');
    if (path === '/v1/agent/report') {
      this.reports.push(json as AgentReport);
      res.end(this.#target());
      return;
    }
    if (path === '/v1/agent/keys' && req.method === 'PUT') {
      this.sealKey = parseWith(AgentKeys, json).sealKey.x;
      res.writeHead(204).end();
      return;
    }
    if (path === '/v1/agent/keys') {
      res.end(
        JSON.stringify({ keys: this.signingKeys.map(({ sequence, x, signature }) => ({ sequence, x, signature })) }),
      );
      return;
    }
    if (path === '/v1/agent/secrets') {
      if (this.sealKey === undefined) return problem(409, 'Conflict', 'there is no key to seal to');
      const bundle = JSON.stringify(this.#seal(this.sealKey));
      res.writeHead(200, { [SIGNATURE_HEADER]: this.#sign('secrets', bundle) }).end(bundle);
      return;
    }
    if (req.headers['if-none-match'] === `"${this.etag}"`) {
      res.writeHead(304).end();
      return;
    }
    const signature = this.#signature();
    const signed = signature === null ? {} : { [SIGNATURE_HEADER]: signature };
    res.writeHead(200, { etag: `"${this.etag}"`, ...signed }).end(this.body);
  }

  #target(): string {
    return JSON.stringify({ site: this.agent.site, generation: this.#generation, etag: this.etag, ...this.answer });
  }

  #signature(): string | null {
    return this.signatureOverride === undefined ? this.#sign('snapshot', this.body) : this.signatureOverride;
  }

  #answerQuestion(question: Question): string | undefined {
    this.questions.push(question);
    const { id } = question;
    if (this.questionStatus === null) return undefined;
    if (this.questionStatus !== undefined) return answerText({ id, status: this.questionStatus });
    if (question.type === 'report') {
      this.reports.push(question.report as AgentReport);
      return answerText({ id, status: 200 }, this.#target());
    }
    const { etag } = this;
    if (question.running === etag) return answerText({ id, status: 304, etag });
    return answerText({ id, status: 200, etag, signature: this.#signature() ?? undefined }, this.body);
  }

  async #upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    if (!(await this.#authentic(req)) || req.url !== '/v1/agent/push')
      return void socket.end('HTTP/1.1 401 No\r\n\r\n');
    this.#push.handleUpgrade(req, socket, head, (ws) => {
      this.sockets.add(ws);
      ws.on('close', () => this.sockets.delete(ws));
      ws.on('message', (data) => {
        const answer = this.#answerQuestion(parseWith(Question, JSON.parse(data.toString())));
        if (answer !== undefined) ws.send(answer);
      });
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
        spec: Farm.parse({
          kind: 'Farm',
          name: 'pbx',
          sites: ['milan'],
          listeners: [{ transport: 'udp', address: '127.0.0.1', port: 5060 }],
          backends: backends.map((name, i) => ({ name, address: `192.0.2.${i + 1}` })),
        }),
        revision: generation,
        tokenKeys: [{ id: 1, key: '00'.repeat(16) }],
      },
    ],
    ...more,
  };
}

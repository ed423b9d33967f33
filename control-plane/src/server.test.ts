import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PushHint, parseWith, Target } from '@sipfleet/contract';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { farm } from './domain/configuration.fixture.ts';
import { clientOf, joinAgent } from './server.fixture.ts';
import { type ControlPlane, type ControlPlaneOptions, startControlPlane } from './server.ts';
import { putNow } from './store/change-set.fixture.ts';
import { openSqliteStore } from './store/sqlite.ts';

let dataDir: string;
let logged: string[];
const running: ControlPlane[] = [];
beforeEach(() => {
  dataDir = join(mkdtempSync(join(tmpdir(), 'sipfleet-server-')), 'data');
  logged = [];
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((plane) => plane.close()));
  rmSync(join(dataDir, '..'), { recursive: true });
});

const file = () => join(dataDir, 'store.db');
async function start(over: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> {
  const plane = await startControlPlane({
    http: { host: '127.0.0.1', port: 0 },
    store: { kind: 'sqlite', file: file() },
    dataDir,
    logger: pino({ level: 'debug' }, { write: (line: string) => logged.push(line) }),
    ...over,
  });
  running.push(plane);
  return plane;
}
const milan = { kind: 'Site', name: 'milan' } as const;

describe('starting', () => {
  test('makes an admin token once, readable by its owner only', async () => {
    const first = await start();
    expect(first.created).toBe(true);
    expect(readFileSync(join(dataDir, 'token'), 'utf8').trim()).toBe(first.adminToken);
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    expect([mode(dataDir), mode(join(dataDir, 'token')), mode(file())]).toEqual(['700', '600', '600']);
    await first.close();
    const second = await start();
    expect([second.created, second.adminToken]).toEqual([false, first.adminToken]);
    await clientOf(second).putResource(milan, { ifNoneMatch: '*' });
  });

  test('the token of the data directory opens a store that never saw it', async () => {
    const first = await start();
    await first.close();
    const second = await start({ store: { kind: 'sqlite', file: ':memory:' } });
    expect(second.created).toBe(false);
    expect(await clientOf(second).listResources('Site')).toEqual([]);
  });

  test('a taken port is one line with host and port, and nothing is left running', async () => {
    const first = await start();
    const other = join(dataDir, '..', 'other');
    const failure = await start({
      http: { host: '127.0.0.1', port: first.port },
      dataDir: other,
      store: { kind: 'sqlite', file: join(other, 'store.db') },
    }).catch((error: Error) => error.message);
    expect(failure).toBe(`cannot listen on HTTP 127.0.0.1:${first.port}: the port is taken (EADDRINUSE)`);
    expect(existsSync(join(other, 'token'))).toBe(false);
    // A closed store has no write-ahead log beside it.
    expect(existsSync(join(other, 'store.db-wal'))).toBe(false);
  });

  test('a token file that holds something else is named', async () => {
    const first = await start();
    await first.close();
    chmodSync(join(dataDir, 'token'), 0o600);
    writeFileSync(join(dataDir, 'token'), 'oops\n');
    await expect(start()).rejects.toThrow(`${join(dataDir, 'token')} does not hold an API token`);
  });

  test('a key that the store was not sealed with is named, and nothing is left running', async () => {
    await (await start()).close();
    const key = join(dataDir, 'secret.key');
    expect((statSync(key).mode & 0o777).toString(8)).toBe('600');
    writeFileSync(key, `${Buffer.alloc(32, 1).toString('base64url')}\n`);
    await expect(start()).rejects.toThrow(`${key} is not the key that this store was sealed with`);
    expect(existsSync(join(dataDir, 'store.db-wal'))).toBe(false);
  });

  test('a store that cannot be opened, a DynamoDB that does not answer', async () => {
    await expect(start({ store: { kind: 'sqlite', file: dataDir } })).rejects.toThrow(
      `cannot open the store ${dataDir}`,
    );
    const dynamo = { kind: 'dynamodb', table: 'sipfleet', endpoint: 'http://127.0.0.1:1' } as const;
    await expect(start({ store: dynamo })).rejects.toThrow(
      /^cannot open the DynamoDB table sipfleet at http:\/\/127\.0\.0\.1:1: /,
    );
  });

  test('those who come by an identity provider or an IAM role are let in where the options say so', async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256');
    const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'RS256' }] };
    const provider = createServer((asked, answer) => {
      const found = asked.url?.startsWith('/.well-known') ? { issuer, jwks_uri: `${issuer}/keys` } : keys;
      answer.end(JSON.stringify(found));
    }).listen(0, '127.0.0.1');
    await once(provider, 'listening');
    const issuer = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;
    const jwt = await new SignJWT({ iss: issuer, aud: 'sipfleet', sub: 'ann', roles: 'viewer' })
      .setProtectedHeader({ alg: 'RS256', kid: 'one' })
      .setExpirationTime('5m')
      .sign(privateKey);
    const roles = { viewer: 'viewer' } as const;
    const oidc = {
      issuer,
      audience: 'sipfleet',
      roleClaim: 'roles',
      roles,
      sitesClaim: 'sites',
      sitesDefault: 'all',
    } as const;
    const iam = {
      audience: 'sipfleet',
      rules: [{ site: 'milan', arn: 'arn:aws:sts::123456789012:assumed-role/edge/*' }],
    };
    const asked = async (plane: ControlPlane) => {
      const listed = await fetch(`${plane.url}/v1/sites`, { headers: { authorization: `Bearer ${jwt}` } });
      const { kty, crv, x } = await exportJWK((await generateKeyPair('EdDSA', { crv: 'Ed25519' })).publicKey);
      const proof = { url: 'https://sts.example.com/', body: '', headers: {} };
      const body = JSON.stringify({ iam: proof, name: 'edge', publicKey: { kty, crv, x }, version: '1' });
      const headers = { 'content-type': 'application/json' };
      const enrolled = await fetch(`${plane.url}/v1/agents/enrol`, { method: 'POST', headers, body });
      return [listed.status, ((await enrolled.json()) as { detail: string }).detail];
    };
    expect(await asked(await start({ oidc, iam }))).toEqual([
      200,
      expect.stringContaining('its URL is not that of AWS STS'),
    ]);
    expect(await asked(await start({ store: { kind: 'sqlite', file: ':memory:' } }))).toEqual([
      401,
      expect.stringContaining('no rule for IAM roles'),
    ]);
    provider.close();
  });

  test('closes twice, and then no longer answers', async () => {
    const plane = await start();
    await Promise.all([plane.close(), plane.close()]);
    expect(await clientOf(plane).healthy()).toBe(false);
  });
});

/** A push connection that collects its hints. */
function push(plane: ControlPlane, headers: Record<string, string>) {
  const socket = new WebSocket(`${plane.url.replace('http', 'ws')}/v1/agent/push`, { headers });
  const hints: PushHint[] = [];
  const waiting: (() => void)[] = [];
  socket.on('message', (data) => {
    hints.push(parseWith(PushHint, JSON.parse(String(data))));
    for (const wake of waiting.splice(0)) wake();
  });
  const closed = new Promise<number>((resolve) => socket.on('close', resolve));
  /** Resolves with the first hint of at least this generation. */
  async function hinted(generation: number): Promise<PushHint> {
    for (;;) {
      const found = hints.find((hint) => hint.generation >= generation);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  }
  return { socket, hints, closed, hinted };
}

/** The status that an upgrade was refused with. */
const refused = (socket: WebSocket) =>
  new Promise<number | undefined>((resolve, reject) => {
    socket.on('unexpected-response', (request, response) => {
      resolve(response.statusCode);
      request.destroy();
    });
    socket.on('open', () => reject(new Error('it was let in')));
    socket.on('error', () => {});
  });

describe('push', () => {
  test('a connection is greeted with where things stand, and told of what concerns its site', async () => {
    const plane = await start();
    const client = clientOf(plane);
    await client.putResource(milan, { ifNoneMatch: '*' });
    await client.putResource(farm('pbx', ['milan']), { ifNoneMatch: '*' });
    const agent = await joinAgent(plane);
    const connection = push(plane, await agent.authorization());
    expect(await connection.hinted(2)).toEqual({ type: 'snapshot', site: 'milan', generation: 2, jitterMs: 0 });
    expect((await client.listAgents()).map(({ connected }) => connected)).toEqual([true]);

    await client.putResource({ kind: 'Site', name: 'rome' }, { ifNoneMatch: '*' });
    await client.putResource(farm('roman', ['rome']), { ifNoneMatch: '*' });
    await client.deleteResource('Farm', 'pbx', 2);
    expect(await connection.hinted(3)).toMatchObject({ generation: 5 });
    const report = await fetch(`${plane.url}/v1/agent/report`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(await agent.authorization()) },
      body: JSON.stringify({
        version: '1.0.0',
        uptimeSeconds: 1,
        snapshot: { status: 'NONE', etag: null, generation: null, running: null },
        backends: [],
      }),
    });
    expect(parseWith(Target, await report.json()).generation).toBe(5);
    expect(connection.hints.every((hint) => hint.site === 'milan')).toBe(true);
    await plane.close();
    expect(await connection.closed).toBe(1001);
  });

  test('what was committed and not pushed before the end is pushed after the next start', async () => {
    const first = await start();
    await clientOf(first).putResource(milan, { ifNoneMatch: '*' });
    await first.close();
    // Committed by a process that died before it could send the hint.
    const store = openSqliteStore(file());
    await putNow(store, farm('pbx', ['milan']), { at: new Date().toISOString() });
    expect((await store.outbox(10)).map(({ revision }) => revision)).toEqual([2]);
    await store.close();

    const second = await start();
    const agent = await joinAgent(second);
    const connection = push(second, await agent.authorization());
    expect(await connection.hinted(2)).toMatchObject({ site: 'milan', generation: 2 });
    await second.close();
    const after = openSqliteStore(file());
    expect(await after.outbox(10)).toEqual([]);
    await after.close();
  });

  test('only agents are let in, only at that address, and a revoked one is thrown out', async () => {
    const plane = await start();
    const client = clientOf(plane);
    await client.putResource(milan, { ifNoneMatch: '*' });
    const agent = await joinAgent(plane);
    const headers = await agent.authorization();
    expect(await refused(push(plane, {}).socket)).toBe(401);
    expect(await refused(push(plane, { authorization: `Bearer ${plane.adminToken}` }).socket)).toBe(401);
    const elsewhere = new WebSocket(`${plane.url.replace('http', 'ws')}/v1/agent/other`, { headers });
    expect(await refused(elsewhere)).toBe(404);

    const connection = push(plane, headers);
    await connection.hinted(0);
    await client.revokeAgent(agent.agentId);
    expect(await connection.closed).toBe(4401);
    expect(await refused(push(plane, headers).socket)).toBe(401);
  });

  test('what is no address ends no process', async () => {
    const plane = await start();
    for (const target of ['//', '/v1/agent/push/..', '*', 'http://[', '/%', `/${'a'.repeat(9000)}`]) {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const upgrade = { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' };
        request({
          port: plane.port,
          path: target,
          headers: { ...upgrade, 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
        })
          .on('response', (response) => resolve(response.resume().statusCode))
          .on('error', reject)
          .end();
      });
      expect([target, status]).toEqual([target, 404]);
    }
    expect(await clientOf(plane).healthy()).toBe(true);
  });

  test('an agent that talks too much is cut off', async () => {
    const plane = await start();
    await clientOf(plane).putResource(milan, { ifNoneMatch: '*' });
    const agent = await joinAgent(plane);
    const connection = push(plane, await agent.authorization());
    await connection.hinted(0);
    connection.socket.send('x'.repeat(2000));
    expect(await connection.closed).not.toBe(1000);
  });
});

test('who is refused is logged whatever they asked for; what is read is not', async () => {
  const plane = await start();
  await clientOf(plane).listResources('Site');
  const refused = await fetch(`${plane.url}/v1/sites`, { headers: { authorization: 'Bearer sft_guess' } });
  expect(refused.status).toBe(401);
  const told = logged.map((line) => JSON.parse(line)).filter(({ level, msg }) => level >= 30 && msg === 'request');
  expect(told).toMatchObject([{ method: 'GET', path: '/v1/sites', status: 401 }]);
});

test('the log of a whole life holds no secrets', async () => {
  const plane = await start();
  await clientOf(plane).putResource(milan, { ifNoneMatch: '*' });
  await clientOf(plane).putResource(farm('pbx', ['milan']), { ifNoneMatch: '*' });
  const agent = await joinAgent(plane);
  await push(plane, await agent.authorization()).hinted(2);
  await plane.close();
  const log = logged.join('');
  expect(log).toContain('an agent joined');
  expect(log).not.toMatch(/sft_[\w-]{43}|sfj_|eyJ|tokenKeys/);
});

import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type Endpoint,
  type StreamOptions,
  type TlsClientOptions,
  type TlsServerOptions,
  TRANSPORT,
} from '../ports.ts';
import { createAuthority } from './certificates.fixture.ts';
import { formatEndpoint } from './endpoint.ts';
import {
  atEnd,
  closeAll,
  condition,
  create,
  dial,
  endpoint,
  request,
  turnsUntil,
  type Watched,
  watch,
  whole,
} from './streams.fixture.ts';

afterEach(closeAll);

const authority = createAuthority();
const stranger = createAuthority('Another CA');
const first = authority.issue('pbx.example.com', '127.0.0.1');
const second = authority.issue('*.tenant.example.com');

const tls = (rest: Partial<TlsServerOptions> = {}): StreamOptions => ({
  transport: TRANSPORT.tls,
  tls: { certificates: [first], clientCertificate: 'none', ...rest },
});

async function dialTls(port: number, options: ConnectionOptions = {}): Promise<Watched<TLSSocket>> {
  const socket = connect({ port, host: '127.0.0.1', ca: authority.certificate, ...options });
  const watched = watch(socket);
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve));
  return watched;
}
const serial = (client: Watched<TLSSocket>): string => client.socket.getPeerX509Certificate()?.subject ?? '';

describe('a TLS listener', () => {
  test('carries messages both ways under the transport code tls, framed as on TCP', async () => {
    const { streams, got, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 3, tls());
    const client = await dialTls(listener.port);
    expect(client.socket.authorized).toBe(true);
    client.socket.write(`${request('one', 'body').slice(0, 30)}`);
    client.socket.write(`${request('one', 'body').slice(30)}${request('two')}\r\n\r\n`);
    await until(() => got.length === 2);
    expect(got.map((m) => [m.text, m.listener, m.from.transport])).toEqual([
      [request('one', 'body'), 3, TRANSPORT.tls],
      [request('two'), 3, TRANSPORT.tls],
    ]);
    const { from } = got[0] as { from: Endpoint };
    expect(formatEndpoint(from)).toBe(`127.0.0.1:${client.socket.localPort}`);
    expect(streams.send(from.connection, whole('answer'))).toBe(true);
    await client.received('answer');
    expect(client.text()).toBe('\r\nanswer');
    expect(listener.connections).toBe(1);
  });

  test('the certificate is chosen by the name asked for; the first serves any other', async () => {
    const { streams } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, tls({ certificates: [first, second] }));
    const names = ['a.tenant.example.com', 'pbx.example.com', 'nobody.example.org', undefined];
    const subjects: string[] = [];
    for (const servername of names) {
      const checkServerIdentity = (): undefined => undefined;
      subjects.push(serial(await dialTls(listener.port, { ...(servername && { servername }), checkServerIdentity })));
    }
    expect(subjects).toEqual(['CN=*.tenant.example.com', ...Array(3).fill('CN=pbx.example.com')]);
  });

  test('TLS 1.1 is refused, 1.2 is not', async () => {
    const { streams, until } = create();
    const listener = await streams.listen('127.0.0.1', 0, 0, tls());
    const ciphers = 'DEFAULT@SECLEVEL=0';
    const old = await dialTls(listener.port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers });
    await old.closed();
    expect(old.socket.authorized).toBe(false);
    const fair = await dialTls(listener.port, { maxVersion: 'TLSv1.2' });
    expect(fair.socket.getProtocol()).toBe('TLSv1.2');
    fair.socket.write(request('x'));
    await until(() => listener.connections === 1);
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === 1);
  });

  test('what is no TLS, and a handshake that does not end, are cut off and counted', async () => {
    const { streams } = create({ limits: { handshakeTime: 50 } });
    const listener = await streams.listen('127.0.0.1', 0, 0, tls());
    const [clear, silent] = [await dial(listener.port), await dial(listener.port)];
    clear.socket.write(request('clear text'));
    await Promise.all([clear.closed(), silent.closed()]);
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === 2);
    expect(listener.connections).toBe(0);
  });

  test('a session is resumed, also by another data thread of the same seed; not under other certificates', async () => {
    const seed = new Uint8Array(16).fill(7);
    const [here, there] = [create({ seed }), create({ seed })];
    const options = tls();
    const one = await here.streams.listen('127.0.0.1', 0, 0, options);
    const other = await there.streams.listen('127.0.0.1', 0, 0, options);
    const begun = connect({ port: one.port, host: '127.0.0.1', ca: authority.certificate });
    atEnd(() => begun.destroy());
    const [session] = (await once(begun, 'session')) as [Buffer];
    const resumed = await dialTls(other.port, { session });
    expect(resumed.socket.isSessionReused()).toBe(true);
    other.renew(tls({ certificates: [authority.issue('127.0.0.1')] }))();
    const anew = await dialTls(other.port, { session });
    expect([anew.socket.authorized, anew.socket.isSessionReused()]).toEqual([true, false]);
  });
});

describe('client certificates', () => {
  const good = authority.issue('phone');
  const bad = stranger.issue('phone');
  const shown = (c: typeof good): ConnectionOptions => ({ cert: c.certificate, key: c.privateKey });

  test.each([
    ['require', 'a good one', shown(good), true],
    ['require', 'none', {}, false],
    ['require', 'a stranger’s', shown(bad), false],
    ['request', 'a good one', shown(good), true],
    ['request', 'none', {}, true],
    ['request', 'a stranger’s', shown(bad), false],
    ['none', 'a stranger’s', shown(bad), true],
  ] as const)('%s, client shows %s', async (clientCertificate, _shown, options, letIn) => {
    const { streams, got, until } = create();
    const listener = await streams.listen(
      '127.0.0.1',
      0,
      0,
      tls({ clientCertificate, clientCa: authority.certificate }),
    );
    const client = await dialTls(listener.port, options);
    client.socket.write(request('x'));
    if (letIn) await until(() => got.length === 1);
    else await client.closed();
    expect(got).toHaveLength(letIn ? 1 : 0);
    await turnsUntil(() => streams.connectionCounts.handshakeFailed === (letIn ? 0 : 1));
  });
});

test('certificates are replaced under load: open connections go on, none fails, new ones get the new certificate', async () => {
  const { streams, got, until } = create();
  const listener = await streams.listen('127.0.0.1', 0, 0, tls());
  const before = await dialTls(listener.port);
  expect(serial(before)).toBe('CN=pbx.example.com');
  // A handshake that is under way across the first change: its ClientHello comes after.
  const raw = connectTcp(listener.port, '127.0.0.1');
  await once(raw, 'connect');

  let connected = 0;
  let stop = false;
  const caller = async (id: number): Promise<void> => {
    for (let i = 0; !stop; i++) {
      const client = await dialTls(listener.port);
      expect(client.socket.authorized).toBe(true);
      client.socket.end(request(`${id}-${i}`));
      await client.closed();
      connected++;
    }
  };
  const callers = [0, 1, 2, 3].map(caller);
  const generations = 8;
  for (let generation = 1; generation <= generations; generation++) {
    const upTo = connected + 6;
    await until(() => connected >= upTo);
    listener.renew(tls({ certificates: [authority.issue(`generation-${generation}`, '127.0.0.1')] }))();
  }
  stop = true;
  await Promise.all(callers);
  expect(streams.connectionCounts.handshakeFailed).toBe(0);
  expect(got).toHaveLength(connected);

  const after = await dialTls(listener.port);
  expect(serial(after)).toBe(`CN=generation-${generations}`);
  const late = watch(connect({ socket: raw, ca: authority.certificate, host: '127.0.0.1' }));
  await once(late.socket, 'secureConnect');
  for (const [i, client] of [before, after, late].entries()) {
    client.socket.write(request(`still ${i}`));
    await until(() => got.some((m) => m.text === request(`still ${i}`)));
  }
});

test('a certificate that cannot be used leaves the listener as it was', async () => {
  const { streams } = create();
  const listener = await streams.listen('127.0.0.1', 0, 0, tls());
  const mixed = { certificate: first.certificate, privateKey: second.privateKey };
  expect(() => listener.renew(tls({ certificates: [mixed] }))).toThrow('privateKey does not belong to certificate');
  await expect(streams.listen('127.0.0.1', 0, 1, tls({ certificates: [mixed] }))).rejects.toThrow('does not belong');
  expect(serial(await dialTls(listener.port))).toBe('CN=pbx.example.com');
});

describe('TLS to a backend', () => {
  /** A PBX that speaks TLS, with what it received and whether the session was resumed. */
  async function tlsPbx(identity = first) {
    const accepted: Watched<TLSSocket>[] = [];
    const { changed, until } = condition();
    const server = createServer({ cert: identity.certificate, key: identity.privateKey }, (socket) => {
      accepted.push(watch(socket));
      changed();
    });
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    atEnd(() => new Promise((resolve) => server.close(resolve)));
    const { port } = server.address() as { port: number };
    const connection = async (i = 0): Promise<Watched<TLSSocket>> => {
      await until(() => accepted.length > i);
      return accepted[i] as Watched<TLSSocket>;
    };
    return { port, connection };
  }
  const towards = (port: number, options: TlsClientOptions): StreamOptions => ({
    ...tls(),
    peers: [{ address: '127.0.0.1', port, ...options }],
  });

  test.each<[string, TlsClientOptions, typeof first, boolean]>([
    ['the CA issued it for the address', { verify: true, ca: authority.certificate }, first, true],
    [
      'the CA issued it for the name',
      { verify: true, ca: authority.certificate, serverName: 'x.tenant.example.com' },
      second,
      true,
    ],
    [
      'it is for another name',
      { verify: true, ca: authority.certificate, serverName: 'pbx.example.com' },
      second,
      false,
    ],
    ['it is not for the address', { verify: true, ca: authority.certificate }, second, false],
    ['another CA issued it', { verify: true, ca: stranger.certificate }, first, false],
    ['the system does not know the CA', { verify: true }, first, false],
    ['nobody asks', { verify: false }, stranger.issue('anything'), true],
  ])('%s', async (_why, options, identity, trusted) => {
    const { streams, counts, got, closed, unreachable, until } = create();
    const pbx = await tlsPbx(identity);
    await streams.listen('127.0.0.1', 0, 4, towards(pbx.port, options));
    const to = endpoint('127.0.0.1', pbx.port, TRANSPORT.tls);
    expect(streams.sendTo(to, whole(request('a')), '127.0.0.1', 4)).toBe(true);
    expect(streams.sendTo(to, whole(request('b')), '127.0.0.1', 4)).toBe(true);
    if (!trusted) {
      await until(() => closed.length === 1);
      expect(counts).toMatchObject({ sent: 0, sendDropped: 2 });
      expect(unreachable).toMatchObject([{ listener: 4, to: { port: pbx.port, transport: TRANSPORT.tls } }]);
      return;
    }
    const there = await pbx.connection();
    await there.received(request('b'));
    expect(there.text()).toBe(request('a') + request('b'));
    there.socket.write(request('back'));
    await until(() => got.length === 1);
    expect(got[0]).toMatchObject({
      text: request('back'),
      listener: 4,
      from: { transport: TRANSPORT.tls, port: pbx.port },
    });
    expect(unreachable).toEqual([]);
  });

  test('the next connection resumes the session; a listener whose options are the same again keeps it', async () => {
    const { streams, closed, until } = create();
    const pbx = await tlsPbx();
    const options = towards(pbx.port, { verify: true, ca: authority.certificate });
    const listener = await streams.listen('127.0.0.1', 0, 0, options);
    const to = endpoint('127.0.0.1', pbx.port, TRANSPORT.tls);
    streams.sendTo(to, whole(request('a')), '127.0.0.1', 0);
    const begun = await pbx.connection();
    await begun.received(request('a'));
    expect(begun.socket.isSessionReused()).toBe(false);
    // TLS 1.3 sends tickets behind the handshake: what comes after them says that they are there.
    begun.socket.end(request('bye'));
    await until(() => closed.length === 1);
    listener.renew(structuredClone(options))();
    streams.sendTo(to, whole(request('b')), '127.0.0.1', 0);
    const resumed = await pbx.connection(1);
    await resumed.received(request('b'));
    expect(resumed.socket.isSessionReused()).toBe(true);
  });

  test('a PBX that answers no handshake is given up', async () => {
    const { streams, closed, unreachable, until } = create({ limits: { connectTime: 50 } });
    const mute = await tcpPbx();
    await streams.listen('127.0.0.1', 0, 0, tls());
    streams.sendTo(endpoint('127.0.0.1', mute, TRANSPORT.tls), whole(request('a')), '127.0.0.1', 0);
    await until(() => closed.length === 1);
    expect(unreachable).toHaveLength(1);
    expect(streams.connectionCounts.connectFailed).toBe(1);
  });
});

/** A port that accepts and stays silent. */
async function tcpPbx(): Promise<number> {
  const { streams } = create();
  return (await streams.listen('127.0.0.1', 0, 0)).port;
}

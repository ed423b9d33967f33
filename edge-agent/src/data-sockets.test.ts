import { connect, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { DataThreadSockets } from './data-sockets.ts';
import type { ListenerPlan, Plan } from './plan.ts';
import { type StreamOptions, TRANSPORT } from './ports.ts';
import { createAuthority } from './transport/certificates.fixture.ts';
import { createStreamTransport } from './transport/streams.ts';
import { createUdpTransport } from './transport/udp/index.ts';

const authority = createAuthority();
const tls = (name: string): StreamOptions => ({
  transport: TRANSPORT.tls,
  tls: { certificates: [authority.issue(name)], clientCertificate: 'none' },
});
const advertise = { clients: '127.0.0.1', backends: '127.0.0.1' };
const plan = (...listeners: Pick<ListenerPlan, 'transport' | 'port' | 'stream'>[]): Plan => ({
  etag: '',
  generation: 1,
  agent: 1,
  farms: [],
  listeners: listeners.map((l) => ({ ...l, farm: 0, address: '127.0.0.1', advertise })),
});

function create() {
  const handler = (): void => {};
  const [udp, streams] = [createUdpTransport({ kind: 'auto', handler }), createStreamTransport({ handler })];
  onTestFinished(() => Promise.all([udp.close(), streams.close()]).then(() => {}));
  return new DataThreadSockets(udp, streams);
}

/** A connection, and the name in the certificate that it was shown; '' where there is no TLS. */
async function shown(port: number): Promise<{ name: string; socket: TLSSocket }> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('error', resolve));
  return { name: socket.getPeerX509Certificate()?.subject ?? '', socket };
}

/** A plan needs a port that is known beforehand. */
async function freePort(): Promise<number> {
  const streams = createStreamTransport({ handler: () => {} });
  const { port } = await streams.listen('127.0.0.1', 0, 0);
  await streams.close();
  return port;
}

test('another certificate is in effect from the commit on; the listener and its connections stay', async () => {
  const sockets = create();
  const port = await freePort();
  const withCertificate = (name: string) => plan({ transport: TRANSPORT.tls, port, stream: tls(name) });
  expect(await sockets.prepare(withCertificate('old'))).toEqual([port]);
  await sockets.commit();
  const listener = sockets.stream(0);
  const before = await shown(port);
  expect(before.name).toBe('CN=old');

  await sockets.prepare(withCertificate('unwanted'));
  expect((await shown(port)).name).toBe('CN=old');
  await sockets.abort();
  expect((await shown(port)).name).toBe('CN=old');

  await sockets.prepare(withCertificate('new'));
  await sockets.commit();
  expect((await shown(port)).name).toBe('CN=new');
  expect(sockets.stream(0)).toBe(listener);
  expect(before.socket.readyState).toBe('open');
});

test('a port goes from TCP to TLS without another one being in between', async () => {
  const sockets = create();
  const port = await freePort();
  await sockets.prepare(plan({ transport: TRANSPORT.tcp, port, stream: { transport: TRANSPORT.tcp } }));
  await sockets.commit();
  expect(await sockets.prepare(plan({ transport: TRANSPORT.tls, port, stream: tls('new') }))).toEqual([port]);
  await sockets.commit();
  expect((await shown(port)).name).toBe('CN=new');
});

test('a certificate that cannot be used fails the preparation, and changes nothing', async () => {
  const sockets = create();
  const port = await freePort();
  const good = tls('good');
  await sockets.prepare(plan({ transport: TRANSPORT.tls, port, stream: good }));
  await sockets.commit();
  const [certificate] = good.tls!.certificates;
  const bad = { ...good, tls: { ...good.tls!, certificates: [{ ...certificate!, privateKey: 'nothing' }] } };
  await expect(sockets.prepare(plan({ transport: TRANSPORT.tls, port, stream: bad }))).rejects.toThrow(
    'no private key',
  );
  await sockets.abort();
  expect((await shown(port)).name).toBe('CN=good');
});

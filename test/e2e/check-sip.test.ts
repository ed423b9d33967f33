import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { SipMessage } from '../../edge-agent/src/sip/text-message.ts';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { Kamailio } from '../interop/kamailio.ts';
import { netSipAnswer } from '../interop/netsip.ts';
import { phoneScenario, talkScenario } from '../interop/scenarios.ts';
import { row, Sipp } from '../interop/sipp.ts';
import { hostPort, loopback } from '../netns/host.ts';
import { missingPeers } from '../setup/peers.ts';
import { checkSip, checkSipJson, ended, FROM, file, keep, start } from './check-sip.fixture.ts';
import { freePort } from './loopback.ts';
import { AudioPeer, echo, sdp } from './scripted-uas.ts';

const USERS = { bonnie: 'parker', clyde: 'barrow' };
const DOMAIN = 'example.test';

/** A Kamailio that challenges calls too, as a PBX does. */
async function startPbx(address: string): Promise<Kamailio> {
  const host = loopback(address);
  const port = await freePort(address);
  return keep(await Kamailio.start({ host, port, users: USERS, challengeCalls: true }));
}

async function startSipp(
  address: string,
  options: { target: string; scenario: string; outOfCall?: string },
): Promise<string> {
  const port = await freePort(address);
  const echoPort = (await freePort(address)) & ~1;
  const rows = [row('clyde', USERS.clyde)];
  const sipp = new Sipp({ host: loopback(address), port, domain: DOMAIN, rows, echoPort, ...options });
  keep({ close: () => sipp.end() });
  await sipp.listening();
  return hostPort(address, port);
}

describe.skipIf(missingPeers().length > 0)('check_sip and real peers', () => {
  test.each([
    [
      'first',
      (target: string) => [
        '-T',
        '10',
        '-S',
        'welcome.data',
        '-S',
        'announce.data',
        'sip:30@127.0.0.1',
        `sip:31@${target}`,
      ],
    ],
    [
      'third',
      (target: string) => [
        '-T',
        '9',
        '-S',
        'welcome.data',
        '-S',
        'announce.data',
        'sip:Bonnie@127.0.0.1',
        `sip:Clyde@${target}`,
      ],
    ],
  ])('the article’s %s command: straight to a peer that answers and echoes', async (_which, command) => {
    const target = await startSipp('127.0.0.72', { target: '127.0.0.1:9', scenario: talkScenario });
    const { code, output } = await checkSip(command(target));
    expect(output).toMatch(/^SIP OK - sip:\S+ answered, 275 packets sent, 2\d\d received \| total=/);
    expect(code).toBe(0);
  });

  test.each(['udp', 'tcp'])(
    'the article’s second command over %s: registers at the proxy, calls a registered phone',
    async (transport) => {
      const pbx = await startPbx('127.0.0.73');
      const proxy = hostPort(pbx.address, pbx.port);
      await startSipp('127.0.0.74', { target: proxy, scenario: phoneScenario, outOfCall: talkScenario });
      await pbx.registered('clyde');
      const common = ['--json', '--expect-audio', `--proxy=${proxy}`, '-S', 'announce.data', '--transport', transport];
      const check = start([...common, '--username', 'bonnie', `sip:bonnie@${DOMAIN}`, 'clyde'], {
        SIPFLEET_PASSWORD: 'parker',
      });
      const { code, output } = await ended(check);
      const result = JSON.parse(output);
      expect([code, result.verdict, result.clean], output).toEqual([0, 'ok', true]);
      expect(result.audio).toMatchObject({ sent: 125, lost: 0 });
      expect(Object.keys(result.phases)).toEqual([
        'resolve',
        'connect',
        'register',
        'invite',
        'ring',
        'answer',
        'media',
        'bye',
        'unregister',
      ]);
      expect(output).not.toContain('parker');
      // Kamailio tells what it has saved; the second time bonnie has no binding left, so nobody can call her.
      expect(pbx.count(/registered bonnie /)).toBe(2);
      const call = await checkSipJson(
        ...[
          '-R',
          '-',
          `--proxy=${proxy}`,
          '--username',
          'clyde',
          '--password',
          'barrow',
          `sip:clyde@${DOMAIN}`,
          'bonnie',
        ],
      );
      expect([call.code, call.result.reason]).toEqual([2, 'INVITE refused: 404 Not Found']);
    },
  );

  test('a wrong password at a real registrar is told after one try', async () => {
    const pbx = await startPbx('127.0.0.75');
    const { code, result } = await checkSipJson(
      ...[
        `--proxy=${hostPort(pbx.address, pbx.port)}`,
        '--username',
        'bonnie',
        '--password',
        'wrong',
        `sip:bonnie@${DOMAIN}`,
        'clyde',
      ],
    );
    expect([code, result.phase, result.code, result.clean]).toEqual([2, 'register', 401, true]);
    expect(result.reason).toBe(`401 to REGISTER: password of bonnie refused (realm ${DOMAIN})`);
    expect(pbx.knows('bonnie')).toBe(false);
  });

  test('Net::SIP as the answering side', async () => {
    const pbx = await startPbx('127.0.0.76');
    const proxy = hostPort(pbx.address, pbx.port);
    const host = loopback('127.0.0.77');
    const port = await freePort(host.ipv4);
    const clyde = netSipAnswer({ host, proxy, domain: DOMAIN, user: 'clyde', password: USERS.clyde, port });
    keep({ close: () => clyde.end() });
    await clyde.sees(/^registered$/m);
    const { code, result } = await checkSipJson(
      ...['-T', '9', '--expect-audio', '-S', 'welcome.data', '-S', 'announce.data', `--proxy=${proxy}`],
      ...['--username', 'bonnie', '--password', 'parker', `sip:bonnie@${DOMAIN}`, `sip:clyde@${DOMAIN}`],
    );
    expect([code, result.verdict, result.clean], JSON.stringify(result)).toEqual([0, 'ok', true]);
    expect(result.audio?.received).toBeGreaterThan(50);
    expect((await clyde.succeeds()).trim().split('\n')).toEqual([
      ...['registered', 'ringing', 'answered'],
      // The re-INVITE for the second file.
      ...['answered', 'ended'],
    ]);
  });
});

/** Refuses every INVITE with 486 over TLS. `authority`: a file with the certificate that vouches for it. */
async function tlsPeer(days: number): Promise<{ uri: string; authority: string }> {
  const { certificate, issue } = createAuthority('Test CA', days);
  const { certificate: cert, privateKey: key } = issue('127.0.0.1');
  const server = createTlsServer({ key, cert }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const request = SipMessage.parse(bytes);
      if (request?.method === 'INVITE') socket.write(request.reply(486, 'Busy Here', 'peer').toBytes());
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  keep(server);
  const uri = `sips:clyde@127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { uri, authority: file('authority.pem', certificate) };
}

test('TLS: a certificate that has expired, one that nobody vouches for, and one that is trusted', async () => {
  const old = await tlsPeer(-1);
  const expired = await checkSipJson('--tls-ca', old.authority, FROM, old.uri);
  expect([expired.code, expired.result.phase]).toEqual([2, 'connect']);
  expect(expired.result.reason).toMatch(/: TLS certificate has expired$/);
  const peer = await tlsPeer(10);
  const unknown = await checkSipJson(FROM, peer.uri);
  expect(unknown.result.reason).toMatch(/: TLS certificate is signed by an authority that is not trusted$/);
  for (const trust of [['--tls-ca', peer.authority], ['--tls-insecure']]) {
    const { code, result } = await checkSipJson(...trust, FROM, peer.uri);
    expect([code, result.reason]).toEqual([2, 'INVITE refused: 486 Busy Here']);
  }
});

test('a TCP peer that speaks no SIP', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\n\n'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  keep(server);
  const { port } = server.address() as AddressInfo;
  const { code, result } = await checkSipJson(
    '--transport',
    'tcp',
    'sip:bonnie@127.0.0.1',
    `sip:clyde@127.0.0.1:${port}`,
  );
  expect([code, result.phase, result.reason]).toEqual([
    2,
    'invite',
    `127.0.0.1:${port}: what came over the connection is no SIP`,
  ]);
});

test('a call over WebSocket: one message a frame, subprotocol sip', async () => {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: (names) => names.has('sip') && 'sip',
  });
  await once(server, 'listening');
  keep({ close: () => server.close() });
  const media = keep(await AudioPeer.start(echo));
  const seen: string[] = [];
  server.on('connection', (socket) =>
    socket.on('message', (bytes: Buffer) => {
      const request = SipMessage.parse(bytes)!;
      seen.push(request.method);
      if (request.method === 'ACK') return;
      const response = request.reply(200, 'OK', 'peer');
      if (request.method === 'INVITE') {
        response.set('Contact', ['<sip:x@nowhere.invalid;transport=ws>']);
        response.set('Content-Type', ['application/sdp']);
        response.body = sdp(media.port);
      }
      socket.send(response.toBytes());
    }),
  );
  const { port } = server.address() as AddressInfo;
  const { code, result } = await checkSipJson(
    '--expect-audio',
    '-P',
    `127.0.0.1:${port}`,
    '--transport',
    'ws',
    FROM,
    'clyde',
  );
  expect([code, result.clean, seen]).toEqual([0, true, ['REGISTER', 'INVITE', 'ACK', 'BYE', 'REGISTER']]);
});

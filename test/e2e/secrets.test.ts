import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import type { CertificateWithKey } from '../../edge-agent/src/ports.ts';
import { createAuthority } from '../../edge-agent/src/transport/certificates.fixture.ts';
import { freePort } from './loopback.ts';
import { sipfleet, startUp, temporary } from './sipfleet.fixture.ts';

const SOON = { timeout: 60_000, interval: 200 };

async function handshake(port: number): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}
const shownAt = async (port: number): Promise<unknown> => (await handshake(port)).getPeerCertificate().subject.CN;

/** Everything below a directory, as bytes. */
async function bytesUnder(path: string): Promise<string> {
  const files = (await readdir(path, { recursive: true, withFileTypes: true })).filter((f) => f.isFile());
  return (await Promise.all(files.map((f) => readFile(join(f.parentPath, f.name), 'latin1')))).join('\n');
}

test('a certificate comes from a Secret, is replaced without a restart or a lost connection, and its key lies nowhere', async () => {
  const cwd = await temporary();
  const authority = createAuthority();
  const [old, renewed] = [authority.issue('old.example.com'), authority.issue('new.example.com')];
  const lay = async ({ certificate, privateKey }: CertificateWithKey) => {
    await writeFile(join(cwd, 'sip.pem'), certificate);
    await writeFile(join(cwd, 'sip.key'), privateKey);
  };
  const [tls, udp] = [await freePort('127.0.0.1'), await freePort('127.0.0.1')];
  await lay(old);
  await writeFile(
    join(cwd, 'farm.yaml'),
    `kind: Site
name: here
---
kind: Secret
name: sip-example-com
data: { certificate: { file: sip.pem }, privateKey: { file: sip.key } }
---
kind: Farm
name: pbx
sites: [here]
listeners:
  - { transport: tls, address: 127.0.0.1, port: ${tls}, certificate: sip-example-com }
  - { transport: udp, address: 127.0.0.1, port: ${udp} }
backends: [{ name: pbx1, address: 127.0.0.1, port: ${await freePort('127.0.0.1')} }]
`,
  );
  const up = await startUp(cwd, '-f', 'farm.yaml');
  const cli = async (...args: string[]) => {
    const command = sipfleet(cwd, '--url', up.url, '--token-file', 'data/token', ...args);
    const { code } = await command.exited;
    return { code, output: command.output };
  };
  const kept = await handshake(tls);
  expect(kept.getPeerCertificate().subject.CN).toBe('old.example.com');

  expect(await cli('rotate-signing-key')).toMatchObject({ code: 0 });
  await lay(renewed);
  const applied = await cli('apply', '-f', 'farm.yaml');
  expect(applied).toMatchObject({ code: 0, output: expect.stringContaining('data.privateKey: (secret) → (secret)') });
  await expect.poll(() => shownAt(tls), SOON).toBe('new.example.com');
  expect([kept.destroyed, kept.readyState]).toEqual([false, 'open']);

  const shown = `${(await cli('get', 'secrets', '-o', 'yaml')).output}${applied.output}${up.process.output}`;
  const everything = (await bytesUnder(join(cwd, 'data'))) + shown;
  for (const { privateKey } of [old, renewed]) {
    const line = privateKey.split('\n')[1] as string;
    expect(line.length).toBeGreaterThan(20);
    expect(everything.includes(line)).toBe(false);
  }
});

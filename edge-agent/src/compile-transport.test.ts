import { X509Certificate } from 'node:crypto';
import { Farm, type FarmInput } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { certificateExpiry, compileStream } from './compile-transport.ts';
import type { AgentError } from './errors.ts';
import { type Secrets, TRANSPORT } from './ports.ts';
import { createAuthority } from './transport/certificates.fixture.ts';

const authority = createAuthority();
const pbx = { ...authority.issue('pbx.example.com') };
const tenant = { ...authority.issue('tenant.example.com') };
const secrets: Secrets = new Map<string, Record<string, string>>([
  ['pbx', pbx],
  ['tenant', tenant],
  ['ca', { ca: authority.certificate }],
  ['mixed', { certificate: pbx.certificate, privateKey: tenant.privateKey }],
  ['no-key', { certificate: pbx.certificate }],
  ['no-pem', { certificate: 'x', privateKey: 'y' }],
  ['bad-key', { certificate: pbx.certificate, privateKey: 'y' }],
  ['torn', { certificate: pbx.certificate.replace(/\n.{20}/, '\n'), privateKey: pbx.privateKey }],
]);

type ListenerInput = FarmInput['listeners'][number];
const farm = (listener: Partial<ListenerInput>, backend: Partial<FarmInput['backends'][number]> = {}): Farm =>
  Farm.parse({
    kind: 'Farm',
    name: 'pbx',
    sites: ['milan'],
    listeners: [
      { transport: 'udp', port: 5060 },
      { transport: 'tls', port: 5061, certificate: 'pbx', ...listener },
    ],
    backends: [{ name: 'a', address: '10.0.0.11', ...backend }],
  });

test('UDP has no stream', () => {
  expect(compileStream(farm({}), 0, secrets)).toBeUndefined();
});

test('Secrets become PEM, blocks words, durations milliseconds', () => {
  const compiled = compileStream(
    farm(
      {
        certificate: undefined,
        certificates: ['pbx', 'tenant'],
        clientCertificate: { ca: 'ca' },
        proxyProtocol: { from: ['10.0.0.0/8'] },
        limits: { connectionsPerSource: 7, idleTimeout: '5m', messageTimeout: '10s' },
      },
      { transport: 'tls', port: 5061, tls: { ca: 'ca', serverName: 'pbx.example.com' } },
    ),
    1,
    secrets,
  );
  expect(compiled).toEqual({
    transport: TRANSPORT.tls,
    tls: { certificates: [pbx, tenant], clientCertificate: 'require', clientCa: authority.certificate },
    proxyFrom: [{ ip: [0, 0, 0xffff, 0x0a000000], bits: 104 }],
    connectionsPerSource: 7,
    idleTime: 300_000,
    messageTime: 10_000,
    peers: [
      { address: '10.0.0.11', port: 5061, verify: true, ca: authority.certificate, serverName: 'pbx.example.com' },
    ],
  });
});

test.each<[string, Partial<ListenerInput>, string]>([
  ['unknown', { certificate: 'nobody' }, 'listeners[1].certificate: Secret nobody: unknown to this agent'],
  [
    'unknown among several',
    { certificate: undefined, certificates: ['pbx', 'nobody'] },
    'listeners[1].certificates[1]: Secret nobody: unknown to this agent',
  ],
  ['without a key', { certificate: 'no-key' }, 'listeners[1].certificate: Secret no-key: has no privateKey'],
  ['no PEM', { certificate: 'no-pem' }, 'Secret no-pem: certificate holds no certificate'],
  ['a torn certificate', { certificate: 'torn' }, 'Secret torn: certificate number 1 cannot be read'],
  ['no key in the key', { certificate: 'bad-key' }, 'Secret bad-key: privateKey holds no private key'],
  ['the key of another', { certificate: 'mixed' }, 'Secret mixed: privateKey does not belong to certificate'],
  [
    'a CA that is none',
    { clientCertificate: { ca: 'pbx' } },
    'listeners[1].clientCertificate.ca: Secret pbx: has no ca',
  ],
])('a Secret that is %s is refused by name, and its value not shown', (_what, listener, message) => {
  const compiling = () => compileStream(farm(listener), 1, secrets);
  expect(compiling).toThrow(message);
  expect(compiling).toThrow(/^farm pbx: listeners\[1\]\./);
  try {
    compiling();
  } catch (error) {
    expect((error as AgentError).code).toBe('PLAN');
    expect((error as AgentError).message).not.toContain('PRIVATE');
  }
});

test('the first certificate to expire counts', () => {
  const soon = createAuthority('Brief CA', 2).issue('soon.example.com');
  const stream = compileStream(farm({}), 1, secrets)!;
  const seconds = (pem: string) => new X509Certificate(pem).validToDate.getTime() / 1000;
  expect(certificateExpiry(stream)).toBe(seconds(pbx.certificate));
  const certificates = [...stream.tls!.certificates, soon];
  expect(certificateExpiry({ ...stream, tls: { ...stream.tls!, certificates } })).toBe(seconds(soon.certificate));
  expect(seconds(soon.certificate)).toBeLessThan(seconds(pbx.certificate));
  expect(certificateExpiry({ transport: TRANSPORT.tcp })).toBeUndefined();
});

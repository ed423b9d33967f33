import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import type { CertificateWithKey } from '../ports.ts';

/** Certificates for tests, written as DER by hand (RFC 5280 §4.1), so that no program is needed for them. */
export interface Authority {
  /** Of the authority itself, PEM. */
  certificate: string;
  /** A certificate for these names and addresses. */
  issue(...names: string[]): CertificateWithKey;
}

/** @param days for which its certificates are good */
export function createAuthority(name = 'Test CA', days = 30): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = signed({ issuer: name, subject: name, publicKey, names: [], ca: true, days }, privateKey);
  const issue = (...names: string[]): CertificateWithKey => {
    const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return {
      certificate: signed(
        { issuer: name, subject: names[0] ?? '', publicKey: leaf.publicKey, names, ca: false, days },
        privateKey,
      ),
      privateKey: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    };
  };
  return { certificate, issue };
}

interface ToSign {
  issuer: string;
  subject: string;
  publicKey: KeyObject;
  names: string[];
  ca: boolean;
  days: number;
}

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);
const bits = (content: Uint8Array): Buffer => der(0x03, Buffer.of(0), content);
/** Dotted numbers, all but the first two below 16,384. */
function oid(text: string): Buffer {
  const [a, b, ...rest] = text.split('.').map(Number) as [number, number, ...number[]];
  return der(0x06, Buffer.from([a * 40 + b, ...rest.flatMap((n) => (n < 128 ? [n] : [0x80 | (n >> 7), n & 127]))]));
}
const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

function signed({ issuer, subject, publicKey, names, ca, days }: ToSign, by: KeyObject): string {
  const time = (offsetMs: number): Buffer => {
    const stamp = new Date(Date.now() + offsetMs).toISOString().replace(/[-:T]|\.\d+/g, '');
    return der(0x17, Buffer.from(stamp.slice(2)));
  };
  const day = 86_400_000;
  const extensions = [
    sequence(
      oid('2.5.29.19'),
      der(0x01, Buffer.of(255)),
      der(0x04, sequence(...(ca ? [der(0x01, Buffer.of(255))] : []))),
    ),
    ...(names.length > 0 ? [sequence(oid('2.5.29.17'), der(0x04, sequence(...names.map(generalName))))] : []),
  ];
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(15)])),
    ECDSA_SHA256,
    commonName(issuer),
    sequence(time(-day), time(days * day)),
    commonName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const certificate = sequence(body, ECDSA_SHA256, bits(sign('sha256', body, by)));
  const lines = certificate.toString('base64').match(/.{1,64}/g) as string[];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

const commonName = (name: string): Buffer =>
  sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(name)))));

/** RFC 5280 §4.2.1.6: dNSName [2] or iPAddress [7]. */
const generalName = (name: string): Buffer =>
  isIP(name) === 4 ? der(0x87, Buffer.from(name.split('.').map(Number))) : der(0x82, Buffer.from(name));

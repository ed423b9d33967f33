import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { CertificateWithKey } from '../ports.ts';

/** A chain as a TLS context wants it, and its leaf for the question whom it is for. */
export interface Identity extends CertificateWithKey {
  leaf: X509Certificate;
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * Reads a certificate with its private key.
 * Throws an Error that says what is wrong with which of the two: the caller knows where they came from.
 */
export function readIdentity({ certificate, privateKey }: CertificateWithKey): Identity {
  const [leaf] = readCertificates(certificate, 'certificate');
  let key: ReturnType<typeof createPrivateKey>;
  try {
    key = createPrivateKey(privateKey);
  } catch {
    // OpenSSL's own words ("DECODER routines::unsupported") help nobody, and must not quote a key.
    throw new Error('privateKey holds no private key; allowed: an unencrypted PEM private key');
  }
  if (!leaf!.checkPrivateKey(key))
    throw new Error(
      'privateKey does not belong to certificate; allowed: the key of its first (the server’s) certificate',
    );
  return { certificate, privateKey, leaf: leaf! };
}

/** Reads every certificate of a PEM text; there is at least one. Throws an Error that names `what`. */
export function readCertificates(pem: string, what: string): X509Certificate[] {
  const texts = pem.match(PEM_CERTIFICATE) ?? [];
  if (texts.length === 0) throw new Error(`${what} holds no certificate; allowed: one or more in PEM`);
  return texts.map((text, i) => {
    try {
      return new X509Certificate(text);
    } catch {
      throw new Error(`${what} number ${i + 1} cannot be read; allowed: X.509 in PEM`);
    }
  });
}

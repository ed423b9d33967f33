/** Why a probe cannot go on. */
export class ProbeFault extends Error {
  /** `critical`: the peer's doing; `unknown`: nothing is known about the peer. */
  readonly verdict: 'critical' | 'unknown';
  /** SIP status code that says so, where one does. */
  readonly code: number | undefined;

  constructor(message: string, options: { verdict?: 'critical' | 'unknown'; code?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ProbeFault';
    this.verdict = options.verdict ?? 'critical';
    this.code = options.code;
  }
}

const SYSTEM: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EPIPE: 'connection closed',
  ETIMEDOUT: 'connection timed out',
  CERT_HAS_EXPIRED: 'TLS certificate has expired',
  CERT_NOT_YET_VALID: 'TLS certificate is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'TLS certificate is self-signed and not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'TLS certificate chain ends in an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'TLS certificate is signed by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'TLS certificate is signed by an authority that is not trusted',
};
/** The fault is this host's: nothing is known about the peer. */
const OWN = new Set(['EADDRNOTAVAIL', 'EADDRINUSE', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOBUFS']);

/** An error of a socket as a fault: `192.0.2.1:5060: connection refused`. */
export function socketFault(where: string, error: unknown): ProbeFault {
  const { code = '', message } = error as NodeJS.ErrnoException;
  // Node reports a failed connection to one of several addresses as an AggregateError without a message.
  const why = SYSTEM[code] ?? (message || code || String(error)).slice(0, 200);
  return new ProbeFault(`${where}: ${why}`, { verdict: OWN.has(code) ? 'unknown' : 'critical', cause: error });
}

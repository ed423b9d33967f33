import { createHash, hkdfSync } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, createServer, type SecureContext, type Server, type TLSSocket } from 'node:tls';
import type { TlsServerOptions } from '../ports.ts';
import { type Identity, readIdentity } from './certificate.ts';

/** RFC 8996: TLS 1.0 and 1.1 must not be used. */
export const MIN_TLS = 'TLSv1.2';
const TICKET_KEY_BYTES = 48;

/** The handshake with `remote` (see {@link remoteOf}) is done. One that fails closes its socket, and that is all. */
export type Secured = (socket: TLSSocket, remote: string) => void;

/**
 * The server side of TLS over sockets that somebody else accepted, under one set of certificates. It never changes: new certificates
 * are a new one of these, and handshakes that this one has begun it also ends.
 */
export class TlsServer {
  readonly #server: Server;

  /** `seed`: the same on all data threads, so that a session that one of them began can be resumed at another. */
  constructor(options: TlsServerOptions, seed: Uint8Array, handshakeTime: number, secured: Secured) {
    const identities = options.certificates.map(readIdentity);
    const contexts = identities.map((identity) => contextOf(identity, options));
    const [first] = identities as [Identity, ...Identity[]];
    this.#server = createServer({
      ...credentials(first, options),
      minVersion: MIN_TLS,
      requestCert: options.clientCertificate !== 'none',
      rejectUnauthorized: options.clientCertificate === 'require',
      handshakeTimeout: handshakeTime,
      ticketKeys: ticketKeys(options, seed),
      SNICallback: (name, chosen) => chosen(null, contextFor(name, identities, contexts)),
    });
    this.#server.on('secureConnection', (socket) => {
      // A certificate that was asked for may be withheld; one that is shown must be good.
      const shown = options.clientCertificate === 'request' && Object.keys(socket.getPeerCertificate()).length > 0;
      if (shown && !socket.authorized) socket.destroy();
      else secured(socket, remoteOf(socket));
    });
  }

  /** Takes over a connected socket. Text that it has read and not given out yet belongs to the handshake. */
  accept(socket: Socket): void {
    this.#server.emit('connection', socket);
  }
}

/** `address:port` of the peer: of one listener's connections, no two have the same at a time. */
export const remoteOf = (socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): string =>
  `${socket.remoteAddress}:${socket.remotePort}`;

const credentials = ({ certificate, privateKey }: Identity, { clientCa }: TlsServerOptions) => ({
  cert: certificate,
  key: privateKey,
  ...(clientCa === undefined ? {} : { ca: clientCa }),
});

function contextOf(identity: Identity, options: TlsServerOptions): SecureContext {
  return createSecureContext({ ...credentials(identity, options), minVersion: MIN_TLS });
}

/** Undefined: the server's own context, which holds the first certificate. */
function contextFor(name: string, identities: readonly Identity[], contexts: readonly SecureContext[]) {
  return contexts[identities.findIndex(({ leaf }) => leaf.checkHost(name) !== undefined)];
}

/**
 * Session ticket keys (RFC 5077) of their own for each set of certificates and rules: a session made under others, which would skip the new
 * client-certificate rule or hide the new certificate, is answered with a full handshake.
 */
function ticketKeys(options: TlsServerOptions, seed: Uint8Array): Buffer {
  const rules = createHash('sha256').update(JSON.stringify(options)).digest();
  return Buffer.from(hkdfSync('sha256', seed, rules, 'sipfleet tls tickets', TICKET_KEY_BYTES));
}

import type { TcpSocketConnectOpts } from 'node:net';
import {
  connect,
  createSecureContext,
  getCACertificates,
  rootCertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { type Endpoint, type StreamOptions, type TlsClientOptions, TRANSPORT } from '../ports.ts';
import { createEndpoint, endpointKey, setAddress } from './endpoint.ts';
import { MIN_TLS } from './tls-server.ts';

/** The system's CAs do not change under a running process, and reading them takes tens of milliseconds. */
let systemContext: SecureContext | undefined;

function contextOf(ca: string | undefined): SecureContext {
  if (ca !== undefined) return createSecureContext({ ca, minVersion: MIN_TLS });
  systemContext ??= createSecureContext({ ca: systemCas(), minVersion: MIN_TLS });
  return systemContext;
}

/** A container without a CA bundle falls back on the ones that Node brings. */
function systemCas(): string[] {
  const system = getCACertificates('system');
  return system.length > 0 ? system : [...rootCertificates];
}

/** One TLS backend: how it is verified, and the last session with it, to be resumed by the next connection. */
export class TlsPeer {
  readonly #options: TlsClientOptions;
  readonly #context: SecureContext;
  #session: Buffer | undefined;

  /** Throws where the CA cannot be read. */
  constructor(options: TlsClientOptions) {
    this.#options = options;
    this.#context = contextOf(options.ca);
  }

  /** A socket that is connecting; it is established at `secureConnect`, when the certificate has been verified. */
  connect(to: TcpSocketConnectOpts): TLSSocket {
    const { verify, serverName } = this.#options;
    const socket = connect({
      ...to,
      secureContext: this.#context,
      rejectUnauthorized: verify,
      // Without a name the certificate must hold the address (RFC 6125 §1.7.2 leaves IP identities to RFC 2818: an iPAddress SAN).
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(this.#session === undefined ? {} : { session: this.#session }),
    });
    return socket.on('session', (session) => {
      this.#session = session;
    });
  }
}

/** The TLS backends of one listener, by address and port. */
export class TlsPeers {
  readonly #peers: ReadonlyMap<string, TlsPeer>;

  constructor(peers: StreamOptions['peers'] = []) {
    this.#peers = new Map(
      peers.map(({ address, port, ...options }) => {
        const at = createEndpoint(TRANSPORT.tls);
        setAddress(at, address);
        at.port = port;
        return [endpointKey(at), new TlsPeer(options)];
      }),
    );
  }

  /** One that is not configured is verified like any: by the system's CAs, for its address. */
  find(at: Readonly<Endpoint>): TlsPeer {
    return this.#peers.get(endpointKey(at)) ?? new TlsPeer({ verify: true });
  }
}

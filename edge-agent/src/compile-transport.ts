import { type Farm, parseCidr, parseDuration } from '@sipfleet/contract';
import { AgentError } from './errors.ts';
import {
  type AddressBlock,
  type CertificateWithKey,
  type Secrets,
  type StreamOptions,
  type TlsClientOptions,
  type TlsServerOptions,
  TRANSPORT,
} from './ports.ts';
import { readCertificates, readIdentity } from './transport/certificate.ts';

type Listener = Farm['listeners'][number];

/** A Secret as one place of a farm needs it; every fault names both. */
class NamedSecret {
  readonly #where: string;
  readonly #data: Readonly<Record<string, string>>;

  constructor(field: string, name: string, secrets: Secrets) {
    this.#where = `${field}: Secret ${name}`;
    const data = secrets.get(name);
    if (!data) throw new AgentError('PLAN', `${this.#where}: unknown to this agent; allowed: a Secret that exists`);
    this.#data = data;
  }

  identity(): CertificateWithKey {
    const pair = { certificate: this.#value('certificate'), privateKey: this.#value('privateKey') };
    this.#check(() => readIdentity(pair));
    return pair;
  }

  ca(): string {
    const pem = this.#value('ca');
    this.#check(() => readCertificates(pem, 'ca'));
    return pem;
  }

  #value(key: string): string {
    const value = this.#data[key];
    if (value === undefined) throw new AgentError('PLAN', `${this.#where}: has no ${key}; allowed: ${key} in PEM`);
    return value;
  }

  #check(read: () => unknown): void {
    try {
      read();
    } catch (cause) {
      throw new AgentError('PLAN', `${this.#where}: ${(cause as Error).message}`, { cause });
    }
  }
}

/** How a farm's stream listener is run; undefined for UDP. Throws AgentError PLAN where a Secret is not there or cannot be used. */
export function compileStream(farm: Farm, index: number, secrets: Secrets): StreamOptions | undefined {
  const listener = farm.listeners[index] as Listener;
  if (listener.transport === 'udp') return undefined;
  const { origins, proxyProtocol, limits } = listener;
  const tls = compileTls(listener, `farm ${farm.name}: listeners[${index}]`, secrets);
  return {
    transport: TRANSPORT[listener.transport],
    ...(tls && { tls }),
    ...(origins && { origins }),
    ...(proxyProtocol && { proxyFrom: proxyProtocol.from.map((block) => parseCidr(block) as AddressBlock) }),
    ...(limits?.connectionsPerSource && { connectionsPerSource: limits.connectionsPerSource }),
    ...(limits?.idleTimeout && { idleTime: parseDuration(limits.idleTimeout) as number }),
    ...(limits?.messageTimeout && { messageTime: parseDuration(limits.messageTimeout) as number }),
    ...(listener.transport === 'tls' && { peers: compilePeers(farm, secrets) }),
  };
}

/** When the first of a listener's certificates expires, in seconds since the epoch; undefined where there are none. */
export function certificateExpiry(stream: StreamOptions | undefined): number | undefined {
  if (!stream?.tls) return undefined;
  const expiries = stream.tls.certificates.map(({ certificate }) => {
    const [leaf] = readCertificates(certificate, 'certificate');
    return leaf!.validToDate.getTime() / 1000;
  });
  return Math.min(...expiries);
}

function compileTls(listener: Listener, at: string, secrets: Secrets): TlsServerOptions | undefined {
  const { certificate, certificates, clientCertificate } = listener;
  if (certificate === undefined && certificates === undefined) return undefined;
  const identities =
    certificate === undefined
      ? (certificates ?? []).map((name, i) => new NamedSecret(`${at}.certificates[${i}]`, name, secrets))
      : [new NamedSecret(`${at}.certificate`, certificate, secrets)];
  return {
    certificates: identities.map((secret) => secret.identity()),
    clientCertificate: clientCertificate?.mode ?? 'none',
    ...(clientCertificate && {
      clientCa: new NamedSecret(`${at}.clientCertificate.ca`, clientCertificate.ca, secrets).ca(),
    }),
  };
}

function compilePeers(farm: Farm, secrets: Secrets): NonNullable<StreamOptions['peers']> {
  return farm.backends.flatMap(({ address, port }, i) => {
    const tls = compileBackendTls(farm, i, secrets);
    return tls ? [{ address, port, ...tls }] : [];
  });
}

/** How a TLS backend is verified; undefined for any other. Throws AgentError PLAN as {@link compileStream} does. */
export function compileBackendTls(farm: Farm, index: number, secrets: Secrets): TlsClientOptions | undefined {
  const { transport, tls } = farm.backends[index] as Farm['backends'][number];
  if (transport !== 'tls') return undefined;
  const { verify = true, ca, serverName } = tls ?? {};
  return {
    verify,
    ...(ca !== undefined && {
      ca: new NamedSecret(`farm ${farm.name}: backends[${index}].tls.ca`, ca, secrets).ca(),
    }),
    ...(serverName !== undefined && { serverName }),
  };
}

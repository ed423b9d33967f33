import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { toBytes, toText } from '../../sip/text.ts';
import { address, nextAddress, SCHEME, UriView } from '../../sip/uri.ts';
import { ProbeFault } from './fault.ts';
import { abortable } from './limit.ts';
import type { ProbeTransport } from './options.ts';

/** Where messages are sent. */
export interface Peer {
  transport: ProbeTransport;
  /** IP literal, without brackets. */
  address: string;
  port: number;
  /** The name that it was found by, which its certificate must hold; the address where there was none. */
  name: string;
}

/** A SIP URI or `host[:port]`, taken apart. */
export interface Place {
  user: string;
  /** Without brackets. */
  host: string;
  /** 0 where none is given. */
  port: number;
  transport?: ProbeTransport;
}

/** RFC 3261 §19.1.2, RFC 7118 §5 (the port of WebSocket itself). */
const DEFAULT_PORT: Record<ProbeTransport, number> = { udp: 5060, tcp: 5060, tls: 5061, ws: 80 };
const SRV: Partial<Record<ProbeTransport, string>> = { udp: '_sip._udp.', tcp: '_sip._tcp.', tls: '_sips._tcp.' };

const uri = new UriView();

/** Takes a URI, or the name-addr that holds one, apart; undefined where it is no SIP URI. */
export function placeOf(text: string): Place | undefined {
  // In a header's value the parameters of a bare URI are the header's (RFC 3261 §20); here they are the URI's.
  const bytes = toBytes(text.includes('<') ? text : `<${text}>`);
  if (!nextAddress(bytes, 0, bytes.length)) return undefined;
  if (!uri.parse(bytes, address.uriStart, address.uriEnd) || uri.scheme === SCHEME.tel) return undefined;
  const parameters = toText(bytes, uri.paramsStart, address.uriEnd);
  const named = /;transport=(udp|tcp|tls|ws)(?=[;?]|$)/i.exec(parameters)?.[1]?.toLowerCase() as
    | ProbeTransport
    | undefined;
  const transport = uri.scheme === SCHEME.sips ? 'tls' : named;
  return {
    user: toText(bytes, uri.userStart, uri.userEnd),
    host: toText(bytes, uri.hostStart, uri.hostEnd),
    port: uri.port,
    ...(transport ? { transport } : {}),
  };
}

/**
 * The address of a place (RFC 3263, as far as a probe needs it): a literal, a name of this machine's hosts file, SRV where no
 * port is given, A, AAAA. Asks through c-ares, not getaddrinfo: a server that never answers must not hold one of the four
 * threads that the whole process has for that.
 */
export async function locate(
  place: Place,
  transport: ProbeTransport,
  nameServers: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<Peer> {
  const port = place.port || DEFAULT_PORT[transport];
  const peer = (at: string, on = port): Peer => ({ transport, address: at, port: on, name: place.host });
  if (isIP(place.host)) return peer(place.host);
  const known = await fromHostsFile(place.host);
  if (known) return peer(known);
  const resolver = new Resolver();
  if (nameServers) resolver.setServers([...nameServers]);
  try {
    return await abortable(ask(resolver, place, transport, peer), signal);
  } finally {
    resolver.cancel();
  }
}

async function ask(
  resolver: Resolver,
  place: Place,
  transport: ProbeTransport,
  peer: (at: string, on?: number) => Peer,
): Promise<Peer> {
  const service = place.port === 0 ? SRV[transport] : undefined;
  // Without SRV records the name itself is the host (RFC 3263 §4.2); the best of several is enough for a probe.
  const records = service ? await resolver.resolveSrv(service + place.host).catch(() => []) : [];
  const [best] = records.sort((a, b) => a.priority - b.priority || b.weight - a.weight);
  const host = best?.name ?? place.host;
  try {
    const found = await resolver.resolve4(host).catch(() => resolver.resolve6(host));
    if (found[0]) return best ? peer(found[0], best.port) : peer(found[0]);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ProbeFault(
      `${host} cannot be resolved: ${code === 'ENOTFOUND' || code === 'ENODATA' ? 'no such name' : code}`,
    );
  }
  throw new ProbeFault(`${host} cannot be resolved: no address`);
}

async function fromHostsFile(name: string): Promise<string | undefined> {
  const text = await readFile('/etc/hosts', 'utf8').catch(() => '');
  const wanted = name.toLowerCase();
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim().toLowerCase().split(/\s+/));
  const found = lines.filter(([at, ...names]) => isIP(at ?? '') && names.includes(wanted)).map(([at]) => at);
  return found.find((at) => isIP(at ?? '') === 4) ?? found[0];
}

/** `[2001:db8::1]:5060` */
export const hostPort = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

import { canonicalIP } from './address.ts';
import type { Backend, Listener } from './farm.ts';
import { addFault as fault, type Refine } from './faults.ts';

/** What each listener transport is made of; the combinations that exist. */
const LISTENER_RULES = {
  udp: { stream: false, tls: false, webSocket: false },
  tcp: { stream: true, tls: false, webSocket: false },
  tls: { stream: true, tls: true, webSocket: false },
  ws: { stream: true, tls: false, webSocket: true },
  wss: { stream: true, tls: true, webSocket: true },
} as const;
type Trait = keyof (typeof LISTENER_RULES)['udp'];

/** Fields that only some transports have, and which. */
const NEEDS: Record<string, Trait> = {
  certificate: 'tls',
  certificates: 'tls',
  clientCertificate: 'tls',
  origins: 'webSocket',
  proxyProtocol: 'stream',
  limits: 'stream',
};

const transportsWith = (trait: Trait): string =>
  Object.entries(LISTENER_RULES)
    .filter(([, rules]) => rules[trait])
    .map(([name]) => name)
    .join(', ');

/** Listeners on TCP share its ports, whatever they speak on it. */
export const portSpace = (transport: string): 'udp' | 'tcp' => (transport === 'udp' ? 'udp' : 'tcp');

/** Reports fields that a listener's transport does not have, and a TLS listener without its certificate. */
export function listenerFaults(ctx: Refine, listeners: readonly Listener[]): void {
  for (const [i, listener] of listeners.entries()) {
    const { transport, certificate, certificates } = listener;
    for (const [field, trait] of Object.entries(NEEDS))
      if (listener[field as keyof Listener] !== undefined && !LISTENER_RULES[transport][trait])
        fault(
          ctx,
          ['listeners', i, field],
          `a ${transport} listener has no ${field}`,
          `nothing, or the transport ${transportsWith(trait)}`,
        );
    if (!LISTENER_RULES[transport].tls) continue;
    if (certificate === undefined && certificates === undefined)
      fault(
        ctx,
        ['listeners', i, 'certificate'],
        `a ${transport} listener needs a certificate`,
        'the name of a Secret with certificate and privateKey',
      );
    if (certificate !== undefined && certificates !== undefined)
      fault(
        ctx,
        ['listeners', i, 'certificates'],
        'certificate is given as well',
        'one of certificate and certificates',
      );
  }
}

/** Reports TLS settings of a backend that does not speak TLS, and such that contradict each other. */
export function backendTlsFaults(ctx: Refine, backends: readonly Backend[]): void {
  for (const [i, { transport, tls }] of backends.entries()) {
    if (tls === undefined) continue;
    if (transport !== 'tls')
      fault(ctx, ['backends', i, 'tls'], `a ${transport} backend has no tls`, 'nothing, or the transport tls');
    if (!tls.verify && tls.ca !== undefined)
      fault(ctx, ['backends', i, 'tls', 'ca'], 'nothing is verified', 'nothing, or verify: true');
  }
}

/** Reports `tcpAbove` of a backend that is not spoken to by UDP, and one without a listener that its TCP could leave from. */
export function tcpAboveFaults(
  ctx: Refine,
  farm: { backends: readonly Backend[]; listeners: readonly Listener[] },
): void {
  for (const [i, { transport, address, tcpAbove }] of farm.backends.entries()) {
    if (tcpAbove === undefined) continue;
    const v6 = canonicalIP(address).includes(':');
    const speaks = ({ transport, address: own }: Listener) =>
      transport === 'tcp' && (own === undefined || canonicalIP(own).includes(':') === v6);
    if (transport !== 'udp')
      fault(
        ctx,
        ['backends', i, 'tcpAbove'],
        `a ${transport} backend gets everything over ${transport}`,
        'nothing, or the transport udp',
      );
    else if (!farm.listeners.some(speaks))
      fault(
        ctx,
        ['backends', i, 'tcpAbove'],
        `no listener of this farm speaks tcp over ${v6 ? 'IPv6' : 'IPv4'}`,
        'nothing, or a tcp listener of that address family, from which large requests leave',
      );
  }
}

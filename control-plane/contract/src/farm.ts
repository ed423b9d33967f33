import { z } from 'zod';
import { canonicalIP, cidr, ipAddress, parseIP, port, resourceName } from './address.ts';
import { Check, HEALTH_FIELDS } from './check.ts';
import { cycleFaults } from './cycle.ts';
import { addFault as fault, type Refine } from './faults.ts';
import { backendTlsFaults, listenerFaults, portSpace, tcpAboveFaults } from './transport.ts';
import { duration } from './units.ts';

/**
 * What the design names and this version does not do yet. Refused by name, never silently ignored:
 * an operator who asks for a blocklist and gets none has been lied to.
 */
const NOT_YET = {
  farm: ['vip', 'security'],
} as const;

/** Fields that are only there to be refused; not named among the allowed ones. */
export const pendingFields = new WeakSet<object>();

/** A strict object in which fields that are designed but not built are refused as "not supported yet". */
function strict<T extends z.core.$ZodLooseShape>(shape: T, later: readonly string[] = []) {
  const pending = Object.fromEntries(
    later.map((key) => {
      const refused = z
        .unknown()
        .optional()
        .check((ctx) => {
          if (ctx.value !== undefined) fault(ctx, [], 'not supported yet', 'nothing: leave this field out');
        })
        .meta({ description: 'Not supported yet' });
      pendingFields.add(refused);
      return [key, refused];
    }),
  );
  return z.strictObject({ ...pending, ...shape } as T);
}

/** An enum of which some values are designed but not built. */
function oneOf<const T extends readonly [string, ...string[]]>(now: T, later: readonly string[]) {
  return z.enum(now, {
    error: (issue) =>
      later.includes(String(issue.input))
        ? `one of ${now.join(', ')} (${String(issue.input)} is not supported yet)`
        : `one of ${now.join(', ')}`,
  });
}

/** What stands in Via, Record-Route and Path towards each side, for example behind a cloud's 1:1 NAT. */
export const Advertise = strict({ clients: ipAddress.optional(), backends: ipAddress.optional() });

const allowedOrigin = 'an origin as browsers send it, such as https://phone.example.com';
const allowedConnections = 'a whole number from 1 to 100000';

/** Phones show certificates too. The Secret `ca` holds under the key `ca` who may have issued them (PEM). */
export const ClientCertificate = strict({
  /** `request`: a phone may show none, but no bad one. */
  mode: oneOf(['require', 'request'], []).default('require'),
  ca: resourceName,
});

/** Load balancers in front, such as HAProxy or an NLB: they must announce the client's address, and nobody else may. */
export const ProxyProtocol = strict({
  from: z
    .array(cidr, { error: 'a list of blocks, such as [10.0.0.0/24]' })
    .min(1, { error: 'at least one block' })
    .max(64, { error: 'at most 64 blocks' }),
});

/** Of the connections of one listener, on each data thread. */
export const ConnectionLimits = strict({
  /** Open at a time from one address. An office behind one NAT is one address. */
  connectionsPerSource: z
    .int({ error: allowedConnections })
    .min(1, { error: allowedConnections })
    .max(100_000, { error: allowedConnections })
    .optional(),
  /** With nothing received, not even a keepalive. */
  idleTimeout: duration('30s', '1d').optional(),
  /** From the first byte of a message to its last. */
  messageTimeout: duration('1s', '10m').optional(),
});

export const Listener = strict({
  transport: oneOf(['udp', 'tcp', 'tls', 'ws', 'wss'], ['sctp']),
  /** The address to bind; left out: the agent's own address. */
  address: ipAddress
    .refine((a) => parseIP(a)?.some((word, i) => word !== (i === 2 && !a.includes(':') ? 0xffff : 0)) ?? true, {
      error: 'one specific address: SIP writes it into Via and Record-Route, so 0.0.0.0 and :: cannot serve',
    })
    .optional(),
  port,
  advertise: Advertise.optional(),
  /** Secret with `certificate` (PEM, the chain) and `privateKey`, of tls and wss. */
  certificate: resourceName.optional(),
  /** Several, chosen by the name that the client asks for (SNI); the first serves where none fits. */
  certificates: z
    .array(resourceName, { error: 'a list of names of Secrets' })
    .min(1, { error: 'at least one name' })
    .max(32, { error: 'at most 32 names' })
    .optional(),
  clientCertificate: ClientCertificate.optional(),
  /** Of ws and wss: pages that browsers may connect from; left out: any. */
  origins: z
    .array(z.string({ error: allowedOrigin }).regex(/^https?:\/\/[a-z0-9.[\]:-]+$/, { error: allowedOrigin }), {
      error: 'a list of origins, such as [https://phone.example.com]',
    })
    .min(1, { error: 'at least one origin' })
    .max(64, { error: 'at most 64 origins' })
    .optional(),
  proxyProtocol: ProxyProtocol.optional(),
  limits: ConnectionLimits.optional(),
});
export type Listener = z.infer<typeof Listener>;

const allowedServerName = 'a DNS name, such as pbx1.example.com';
/** Labels of letters, digits and inner hyphens, the last one no number (RFC 1123 §2.1), so that an address is no name. */
const DNS_NAME = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?$/i;

/** How the certificate of a TLS backend is verified. Left out: by the system's CAs, and it must hold the backend's address. */
export const BackendTls = strict({
  verify: z.boolean({ error: 'true or false' }).default(true),
  /** Secret that holds under the key `ca` who may have issued it (PEM). */
  ca: resourceName.optional(),
  /** The name that it must hold instead of the address, also asked for by SNI. */
  serverName: z.string({ error: allowedServerName }).regex(DNS_NAME, { error: allowedServerName }).optional(),
});

const allowedWeight = 'a whole number from 1 to 1000';
const allowedSize = 'a whole number of bytes from 500 to 65535, such as 1300';
const allowedPriority = 'a whole number from 1 to 9';
export const Backend = strict({
  name: resourceName,
  address: ipAddress,
  port: port.default(5060),
  transport: oneOf(['udp', 'tcp', 'tls'], ['ws', 'wss', 'sctp']).default('udp'),
  tls: BackendTls.optional(),
  /**
   * Of udp: requests of more bytes go over TCP, and by UDP after all where TCP is refused. RFC 3261 §18.1.1: 1300 where the path MTU is unknown, else
   * 200 less than it. Left out: never.
   */
  tcpAbove: z
    .int({ error: allowedSize })
    .min(500, { error: allowedSize })
    .max(65_535, { error: allowedSize })
    .optional(),
  /** Share of the load relative to the other backends. */
  weight: z
    .int({ error: allowedWeight })
    .min(1, { error: allowedWeight })
    .max(1000, { error: allowedWeight })
    .default(1),
  /** Tier: 1 serves first; a higher number takes over what capacity is missing in the tiers before it. */
  priority: z
    .int({ error: allowedPriority })
    .min(1, { error: allowedPriority })
    .max(9, { error: allowedPriority })
    .default(1),
  /** Where it stands: agents of that site prefer it, those of other sites use it where capacity is missing at theirs. Left out: near to all. */
  site: resourceName.optional(),
  /** Keeps its dialogs, gets no new ones, and lets its registrations lapse to the other backends. */
  drain: z.boolean({ error: 'true or false' }).optional(),
  /** The addresses this backend sends from; left out: its address. */
  sources: z.array(cidr).max(16, { error: 'at most 16 blocks' }).optional(),
});
export type Backend = z.infer<typeof Backend>;

const allowedKey = 'one of user, domain, call-id, from-user, source-ip, or header:NAME such as header:X-Tenant';
export const Balancing = strict({
  strategy: oneOf(['hash', 'weighted-round-robin', 'least-sessions'], []).default('hash'),
  /** What `hash` keeps together. `user`: the callee's user, so that a call reaches the PBX where the callee registered. */
  key: z
    .string({ error: allowedKey })
    .regex(/^(user|domain|call-id|from-user|source-ip|header:[A-Za-z0-9.!%*_+`'~-]{1,31})$/, { error: allowedKey })
    .default('user'),
});

export const Registration = strict({
  /**
   * How PBXs come to send requests for a phone through an agent. `path`: RFC 3327, with `Supported: path` added where the phone left it out. `contact`: for
   * PBXs without Path, each Contact becomes a URI of ours, and the phone's own again in the answer. `none`: nothing is changed, the PBX reaches phones by itself.
   */
  mode: oneOf(['path', 'contact', 'none'], []).default('path'),
  /** What phones are told at most; left out: what the PBX grants. A short one makes them register anew soon after their PBX died. */
  maxExpires: duration('30s', '1d').optional(),
});

export const Tracing = strict({
  /**
   * Requests of calls carry a `traceparent` header (W3C Trace Context) towards backends: a PBX that traces, or its log, then names the agent's trace. What clients
   * and backends send under that name is taken out. 70 bytes per request.
   */
  traceparent: z.boolean({ error: 'true or false' }).default(false),
});

export const Health = strict(HEALTH_FIELDS);
export type Health = z.infer<typeof Health>;

const allowedCode = 'a failure code from 400 to 599';
/** When a request is tried at the next backend. */
export const Failover = strict({
  /** Silence before any response to an INVITE. Other requests get at least 4 s. */
  timeout: duration('200ms', '30s').default('1500ms'),
  /** Responses that are tried elsewhere instead of being passed on. */
  codes: z
    .array(z.int({ error: allowedCode }).min(400, { error: allowedCode }).max(599, { error: allowedCode }))
    .max(16, { error: 'at most 16 codes' })
    .default([503]),
  /** A 2xx of a backend that was given up, after another one's: `release` ends that call, `forward` passes it to the caller too. */
  lateAnswer: oneOf(['release', 'forward'], []).default('release'),
});

/** Reports what stands twice in a list. */
function unique<T>(
  ctx: Refine,
  list: readonly T[],
  field: string,
  key: (item: T) => string,
  what: string,
  at: PropertyKey[],
) {
  const seen = new Map<string, number>();
  for (const [i, item] of list.entries()) {
    const k = key(item);
    const first = seen.get(k);
    if (first === undefined) seen.set(k, i);
    else fault(ctx, [field, i, ...at], `${what} already used by ${field}[${first}]`, `a ${what} of its own`);
  }
}

const allowedHost = 'a DNS name, such as sip.example.com';
const hostName = z
  .string({ error: allowedHost })
  .max(253, { error: allowedHost })
  .regex(/^(?!\d+(\.\d+){3}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/, {
    error: allowedHost,
  });

export const Farm = strict(
  {
    kind: z.literal('Farm'),
    name: resourceName,
    /** The sites whose agents serve this farm. */
    sites: z
      .array(resourceName, { error: 'a list of site names, such as [milan]' })
      .min(1, { error: 'at least one site name' })
      .max(1000, { error: 'at most 1000 sites' }),
    listeners: z
      .array(Listener, { error: 'a list of listeners, such as [{ transport: udp, port: 5060 }]' })
      .min(1, { error: 'at least one listener' })
      .max(16, { error: 'at most 16 listeners' }),
    /** DNS names by which phones know this farm. In a Route header they name the farm itself. */
    names: z.array(hostName).max(16, { error: 'at most 16 names' }).default([]),
    mode: oneOf(['proxy'], ['l4']).default('proxy'),
    nat: z
      .unknown()
      .optional()
      .check((ctx) => {
        if (ctx.value !== undefined)
          fault(
            ctx,
            [],
            'only a farm of mode l4 has nat, and mode l4 is not supported yet',
            'nothing: leave this field out',
          );
      }),
    /**
     * `stateful`: transactions are kept, with failover inside them. `stateless`: every message is forwarded by itself; failover happens
     * between requests.
     */
    transactions: oneOf(['stateful', 'stateless'], []).default('stateful'),
    failover: Failover.optional(),
    balancing: Balancing.prefault({}),
    backends: z
      .array(Backend, { error: 'a list of backends, such as [{ name: pbx1, address: 10.0.0.11 }]' })
      .min(1, { error: 'at least one backend' })
      .max(255, { error: 'at most 255 backends' }),
    checks: z
      .array(Check, { error: 'a list of checks, such as [{ name: ping, type: options }]' })
      .max(8, { error: 'at most 8 checks' })
      .default([]),
    health: Health.prefault({}),
    registration: Registration.prefault({}),
    tracing: Tracing.optional(),
  },
  NOT_YET.farm,
).check((ctx) => {
  const farm = ctx.value;
  if (farm.failover !== undefined && farm.transactions === 'stateless')
    fault(
      ctx,
      ['failover'],
      'only a farm with transactions: stateful has failover',
      'nothing, or transactions: stateful',
    );
  unique(ctx, farm.sites, 'sites', String, 'site', []);
  unique(
    ctx,
    farm.listeners,
    'listeners',
    (l) => `${portSpace(l.transport)}/${l.address === undefined ? 'own' : canonicalIP(l.address)}/${l.port}`,
    'transport, address and port',
    ['port'],
  );
  unique(ctx, farm.backends, 'backends', (b) => b.name, 'name', ['name']);
  unique(ctx, farm.backends, 'backends', (b) => `${canonicalIP(b.address)}/${b.port}`, 'address and port', ['address']);
  unique(ctx, farm.checks, 'checks', (c) => c.name, 'name', ['name']);
  cycleFaults(ctx, farm);
  listenerFaults(ctx, farm.listeners);
  backendTlsFaults(ctx, farm.backends);
  tcpAboveFaults(ctx, farm);
  for (const [i, b] of farm.backends.entries()) {
    if (b.site !== undefined && !farm.sites.includes(b.site))
      fault(
        ctx,
        ['backends', i, 'site'],
        'this farm has no agents there',
        `one of the farm’s sites: ${farm.sites.join(', ')}`,
      );
    const address = canonicalIP(b.address);
    const v6 = address.includes(':');
    // The source address of every packet is a listener's (architecture.md, Ownership): without one of that kind nothing can be sent.
    if (
      !farm.listeners.some(
        (l) => l.transport === b.transport && (l.address === undefined || canonicalIP(l.address).includes(':') === v6),
      )
    )
      fault(
        ctx,
        ['backends', i, 'transport'],
        `no listener of this farm speaks ${b.transport} over ${v6 ? 'IPv6' : 'IPv4'}`,
        'the transport and address family of one of the listeners, from which the agent sends to the backend',
      );
    if (farm.listeners.some((l) => l.address !== undefined && canonicalIP(l.address) === address && l.port === b.port))
      fault(
        ctx,
        ['backends', i, 'address'],
        'is the farm’s own listener: requests would circle',
        'the address and port of a PBX',
      );
  }
});
export type Farm = z.infer<typeof Farm>;
/** A farm as an operator writes it, before defaults. */
export type FarmInput = z.input<typeof Farm>;

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EnrolRequest } from './agent.ts';
import type { FarmInput } from './farm.ts';
import { type Fault, formatFault, ValidationError } from './faults.ts';
import { canonicalJson, parseResource, parseWith } from './resource.ts';

const valid = (): FarmInput => ({
  kind: 'Farm',
  name: 'pbx',
  sites: ['milan'],
  listeners: [{ transport: 'udp', port: 5060 }],
  backends: [
    { name: 'pbx1', address: '10.0.0.11' },
    { name: 'pbx2', address: '10.0.0.12' },
  ],
});

function faultsOf(input: unknown): readonly Fault[] {
  try {
    parseResource(input);
  } catch (error) {
    expect(error).toBeInstanceOf(ValidationError);
    return (error as ValidationError).faults;
  }
  return [];
}

/** The faults of a valid farm after one change to it. */
// biome-ignore lint/suspicious/noExplicitAny: each case breaks the type on purpose
function spoilt(spoil: (farm: any) => void): readonly Fault[] {
  const farm = valid();
  spoil(farm);
  return faultsOf(farm);
}

describe('a valid farm', () => {
  test('gets its defaults, and is valid again with them', () => {
    const farm = parseResource(valid());
    expect(farm).toMatchObject({
      mode: 'proxy',
      balancing: { strategy: 'hash', key: 'user' },
      backends: [{ port: 5060, transport: 'udp', weight: 1, priority: 1 }, {}],
      checks: [],
      health: { startAs: 'unknown', maxConcurrentCalls: 1 },
      registration: { mode: 'path' },
    });
    expect(parseResource(farm)).toEqual(farm);
  });

  test('a check gets its defaults too', () => {
    expect(parseResource({ ...valid(), checks: [{ name: 'ping', type: 'options' }] })).toMatchObject({
      checks: [{ interval: '5s', timeout: '2s', rise: 2, fall: 3 }],
    });
  });

  test('a site', () => {
    expect(parseResource({ kind: 'Site', name: 'milan' })).toEqual({ kind: 'Site', name: 'milan' });
  });
});

describe('what is no resource', () => {
  test.each([
    [null, '', 'null'],
    ['text', '', '"text"'],
    [[], '', '[]'],
    [undefined, '', 'nothing'],
  ])('%j', (input, field, found) => {
    expect(faultsOf(input)).toEqual([{ field, found, allowed: 'a mapping with a kind: Site or Farm or Secret' }]);
  });

  test.each([
    [{}, 'nothing'],
    [{ kind: 'farm' }, '"farm"'],
    [{ kind: 7 }, '7'],
    [{ kind: 'toString' }, '"toString"'],
  ])('%j', (input, found) => {
    expect(faultsOf(input)).toEqual([{ field: 'kind', found, allowed: 'one of Site, Farm, Secret' }]);
  });
});

const NAME = '1 to 63 characters: lower-case letters, digits and inner hyphens';
const PORT = 'a whole number from 1 to 65535';
const IP = 'an IPv4 or IPv6 address, such as 192.0.2.10 or 2001:db8::1';

describe('every class of error names field, found and allowed', () => {
  // biome-ignore lint/suspicious/noExplicitAny: each case breaks the type on purpose
  const cases: [what: string, spoil: (farm: any) => void, expected: Partial<Fault>][] = [
    ['missing', (f) => delete f.name, { field: 'name', found: 'nothing', allowed: NAME }],
    ['not a name', (f) => (f.name = 'PBX_1'), { field: 'name', found: '"PBX_1"', allowed: NAME }],
    ['too long a name', (f) => (f.name = 'a'.repeat(64)), { field: 'name', allowed: NAME }],
    [
      'another type',
      (f) => (f.sites = 'milan'),
      { field: 'sites', found: '"milan"', allowed: 'a list of site names, such as [milan]' },
    ],
    [
      'an object wanted',
      (f) => (f.balancing = 'hash'),
      { field: 'balancing', found: '"hash"', allowed: 'a value of type object' },
    ],
    ['an empty list', (f) => (f.backends = []), { field: 'backends', found: '[]', allowed: 'at least one backend' }],
    [
      'too long a list',
      (f) => (f.listeners = Array.from({ length: 17 }, (_, i) => ({ transport: 'udp', port: i + 1 }))),
      { field: 'listeners', allowed: 'at most 16 listeners' },
    ],
    [
      'an unknown field',
      (f) => (f.colour = 'red'),
      {
        field: 'colour',
        message: 'unknown field',
        allowed:
          'one of kind, name, sites, listeners, names, mode, nat, transactions, failover, balancing, backends, checks, health, registration, tracing',
      },
    ],
    [
      'an unknown field inside',
      (f) => (f.backends[1].wieght = 3),
      {
        field: 'backends[1].wieght',
        message: 'unknown field',
        allowed: 'one of name, address, port, transport, tls, tcpAbove, weight, priority, site, drain, sources',
      },
    ],
    [
      'out of range',
      (f) => (f.listeners[0].port = 70_000),
      { field: 'listeners[0].port', found: '70000', allowed: PORT },
    ],
    ['zero', (f) => (f.listeners[0].port = 0), { field: 'listeners[0].port', found: '0', allowed: PORT }],
    ['a fraction', (f) => (f.backends[0].port = 50.5), { field: 'backends[0].port', found: '50.5', allowed: PORT }],
    [
      'a number as text',
      (f) => (f.backends[0].weight = '3'),
      { field: 'backends[0].weight', found: '"3"', allowed: 'a whole number from 1 to 1000' },
    ],
    [
      'no address',
      (f) => (f.backends[0].address = 'pbx1.example.com'),
      { field: 'backends[0].address', found: '"pbx1.example.com"', allowed: IP },
    ],
    [
      'every address',
      (f) => (f.listeners[0].address = '0.0.0.0'),
      { field: 'listeners[0].address', found: '"0.0.0.0"', allowed: expect.stringContaining('one specific address') },
    ],
    [
      'every IPv6 address',
      (f) => {
        f.listeners[0].address = '::';
        f.backends = [{ name: 'pbx1', address: '2001:db8::11' }];
      },
      { field: 'listeners[0].address', found: '"::"' },
    ],
    [
      'no block',
      (f) => (f.backends[0].sources = ['10.0.0.0/40']),
      {
        field: 'backends[0].sources[0]',
        found: '"10.0.0.0/40"',
        allowed: 'an address or a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32',
      },
    ],
    [
      'no duration',
      (f) => (f.checks = [{ name: 'ping', type: 'options', interval: '5' }]),
      {
        field: 'checks[0].interval',
        found: '"5"',
        allowed: 'a duration with its unit (ms, s, m, h, d) from 100ms to 1d',
      },
    ],
    [
      'no such choice',
      (f) => (f.balancing = { strategy: 'random' }),
      { field: 'balancing.strategy', found: '"random"', allowed: 'one of hash, weighted-round-robin, least-sessions' },
    ],
    [
      'a choice not built',
      (f) => (f.listeners[0].transport = 'sctp'),
      {
        field: 'listeners[0].transport',
        found: '"sctp"',
        allowed: 'one of udp, tcp, tls, ws, wss (sctp is not supported yet)',
      },
    ],
    [
      'a check not built',
      (f) => (f.checks = [{ name: 'c', type: 'ping' }]),
      { field: 'checks[0].type', found: '"ping"', allowed: 'one of options, register, call, tcp, tls' },
    ],
    [
      'a mode not built',
      (f) => (f.mode = 'l4'),
      { field: 'mode', found: '"l4"', allowed: 'one of proxy (l4 is not supported yet)' },
    ],
    [
      'a priority',
      (f) => (f.backends[0].priority = 10),
      { field: 'backends[0].priority', found: '10', allowed: 'a whole number from 1 to 9' },
    ],
    [
      'nat outside l4',
      (f) => (f.nat = 'dnat'),
      { field: 'nat', found: '"dnat"', message: expect.stringContaining('only a farm of mode l4') },
    ],
    [
      'a site twice',
      (f) => (f.sites = ['milan', 'milan']),
      { field: 'sites[1]', found: '"milan"', message: 'site already used by sites[0]', allowed: 'a site of its own' },
    ],
    [
      'a port twice',
      (f) => f.listeners.push({ transport: 'udp', port: 5060 }),
      {
        field: 'listeners[1].port',
        found: '5060',
        message: 'transport, address and port already used by listeners[0]',
      },
    ],
    [
      'a backend name twice',
      (f) => (f.backends[1].name = 'pbx1'),
      { field: 'backends[1].name', found: '"pbx1"', message: 'name already used by backends[0]' },
    ],
    [
      'a backend address twice',
      (f) => (f.backends[1].address = '10.0.0.11'),
      { field: 'backends[1].address', found: '"10.0.0.11"', message: 'address and port already used by backends[0]' },
    ],
    [
      'a check name twice',
      (f) => (f.checks = [1, 2].map(() => ({ name: 'ping', type: 'options' }))),
      { field: 'checks[1].name', found: '"ping"', message: 'name already used by checks[0]' },
    ],
    [
      'no listener of the transport',
      (f) => (f.backends[1].transport = 'tcp'),
      { field: 'backends[1].transport', found: '"tcp"', message: 'no listener of this farm speaks tcp over IPv4' },
    ],
    [
      'a backend at a site that the farm is not at',
      (f) => (f.backends[0].site = 'rome'),
      { field: 'backends[0].site', found: '"rome"', allowed: 'one of the farm’s sites: milan' },
    ],
    [
      'a backend that drains a little',
      (f) => (f.backends[0].drain = 'soon'),
      { field: 'backends[0].drain', found: '"soon"', allowed: 'true or false' },
    ],
    [
      'TCP above a size that every request has',
      (f) => Object.assign(f.backends[0], { tcpAbove: 100 }) && f.listeners.push({ transport: 'tcp', port: 5060 }),
      {
        field: 'backends[0].tcpAbove',
        found: '100',
        allowed: 'a whole number of bytes from 500 to 65535, such as 1300',
      },
    ],
    [
      'its own listener as backend',
      (f) => (f.listeners[0].address = '10.0.0.11'),
      { field: 'backends[0].address', message: expect.stringContaining('own listener') },
    ],
  ];

  test.each(cases)('%s', (_what, spoil, expected) => {
    const faults = spoilt(spoil);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatchObject(expected);
    expect(faults[0]?.found).not.toBe('');
    expect(faults[0]?.allowed).not.toBe('');
  });

  test.each(['vip', 'security'])('%s is not supported yet, and not among what is allowed', (field) => {
    expect(spoilt((f) => (f[field] = {}))).toEqual([
      { field, found: '{}', message: 'not supported yet', allowed: 'nothing: leave this field out' },
    ]);
    expect(spoilt((f) => (f.colour = 1))[0]?.allowed).not.toContain(field);
  });

  const SECRET = 'the name of a Secret with certificate and privateKey';
  // biome-ignore lint/suspicious/noExplicitAny: each case breaks the type on purpose
  const transports: [what: string, listener: any, expected: Partial<Fault>][] = [
    ...['tls', 'wss'].map((transport): [string, unknown, Partial<Fault>] => [
      `${transport} without a certificate`,
      { transport },
      {
        field: 'certificate',
        found: 'nothing',
        message: `a ${transport} listener needs a certificate`,
        allowed: SECRET,
      },
    ]),
    ...['udp', 'tcp', 'ws'].flatMap((transport) =>
      Object.entries({ certificate: 'c', certificates: ['c'], clientCertificate: { ca: 'c' } }).map(
        ([field, value]): [string, unknown, Partial<Fault>] => [
          `${field} on ${transport}`,
          { transport, [field]: value },
          { field, message: `a ${transport} listener has no ${field}`, allowed: 'nothing, or the transport tls, wss' },
        ],
      ),
    ),
    ...['proxyProtocol', 'limits'].map((field): [string, unknown, Partial<Fault>] => [
      `${field} on udp`,
      { transport: 'udp', [field]: field === 'limits' ? {} : { from: ['10.0.0.0/8'] } },
      { field, message: `a udp listener has no ${field}`, allowed: 'nothing, or the transport tcp, tls, ws, wss' },
    ]),
    ...['udp', 'tcp', 'tls'].map((transport): [string, unknown, Partial<Fault>] => [
      `origins on ${transport}`,
      { transport, origins: ['https://a.example'], ...(transport === 'tls' && { certificate: 'c' }) },
      {
        field: 'origins',
        message: `a ${transport} listener has no origins`,
        allowed: 'nothing, or the transport ws, wss',
      },
    ]),
    [
      'certificate and certificates',
      { transport: 'tls', certificate: 'a', certificates: ['b'] },
      { field: 'certificates', message: 'certificate is given as well' },
    ],
    [
      'no certificates',
      { transport: 'tls', certificates: [] },
      { field: 'certificates', allowed: 'at least one name' },
    ],
    ['no name', { transport: 'tls', certificate: 'A.pem' }, { field: 'certificate', found: '"A.pem"', allowed: NAME }],
    [
      'clients without a CA',
      { transport: 'tls', certificate: 'c', clientCertificate: { mode: 'require' } },
      { field: 'clientCertificate.ca', found: 'nothing', allowed: NAME },
    ],
    [
      'another client mode',
      { transport: 'tls', certificate: 'c', clientCertificate: { mode: 'optional', ca: 'c' } },
      { field: 'clientCertificate.mode', allowed: 'one of require, request' },
    ],
    [
      'PROXY from everybody by silence',
      { transport: 'tcp', proxyProtocol: { from: [] } },
      { field: 'proxyProtocol.from', allowed: 'at least one block' },
    ],
    [
      'an origin with a path',
      { transport: 'ws', origins: ['https://a.example/phone'] },
      { field: 'origins[0]', found: '"https://a.example/phone"' },
    ],
    [
      'too short an idle time',
      { transport: 'tcp', limits: { idleTimeout: '5s' } },
      { field: 'limits.idleTimeout', found: '"5s"', allowed: expect.stringContaining('from 30s to 1d') },
    ],
  ];
  test.each(transports)('%s', (_what, listener, { field, ...expected }) => {
    const faults = spoilt((f) => f.listeners.push({ port: 5061, ...listener }));
    expect(faults).toMatchObject([{ field: `listeners[1].${field}`, ...expected }]);
    expect(faults[0]?.allowed).not.toBe('');
  });

  test('listeners on TCP share its ports, whatever they speak', () => {
    expect(
      spoilt((f) => f.listeners.push({ transport: 'tcp', port: 5061 }, { transport: 'ws', port: 5061 })),
    ).toMatchObject([{ field: 'listeners[2].port', message: expect.stringContaining('already used by listeners[1]') }]);
    expect(spoilt((f) => f.listeners.push({ transport: 'ws', port: 5060 }))).toEqual([]);
  });

  // biome-ignore lint/suspicious/noExplicitAny: each case breaks the type on purpose
  const backends: [what: string, backend: any, expected: Partial<Fault>][] = [
    [
      'TCP above a size, of one that is spoken to over TLS',
      { transport: 'tls', tcpAbove: 1300 },
      { field: 'tcpAbove', message: 'a tls backend gets everything over tls' },
    ],
    [
      'TCP above a size, and no listener for it',
      { tcpAbove: 1300 },
      { field: 'tcpAbove', message: 'no listener of this farm speaks tcp over IPv4' },
    ],
    ['tls settings for UDP', { tls: {} }, { field: 'tls', message: 'a udp backend has no tls' }],
    [
      'a CA that is not looked at',
      { transport: 'tls', tls: { verify: false, ca: 'c' } },
      { field: 'tls.ca', message: 'nothing is verified' },
    ],
    [
      'an address as name',
      { transport: 'tls', tls: { serverName: '10.0.0.11' } },
      { field: 'tls.serverName', allowed: 'a DNS name, such as pbx1.example.com' },
    ],
    [
      'WebSocket',
      { transport: 'ws' },
      { field: 'transport', allowed: expect.stringContaining('ws is not supported yet') },
    ],
  ];
  test.each(backends)('a backend with %s', (_what, backend, { field, ...expected }) => {
    const faults = spoilt((f) => {
      f.listeners.push({ transport: 'tls', port: 5061, certificate: 'c' });
      Object.assign(f.backends[0], backend);
    });
    expect(faults).toMatchObject([{ field: `backends[0].${field}`, ...expected }]);
  });

  test('a TLS backend needs a TLS listener', () => {
    expect(spoilt((f) => (f.backends[0].transport = 'tls'))).toMatchObject([
      { field: 'backends[0].transport', message: 'no listener of this farm speaks tls over IPv4' },
    ]);
  });

  test('every transport with all that it can have', () => {
    const limits = { connectionsPerSource: 50, idleTimeout: '5m', messageTimeout: '10s' };
    const proxyProtocol = { from: ['10.0.0.0/24'] };
    const clientCertificate = { mode: 'request', ca: 'phones' };
    expect(
      spoilt((f) => {
        f.listeners.push(
          { transport: 'tcp', port: 5060, proxyProtocol, limits },
          { transport: 'tls', port: 5061, certificates: ['a', 'b'], clientCertificate, proxyProtocol, limits },
          { transport: 'ws', port: 8080, origins: ['http://localhost:3000'], proxyProtocol, limits },
          { transport: 'wss', port: 443, certificate: 'a', origins: ['https://[2001:db8::1]'] },
        );
        f.backends[0].transport = 'tls';
        f.backends[0].tls = { ca: 'pbx-ca', serverName: 'pbx1.example.com' };
      }),
    ).toEqual([]);
  });

  test('all faults at once, not the first one', () => {
    const faults = spoilt((f) => {
      f.name = 'PBX';
      f.listeners[0].port = 0;
      f.backends[0].address = 'x';
    });
    expect(faults.map(({ field }) => field)).toEqual(['name', 'listeners[0].port', 'backends[0].address']);
  });

  test('IPv6 addresses are the same however they are written', () => {
    const faults = spoilt((f) => {
      f.listeners = [
        { transport: 'udp', port: 5060, address: '2001:db8::1' },
        { transport: 'udp', port: 5060, address: '2001:DB8:0::1' },
      ];
      f.backends = [
        { name: 'a', address: '2001:db8::a' },
        { name: 'b', address: '2001:db8:0:0::a' },
        { name: 'c', address: '2001:0db8::1' },
      ];
    });
    expect(faults.map(({ field }) => field)).toEqual([
      'listeners[1].port',
      'backends[1].address',
      'backends[2].address',
    ]);
  });

  test('an IPv4-mapped address is an IPv4 address', () => {
    expect(
      spoilt((f) => {
        f.listeners[0].address = '10.0.1.5';
        f.backends = [{ name: 'a', address: '::ffff:10.0.0.11' }];
      }),
    ).toEqual([]);
  });

  test('found is cut at 80 characters', () => {
    expect(spoilt((f) => (f.name = 'X'.repeat(500)))[0]?.found).toHaveLength(80);
  });
});

test('a fault as a line: file, line, field, what, found, allowed', () => {
  const fault = { field: 'backends[1].port', found: '70000', allowed: PORT };
  expect(formatFault({ ...fault, file: 'farm.yaml', line: 12 })).toBe(
    'farm.yaml:12: backends[1].port: found 70000; allowed: a whole number from 1 to 65535',
  );
  expect(formatFault({ ...fault, field: '', message: 'unknown field' })).toBe(
    '(document): unknown field; found 70000; allowed: a whole number from 1 to 65535',
  );
  expect(new ValidationError([fault, fault]).message.split('\n')).toHaveLength(2);
});

test('parseWith gives the same faults for any schema', () => {
  const input = {
    joinToken: 'sfj_x',
    name: 'Edge',
    publicKey: { kty: 'RSA', crv: 'Ed25519', x: 'short', e: 1 },
    version: 'v',
  };
  expect(() => parseWith(EnrolRequest, input)).toThrow(ValidationError);
  try {
    parseWith(EnrolRequest, input);
  } catch (error) {
    expect((error as ValidationError).faults.map(({ field }) => field).sort()).toEqual([
      'name',
      'publicKey.e',
      'publicKey.kty',
      'publicKey.x',
    ]);
  }
});

test('anything at all is read or refused with faults, never another error', () => {
  const near = fc.record(
    {
      kind: fc.constantFrom('Farm', 'Site'),
      name: fc.anything(),
      sites: fc.anything(),
      listeners: fc.anything(),
      backends: fc.anything(),
    },
    { requiredKeys: ['kind'] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.anything(), near), (input) => {
      try {
        parseResource(input);
      } catch (error) {
        expect(error).toBeInstanceOf(ValidationError);
        expect((error as ValidationError).faults.length).toBeGreaterThan(0);
      }
    }),
  );
});

describe('canonicalJson', () => {
  test('sorts keys at every depth, keeps the order of lists, drops what is undefined', () => {
    expect(canonicalJson({ b: 1, a: { d: [2, 1], c: undefined } })).toBe('{"a":{"d":[2,1]},"b":1}');
  });

  test('is the same for the same content in any order of keys, and reads back to it', () => {
    const reversed = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(reversed)
        : value !== null && typeof value === 'object'
          ? Object.fromEntries(
              Object.entries(value)
                .reverse()
                .map(([k, v]) => [k, reversed(v)]),
            )
          : value;
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(reversed(value))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Snapshot } from '@sipfleet/contract';

const root = join(import.meta.dirname, '../..');

export interface Address {
  address: string;
  port: number;
}
export const text = (a: Address): string => `${a.address}:${a.port}`;

/** Where everything of one run stands, and what it is made from. */
export interface Site {
  proxy: Address;
  client: Address;
  sinks: Address[];
  /** Path of the compiled bare forwarder. */
  cfwd: string;
  /** An empty directory of the peer's own. */
  directory: string;
  /** Where it listens for TCP and TLS as well, with what certificate (files, PEM); left out: UDP only. */
  streams?: { tcp: Address; tls: Address; certificate: string; privateKey: string };
  /** Who takes what an agent tells that tells all it can. */
  telemetry?: { hep: Address; http: Address };
  /** Where the agent leaves CPU profiles; left out: none are taken. */
  profiles?: string;
}

/** What is measured, each with its tables. */
const OF_PROXIES = ['pairs', 'calls', 'overload', 'impaired', 'streams', 'memory'] as const;
export const SECTIONS = [...OF_PROXIES, 'checks', 'telemetry'] as const;
export type Section = (typeof SECTIONS)[number];

/** A proxy that can be put under test. */
export interface Peer {
  name: string;
  title: string;
  sections: readonly Section[];
  /** This project's: that it cannot be measured is a fault. */
  ours?: boolean;
  /** Allocates its memory for transactions beforehand. */
  preallocates?: boolean;
  /** It is a SIP proxy: lowers Max-Forwards and adds Record-Route (RFC 3261 §16.6). */
  proxies: boolean;
  /** Version as the program tells it; undefined: it is not on this machine. */
  version(): string | undefined;
  /** How to get it where it is missing. */
  missing: string;
  /** What it runs, in words for the report. */
  configuration: string;
  /** The command that serves `site`. */
  command(site: Site): string[];
}

const cfwd: Peer = {
  name: 'cfwd',
  title: 'Bare C forwarder',
  sections: ['pairs'],
  proxies: false,
  version: () => 'this repository',
  missing: '',
  configuration: 'recvmmsg/sendmmsg, adds and removes one Via line, parses nothing: the bound, not a proxy',
  command: (site) => [
    site.cfwd,
    ...['--listen', text(site.proxy), '--client', text(site.client)],
    ...site.sinks.flatMap((sink) => ['--backend', text(sink)]),
  ],
};

/** Shared memory is only a bound: with Kamailio's default of 64 MB `tm` runs out of it within two seconds of this load. */
const KAMAILIO_FLAGS = ['-x', 'fm', '-X', 'fm', '-m', '2048'];

function kamailio(name: string, title: string, sections: readonly Section[], define: string[]): Peer {
  return {
    name,
    title,
    sections,
    preallocates: true,
    proxies: true,
    version: () =>
      /version: kamailio (\S+)/.exec(spawnSync('kamailio', ['-v'], { encoding: 'utf8' }).stdout ?? '')?.[1],
    missing: 'kamailio is not installed; on Debian: apt-get install kamailio',
    configuration: ['kamailio.cfg, children=2,', ...KAMAILIO_FLAGS, ...define].join(' '),
    command(site) {
      writeFileSync(
        join(site.directory, 'dispatcher.list'),
        site.sinks.map((sink) => `1 sip:${text(sink)}\n`).join(''),
      );
      return [
        ...['kamailio', '-f', join(import.meta.dirname, 'kamailio.cfg'), '-DD', '-E', '-w', site.directory],
        ...['-l', `udp:${text(site.proxy)}`, ...KAMAILIO_FLAGS, ...define, ...kamailioStreams(site)],
      ];
    },
  };
}

function kamailioStreams({ streams, directory }: Site): string[] {
  if (!streams) return [];
  const file = join(directory, 'tls.cfg');
  writeFileSync(file, `[server:default]\ncertificate = ${streams.certificate}\nprivate_key = ${streams.privateKey}\n`);
  return [
    '-l',
    `tcp:${text(streams.tcp)}`,
    '-l',
    `tls:${text(streams.tls)}`,
    '-A',
    'WITH_STREAMS',
    '-A',
    `TLS_CONFIG="${file}"`,
  ];
}

/** One farm with everything on that an operator gets: hash over the callee's user, tokens, Record-Route, an OPTIONS check, counters. */
function benchSnapshot(site: Site, transactions: 'stateful' | 'stateless'): Snapshot {
  const { streams } = site;
  const streamListeners = streams && [
    { transport: 'tcp', ...streams.tcp },
    { transport: 'tls', ...streams.tls, certificate: 'bench' },
  ];
  return Snapshot.parse({
    format: 1,
    site: 'bench',
    generation: 1,
    farms: [
      {
        spec: {
          kind: 'Farm',
          name: 'bench',
          sites: ['bench'],
          transactions,
          listeners: [{ transport: 'udp', ...site.proxy }, ...(streamListeners ?? [])],
          backends: site.sinks.map((sink, i) => ({ name: `sink${i + 1}`, ...sink })),
          checks: [{ name: 'ping', type: 'options', interval: '1s', timeout: '500ms' }],
        },
        revision: 1,
        tokenKeys: [{ id: 1, key: randomBytes(16).toString('hex') }],
      },
    ],
  });
}

interface AgentVariant {
  sections: readonly Section[];
  transactions?: 'stateless';
  datapath?: 'dgram';
  telemetry?: keyof typeof TELEMETRY;
}

/** How much an agent tells: as by default, as little as it can, all that it can. */
const TELEMETRY = {
  default: { words: 'counters', options: () => [] },
  off: { words: 'no recorder, nothing pushed', options: () => ['--recorder-memory', '0'] },
  all: {
    words: 'recorder, every message to a HEP server (UDP), metrics by OTLP and remote write every 15 s, traces by OTLP',
    options: ({ telemetry }: Site) => {
      if (!telemetry) return [];
      const http = `http://${text(telemetry.http)}`;
      return [
        ...['--hep', `udp://${text(telemetry.hep)}`, '--remote-write', `${http}/api/v1/write`],
        ...['--otlp-metrics', `${http}/v1/metrics`, '--otlp-traces', `${http}/v1/traces`],
      ];
    },
  },
} as const;

function agent(name: string, title: string, variant: AgentVariant): Peer {
  const { sections, transactions = 'stateful', datapath = 'ffi' } = variant;
  const telemetry = TELEMETRY[variant.telemetry ?? 'default'];
  return {
    name,
    title,
    ours: true,
    sections,
    proxies: true,
    version: () => `node ${process.version}`,
    missing: '',
    configuration: `--workers 1 --datapath ${datapath}; ${transactions}, hash over user, tokens, Record-Route, OPTIONS check every 1 s, ${telemetry.words}`,
    command(site) {
      const snapshot = join(site.directory, 'snapshot.json');
      const data = join(site.directory, 'data');
      mkdirSync(data);
      const secrets = join(site.directory, 'secrets.json');
      writeFileSync(snapshot, JSON.stringify(benchSnapshot(site, transactions)), { mode: 0o600 });
      writeFileSync(secrets, JSON.stringify(secretsOf(site)), { mode: 0o600 });
      return [
        process.execPath,
        ...(site.profiles ? ['--cpu-prof', '--cpu-prof-dir', site.profiles] : []),
        // As sipfleet-agent does.
        '--single-threaded-gc',
        join(root, 'edge-agent/src/main.ts'),
        ...['--snapshot', snapshot, '--secrets', secrets, '--data', data, '--workers', '1', '--admin', '127.0.0.1:0'],
        ...['--address', site.proxy.address, '--datapath', datapath, ...telemetry.options(site)],
      ];
    },
  };
}

/** The certificate as the farm's Secret. */
function secretsOf({ streams }: Site): Record<string, Record<string, string>> {
  if (!streams) return {};
  const [certificate, privateKey] = [streams.certificate, streams.privateKey].map((file) => readFileSync(file, 'utf8'));
  return { bench: { certificate: certificate as string, privateKey: privateKey as string } };
}

export const PEERS: readonly Peer[] = [
  cfwd,
  kamailio('kamailio', 'Kamailio, stateless', ['pairs'], []),
  kamailio('kamailio-tm', 'Kamailio, tm', OF_PROXIES, ['-A', 'WITH_TM']),
  agent('sipfleet', 'Sipfleet', { sections: [...OF_PROXIES, 'checks'] }),
  agent('sipfleet-stateless', 'Sipfleet, stateless', { sections: ['pairs'], transactions: 'stateless' }),
  agent('sipfleet-quiet', 'Sipfleet, telemetry off', { sections: ['telemetry'], telemetry: 'off' }),
  agent('sipfleet-telling', 'Sipfleet, everything on', { sections: ['telemetry'], telemetry: 'all' }),
  agent('sipfleet-dgram', 'Sipfleet, dgram datapath', { sections: ['pairs'], datapath: 'dgram' }),
];

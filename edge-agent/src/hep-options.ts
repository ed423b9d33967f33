import { type Command, InvalidArgumentError, Option } from 'commander';
import { AgentError } from './errors.ts';
import type { RecorderFlags } from './recorder-options.ts';
import type { HepAddress } from './telemetry/hep/server.ts';

/** What commander makes of the options below. */
export interface HepFlags {
  hep?: HepAddress;
  hepKey?: string;
}

export interface HepOptions {
  readonly address: HepAddress;
  /** Shared with the server; empty: none. */
  readonly key: string;
}

const DEFAULT_PORT = 9060;
/** A key travels in every packet. */
const LONGEST_KEY = 256;

/** Adds the options about HEP. The key is a secret: it comes from the environment alone. */
export function addHepOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--hep <url>',
        'send every SIP message to HOMER (HEPv3): udp://HOST[:PORT], tcp:// or tls://; what --recorder-hide and --recorder-hash-users hide does not leave',
      )
        .env('SIPFLEET_HEP_URL')
        .argParser(server),
    )
    .addOption(new Option('--hep-key <text>', 'key of the HEP server').env('SIPFLEET_HEP_KEY').hideHelp());
}

/** Throws AgentError USAGE where options contradict each other. Undefined: no HEP. */
export function hepOptionsOf(
  { hep: address, hepKey: key = '' }: HepFlags,
  { recorderMemory }: Pick<RecorderFlags, 'recorderMemory'>,
): HepOptions | undefined {
  if (!address) return undefined;
  if (recorderMemory === 0)
    throw new AgentError('USAGE', '--hep reads what --recorder-memory holds: found 0; allowed: from 1 MiB');
  if (Buffer.byteLength(key) > LONGEST_KEY)
    throw new AgentError('USAGE', `SIPFLEET_HEP_KEY: found ${Buffer.byteLength(key)} bytes; allowed: ${LONGEST_KEY}`);
  return Object.freeze({ address, key });
}

function server(text: string): HepAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const transport = /^(udp|tcp|tls):$/.exec(url?.protocol ?? '')?.[1] as HepAddress['transport'] | undefined;
  const host = url?.hostname.replace(/^\[|\]$/g, '') ?? '';
  const bare = url !== undefined && /^\/?$/.test(url.pathname) && url.search + url.hash + url.username === '';
  if (!transport || host === '' || !bare || url.port === '0')
    throw new InvalidArgumentError('Allowed: udp://HOST[:PORT], tcp://… or tls://…, such as udp://homer:9060.');
  return { transport, host, port: url.port === '' ? DEFAULT_PORT : Number(url.port) };
}

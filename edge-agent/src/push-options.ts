import { parseDuration, withoutSecrets } from '@sipfleet/contract';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { AgentError } from './errors.ts';
import type { PushOptions } from './telemetry/push/pushes.ts';

const COMPRESSIONS = ['gzip', 'none'] as const;
type Compression = (typeof COMPRESSIONS)[number];

/** What commander makes of the options below. */
export interface PushFlags {
  otlpMetrics?: URL;
  otlpHeaders?: Record<string, string>;
  otlpCompression?: Compression;
  remoteWrite?: URL;
  remoteWriteHeaders?: Record<string, string>;
  remoteWriteSigv4?: string;
  pushInterval: number;
  pushSpool: number;
}

const MEBIBYTE = 1_048_576;

/** Adds the options about pushed metrics. Header values are secrets: they come from the environment alone, never from a command line that others see. */
export function addPushOptions(command: Command): Command {
  const option = (flags: string, help: string, variable: string) => new Option(flags, help).env(variable);
  return command
    .addOption(
      option(
        '--otlp-metrics <url>',
        'push metrics by OTLP/HTTP to this URL',
        'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT',
      ).argParser(httpUrl),
    )
    .addOption(
      option('--otlp-headers <list>', 'name=value,…', 'OTEL_EXPORTER_OTLP_METRICS_HEADERS')
        .argParser(headers)
        .hideHelp(),
    )
    .addOption(
      // Not commander's `env`: each signal has a variable of its own.
      new Option(
        '--otlp-compression <kind>',
        'of pushed metrics and traces (default: gzip, env: OTEL_EXPORTER_OTLP_METRICS_COMPRESSION, OTEL_EXPORTER_OTLP_TRACES_COMPRESSION, OTEL_EXPORTER_OTLP_COMPRESSION)',
      ).choices(COMPRESSIONS),
    )
    .addOption(
      option(
        '--remote-write <url>',
        'push metrics by Prometheus remote write to this URL',
        'SIPFLEET_REMOTE_WRITE_URL',
      ).argParser(httpUrl),
    )
    .addOption(
      option('--remote-write-headers <list>', 'name=value,…', 'SIPFLEET_REMOTE_WRITE_HEADERS')
        .argParser(headers)
        .hideHelp(),
    )
    .addOption(
      option(
        '--remote-write-sigv4 <region>',
        'sign remote write for Amazon Managed Prometheus in this region',
        'SIPFLEET_REMOTE_WRITE_SIGV4_REGION',
      ).argParser(region),
    )
    .addOption(
      new Option('--push-interval <duration>', 'time between two pushes').argParser(interval).default(15_000, '15s'),
    )
    .addOption(
      new Option('--push-spool <MiB>', 'most that waits on disk while a receiver is away, for each of them')
        .argParser(mebibytes)
        .default(64 * MEBIBYTE, '64'),
    );
}

/** Throws AgentError USAGE where options contradict each other. Undefined: nothing is pushed. */
export function pushOptionsOf(flags: PushFlags, environment: NodeJS.ProcessEnv = process.env): PushOptions | undefined {
  const { otlpMetrics = generalEndpoint(environment, 'metrics'), remoteWrite, remoteWriteSigv4: sigV4Region } = flags;
  if (sigV4Region !== undefined && !remoteWrite)
    throw new AgentError('USAGE', '--remote-write-sigv4 signs what --remote-write sends: give both');
  if (!otlpMetrics && !remoteWrite) return undefined;
  return {
    intervalMs: flags.pushInterval,
    spoolBytes: flags.pushSpool,
    ...(otlpMetrics && {
      otlp: {
        url: otlpMetrics,
        headers: { ...generalHeaders(environment), ...flags.otlpHeaders },
        gzip: compressed(flags.otlpCompression, environment, 'METRICS'),
        resource: resource(environment),
      },
    }),
    ...(remoteWrite && { remoteWrite: { url: remoteWrite, headers: flags.remoteWriteHeaders ?? {}, sigV4Region } }),
  };
}

/** The endpoint for all signals: each has its path below it (OTLP exporter specification). */
export function generalEndpoint(
  { OTEL_EXPORTER_OTLP_ENDPOINT: base }: NodeJS.ProcessEnv,
  signal: 'metrics' | 'traces',
): URL | undefined {
  if (!base) return undefined;
  const url = `${base.replace(/\/+$/, '')}/v1/${signal}`;
  if (!isHttp(url))
    throw new AgentError(
      'USAGE',
      `OTEL_EXPORTER_OTLP_ENDPOINT: found ${withoutSecrets(base)}; allowed: an http or https URL without user and password`,
    );
  return new URL(url);
}

/** The option, then the variable of the signal, then the one for all signals (OTLP exporter specification). */
export function compressed(
  option: Compression | undefined,
  environment: NodeJS.ProcessEnv,
  signal: 'METRICS' | 'TRACES',
): boolean {
  const variables = [`OTEL_EXPORTER_OTLP_${signal}_COMPRESSION`, 'OTEL_EXPORTER_OTLP_COMPRESSION'];
  // An empty one is as good as none, as everywhere in OpenTelemetry.
  const variable = variables.find((name) => environment[name]);
  const kind = option ?? (variable && environment[variable]) ?? 'gzip';
  if (!COMPRESSIONS.includes(kind as Compression))
    throw new AgentError('USAGE', `${variable}: found ${kind}; allowed: ${COMPRESSIONS.join(', ')}`);
  return kind === 'gzip';
}

/** Headers for all signals. */
export const generalHeaders = ({ OTEL_EXPORTER_OTLP_HEADERS: text }: NodeJS.ProcessEnv): Record<string, string> =>
  text ? headers(text) : {};

/** OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, which wins. */
export function resource({
  OTEL_RESOURCE_ATTRIBUTES: list,
  OTEL_SERVICE_NAME: name,
}: NodeJS.ProcessEnv): Record<string, string> {
  return { ...(list ? pairs(list) : {}), ...(name ? { 'service.name': name } : {}) };
}

/** Without user and password: fetch takes none, and they would stand in every message about it. Headers come from the environment. */
function isHttp(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return /^https?:$/.test(protocol) && username + password === '';
}

export function httpUrl(text: string): URL {
  if (!isHttp(text)) throw new InvalidArgumentError('Allowed: an http or https URL without user and password.');
  return new URL(text);
}

/** `name=value,name=value`, values percent-encoded, as in W3C Baggage and OTLP's environment variables. */
function pairs(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of text.split(',')) {
    if (pair.trim() === '') continue;
    const at = pair.indexOf('=');
    if (at < 1) throw new InvalidArgumentError('Allowed: name=value,name=value.');
    found[pair.slice(0, at).trim()] = decoded(pair.slice(at + 1).trim());
  }
  return found;
}

export function headers(text: string): Record<string, string> {
  const found = Object.entries(pairs(text)).map(([name, value]) => [name.toLowerCase(), value] as const);
  for (const [name, value] of found)
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
      throw new InvalidArgumentError(`${name}: not a header. Allowed: name=value,name=value.`);
  return Object.fromEntries(found);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function region(text: string): string {
  if (!/^[a-z]{2}(-[a-z]+)+-\d$/.test(text))
    throw new InvalidArgumentError('Allowed: an AWS region, such as eu-south-1.');
  return text;
}

function interval(text: string): number {
  const ms = parseDuration(text);
  if (typeof ms !== 'number' || ms < 1000 || ms > 3_600_000) throw new InvalidArgumentError('Allowed: from 1s to 1h.');
  return ms;
}

function mebibytes(text: string): number {
  const value = Number(text);
  if (!/^\d{1,6}$/.test(text) || value < 1)
    throw new InvalidArgumentError('Allowed: a whole number of MiB, at least 1.');
  return value * MEBIBYTE;
}

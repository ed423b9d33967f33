import { Command } from 'commander';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { addPushOptions, type PushFlags, pushOptionsOf } from './push-options.ts';
import type { RecorderFlags } from './recorder-options.ts';
import { addTraceOptions, type TraceFlags, traceOptionsOf } from './trace-options.ts';

afterEach(() => vi.unstubAllEnvs());

function parse(...argv: string[]) {
  const command = addPushOptions(new Command('x').exitOverride().configureOutput({ writeErr: () => {} }));
  return pushOptionsOf(command.parse(argv, { from: 'user' }).opts<PushFlags>());
}

test('nothing is pushed unless asked for', () => {
  expect(parse()).toBeUndefined();
});

test("OpenTelemetry's variables are understood; the one for metrics wins over the one for all signals", () => {
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://collector:4318/');
  vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'Authorization=Basic%20abc,x-tenant=a');
  vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'deployment.environment.name=prod,service.name=edge');
  vi.stubEnv('OTEL_SERVICE_NAME', 'sip-edge');
  expect(parse()?.otlp).toEqual({
    url: new URL('http://collector:4318/v1/metrics'),
    headers: { authorization: 'Basic abc', 'x-tenant': 'a' },
    gzip: true,
    resource: { 'deployment.environment.name': 'prod', 'service.name': 'sip-edge' },
  });
  vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_ENDPOINT', 'https://other/otlp');
  vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_HEADERS', 'x-tenant=b');
  vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_COMPRESSION', 'none');
  expect(parse()?.otlp).toMatchObject({
    url: new URL('https://other/otlp'),
    headers: { authorization: 'Basic abc', 'x-tenant': 'b' },
    gzip: false,
  });
});

describe('compression', () => {
  const [GENERAL, METRICS, TRACES] = ['', 'METRICS_', 'TRACES_'].map((s) => `OTEL_EXPORTER_OTLP_${s}COMPRESSION`);
  /** What metrics and traces are sent as. */
  function kinds(environment: Record<string, string>, ...argv: string[]) {
    const command = addTraceOptions(addPushOptions(new Command('x').exitOverride().configureOutput({ writeErr() {} })));
    const flags = command.parse(argv, { from: 'user' }).opts<PushFlags & TraceFlags & RecorderFlags>();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', ...environment };
    return [pushOptionsOf(flags, env)?.otlp?.gzip, traceOptionsOf(flags, env)?.gzip].map((on) =>
      on ? 'gzip' : 'none',
    );
  }

  test.each([
    ['gzip unless told otherwise', {}, [], ['gzip', 'gzip']],
    ['a variable for all signals', { [GENERAL!]: 'none' }, [], ['none', 'none']],
    ['one for metrics, not of traces', { [METRICS!]: 'none' }, [], ['none', 'gzip']],
    ['one for traces, not of metrics', { [TRACES!]: 'none' }, [], ['gzip', 'none']],
    ["a signal's wins over the one for all", { [GENERAL!]: 'none', [TRACES!]: 'gzip' }, [], ['none', 'gzip']],
    ['an empty one is none', { [GENERAL!]: 'none', [METRICS!]: '' }, [], ['none', 'none']],
    ['the option wins over all', { [METRICS!]: 'gzip', [GENERAL!]: 'gzip' }, ['none'], ['none', 'none']],
  ])('%s', (_, environment, option, expected) => {
    expect(kinds(environment, ...option.flatMap((kind) => ['--otlp-compression', kind]))).toEqual(expected);
  });

  test('one that is not known is named', () => {
    expect(() => kinds({ [TRACES!]: 'zstd' })).toThrow(`${TRACES}: found zstd; allowed: gzip, none`);
    expect(() => kinds({}, '--otlp-compression', 'zstd')).toThrow(/gzip, none/);
  });
});

test('remote write, with its headers from the environment, an interval and a limit of the disk', () => {
  vi.stubEnv('SIPFLEET_REMOTE_WRITE_HEADERS', 'X-Scope-OrgID=milan');
  expect(parse('--remote-write', 'http://p:9090/api/v1/write', '--push-interval', '30s', '--push-spool', '2')).toEqual({
    intervalMs: 30_000,
    spoolBytes: 2 * 1024 * 1024,
    remoteWrite: {
      url: new URL('http://p:9090/api/v1/write'),
      headers: { 'x-scope-orgid': 'milan' },
      sigV4Region: undefined,
    },
  });
});

test.each([
  [['--remote-write', 'ftp://x'], /an http or https URL/],
  [['--otlp-metrics', 'https://user:pass@x'], /an http or https URL without user/],
  [['--remote-write-sigv4', 'eu-south-1'], /give both/],
  [['--remote-write', 'http://x', '--remote-write-sigv4', 'Milan'], /an AWS region/],
  [['--otlp-metrics', 'http://x', '--otlp-headers', 'a b=c'], /not a header/],
  [['--push-interval', '10ms'], /from 1s to 1h/],
  [['--push-spool', '0'], /at least 1/],
])('%j is refused', (argv, reason) => {
  expect(() => parse(...argv)).toThrow(reason);
});

test('an endpoint that is none is named', () => {
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'collector');
  expect(() => parse()).toThrow('OTEL_EXPORTER_OTLP_ENDPOINT: found collector');
});

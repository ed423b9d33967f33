import { networkInterfaces } from 'node:os';
import { acceptsCode, type Check, callOf, forBackend } from '@sipfleet/contract';
import type { AudioBounds } from '../media/quality.ts';
import { SAMPLES } from '../media/samples.ts';
import { melody } from '../media/tone.ts';
import type { ProbeTap, Secrets } from '../ports.ts';
import { placeCall, register } from './call/call.ts';
import type { ProbeOptions } from './call/options.ts';
import type { CallResult } from './call/result.ts';
import { hostPort, type ProbeOutcome, type Prober, type ProbeTarget } from './probe.ts';

/** `register`: the credentials of the check register at the backend, and are taken back. */
export function createRegisterProber(secrets: () => Secrets): Prober {
  return async (target, signal, tap) => {
    const { check } = target;
    const credentials = credentialsOf(check, secrets());
    if (typeof credentials === 'string') return inconclusive(credentials);
    const from = forBackend(check.from ?? `sip:${encodeURIComponent(credentials?.username ?? '')}@HOST`, target);
    const registrar = hostPort(target);
    const result = await register(
      { ...common(target, tap), from, registrar, proxy: registrar, ...(credentials && { credentials }) },
      signal,
    );
    return outcomeOf(result, check);
  };
}

/** `call`: the article's check_sip. HOST and PORT become the backend's, and all goes to the backend unless the call names a proxy. */
export function createCallProber(secrets: () => Secrets): Prober {
  return async (target, signal, tap) => {
    const { check } = target;
    const credentials = credentialsOf(check, secrets());
    if (typeof credentials === 'string') return inconclusive(credentials);
    const call = callOf(check);
    const filled = (text: string): string => forBackend(text, target);
    const answerMs = Math.min(target.timeoutMs, call.timeout === undefined ? target.timeoutMs : call.timeout * 1000);
    const result = await placeCall(
      {
        ...common(target, tap),
        timeoutMs: answerMs,
        from: filled(call.from),
        to: filled(call.to),
        proxy: call.proxy === undefined ? hostPort(target) : filled(call.proxy),
        ...registrarOf(call, filled),
        ...(call.send.length > 0 && { send: call.send.map(audioOf) }),
        ...(call.expectAudio && { expectAudio: boundsOf(call) }),
        ...(credentials && { credentials }),
        acceptedCodes: codesOf(check),
      },
      signal,
    );
    return outcomeOf(result, check);
  };
}

function common(target: ProbeTarget, tap: ProbeTap | undefined): Omit<ProbeOptions, 'from'> {
  const { timeoutMs, transport, localAddress } = target;
  // A standby does not hold the listener's address yet; it still has to know which backends live.
  const leg = isOwn(localAddress) ? { leg: localAddress.includes(':') ? `[${localAddress}]` : localAddress } : {};
  const tls = transport === 'tls' && { tls: tlsOf(target) };
  return { timeoutMs, deadlineMs: timeoutMs, transport, ...leg, ...tls, ...(tap && { tap }) };
}

function tlsOf({ tls }: ProbeTarget): NonNullable<ProbeOptions['tls']> {
  return { insecure: tls?.verify === false, ...(tls?.ca !== undefined && { ca: tls.ca }) };
}

const isOwn = (address: string): boolean =>
  address.startsWith('127.') ||
  Object.values(networkInterfaces()).some((list) => list?.some((found) => found.address === address));

/** The command registers where it is told to, else at its proxy; a call without either does not register. */
function registrarOf(
  { registrar, proxy }: { registrar?: string; proxy?: string },
  filled: (text: string) => string,
): Pick<ProbeOptions, 'registrar'> {
  if (registrar !== undefined) return { registrar: registrar === '-' ? false : filled(registrar) };
  return proxy === undefined ? { registrar: false } : {};
}

function boundsOf({ minLevel, maxLoss }: { minLevel?: number; maxLoss?: number }): AudioBounds {
  return {
    ...(minLevel !== undefined && { minLevelDb: minLevel }),
    ...(maxLoss !== undefined && { maxLoss: maxLoss / 100 }),
  };
}

const audio = new Map<string, Uint8Array>();
/** One of the sounds that the agent has, as PCMU: made once, played by every call. */
function audioOf(name: string): Uint8Array {
  const known = audio.get(name) ?? melody(SAMPLES[name] ?? []);
  audio.set(name, known);
  return known;
}

function credentialsOf(check: Check, secrets: Secrets): { username: string; password: string } | string | undefined {
  if (check.credentials === undefined) return undefined;
  const { username, password } = secrets.get(check.credentials) ?? {};
  if (username === undefined || password === undefined)
    return `the Secret ${check.credentials} with username and password is not there`;
  return { username, password };
}

/** Every code that counts as success beside the 2xx. */
function codesOf({ codes }: Check): number[] {
  return (codes ?? []).flatMap((code) =>
    typeof code === 'number' ? [code] : Array.from({ length: 100 }, (_, i) => Number(code[0]) * 100 + i),
  );
}

const inconclusive = (evidence: string): ProbeOutcome => ({ result: 'inconclusive', evidence });

const RESULTS = { ok: 'success', warning: 'success', critical: 'failure', unknown: 'inconclusive' } as const;

function outcomeOf({ verdict, phase, reason, code, phases }: CallResult, { codes }: Check): ProbeOutcome {
  const accepted = verdict === 'critical' && code !== undefined && acceptsCode(codes, code, () => false);
  const last = phase ?? (Object.keys(phases).at(-1) as typeof phase);
  return {
    result: accepted ? 'success' : RESULTS[verdict],
    evidence: reason.slice(0, 200),
    phases,
    ...(last !== undefined && { phase: last }),
  };
}

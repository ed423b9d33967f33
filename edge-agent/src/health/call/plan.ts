import { isIP } from 'node:net';
import { AgentError } from '../../errors.ts';
import { defaultTone } from '../../media/tone.ts';
import { type Place, placeOf } from './locate.ts';
import { type CallOptions, limitsOf, type ProbeOptions, type ProbeTransport, type RegisterOptions } from './options.ts';

/** Options, checked once. */
export interface ProbePlan {
  from: Place;
  transport: ProbeTransport;
  /** Where requests go. */
  target: Place;
  /** Where REGISTER goes; undefined: nowhere. */
  registrar: Place | undefined;
  leg: { address: string; port: number } | undefined;
  timeoutMs: number;
  deadlineMs: number;
}

export interface CallPlan extends ProbePlan {
  /** URIs without brackets. */
  fromUri: string;
  toUri: string;
  files: readonly Uint8Array[];
}

/** @throws {AgentError} USAGE, naming what was found and what is allowed. */
export function planCall(options: CallOptions): CallPlan {
  const fromUri = sipUri('FROM', options.from);
  const from = placeOf(fromUri) as Place;
  const toUri = sipUri('TO', /^[^@:\s]+$/.test(options.to) ? `${options.to}@${hostPart(fromUri)}` : options.to);
  const files = options.send?.length ? options.send : [defaultTone()];
  const proxy = place('proxy', options.proxy);
  const target = proxy ?? (placeOf(toUri) as Place);
  return { ...planProbe(options, from, target, files), fromUri, toUri, files };
}

/** @throws {AgentError} USAGE */
export function planRegister(options: RegisterOptions): ProbePlan {
  const from = placeOf(sipUri('FROM', options.from)) as Place;
  const proxy = place('proxy', options.proxy);
  const plan = planProbe(options, from, proxy ?? from, []);
  return { ...plan, registrar: plan.registrar ?? from };
}

function planProbe(options: ProbeOptions, from: Place, target: Place, files: readonly Uint8Array[]): ProbePlan {
  const { timeoutMs, deadlineMs } = limitsOf(options, files);
  if (!(timeoutMs > 0)) throw usage('timeout', `${timeoutMs} ms`, 'more than 0');
  if (!(deadlineMs > 0)) throw usage('deadline', `${deadlineMs} ms`, 'more than 0');
  const registrar = options.registrar === false ? undefined : place('registrar', options.registrar ?? options.proxy);
  return {
    from,
    transport: options.transport ?? target.transport ?? 'udp',
    target,
    registrar,
    leg: options.leg === undefined ? undefined : legOf(options.leg),
    timeoutMs,
    deadlineMs,
  };
}

/** A URI that can be written into a message as it is. */
function sipUri(what: string, text: string): string {
  const uri = /^sips?:/i.test(text) ? text : `sip:${text}`;
  if (/[\s<>",\\]|[^\x21-\x7e]/.test(uri) || placeOf(uri) === undefined)
    throw usage(what, text, 'a SIP URI such as sip:30@192.0.2.4');
  return uri.replace(/\?.*$/, '');
}

const hostPart = (uri: string): string =>
  uri
    .replace(/^sips?:/i, '')
    .replace(/^[^@]*@/, '')
    .replace(/[;?].*$/, '');

function place(what: string, text: string | undefined): Place | undefined {
  if (text === undefined) return undefined;
  const bracketed = isIP(text) === 6 ? `[${text}]` : text;
  const found = placeOf(/^sips?:/i.test(bracketed) ? bracketed : `sip:${bracketed}`);
  if (!found || /[\s<>",]/.test(text)) throw usage(what, text, 'host[:port], an IPv6 address in brackets');
  return found;
}

function legOf(text: string): { address: string; port: number } {
  const found = place('leg', text);
  if (!found || isIP(found.host) === 0) throw usage('leg', text, 'an IP address of this host, with or without :port');
  return { address: found.host, port: found.port };
}

const usage = (what: string, found: string, allowed: string): AgentError =>
  new AgentError('USAGE', `${what}: found ${JSON.stringify(found)}, allowed: ${allowed}`);

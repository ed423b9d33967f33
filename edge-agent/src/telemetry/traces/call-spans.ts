import { isFailure } from '../recorder/judge.ts';
import { type Decision, headerOf, type KeptCall } from '../recorder/kept-call.ts';
import { type Attempt, exchangesOf, type KeptExchange } from './exchanges.ts';
import { spanOf, spanOfBranch, type TraceRef } from './ids.ts';
import type { SipParts } from './sip-parts.ts';
import { endAttributes, type SpanAttributes, type SpanDraft, type SpanEvent, transportAttributes } from './span.ts';

/** Timers B and F: who has not answered by then does not answer (RFC 3261 §17.1). */
const SILENCE_MS = 32_000;

export interface CallSpans {
  /** Transactions that are over and their attempts. */
  finished: SpanDraft[];
  root: SpanDraft;
  /** Nothing more is to be expected: the call was set up in vain, or hung up. */
  over: boolean;
}

/**
 * A kept call as spans: call → transactions → attempts at a target. `now`: milliseconds since the epoch.
 *
 * @example
 *   call
 *     INVITE                sip.decision.candidates=[pbx1, pbx2]
 *       INVITE pbx1         sip.failover.cause=status 503
 *       INVITE pbx2
 *     BYE
 *       BYE pbx2
 */
export function spansOf(call: KeptCall, now: number): CallSpans {
  const exchanges = exchangesOf(call.messages);
  const ended = exchanges.filter((x) => endOf(x, now) !== undefined);
  return {
    finished: ended.flatMap((x) => [transactionSpan(call, x, now), ...attemptSpans(call, x, now)]),
    root: rootSpan(call, exchanges, now),
    over: isOver(exchanges, now),
  };
}

function isOver(exchanges: readonly KeptExchange[], now: number): boolean {
  const open = exchanges.some((x) => endOf(x, now) === undefined);
  if (exchanges.length === 0 || open) return false;
  if (exchanges.some((x) => x.request.method === 'BYE')) return true;
  return exchanges.every((x) => !x.request.inDialog && !isEstablished(x));
}

const isEstablished = (exchange: KeptExchange): boolean =>
  exchange.request.method === 'INVITE' && (answerOf(exchange)?.status ?? 999) < 300;

/** The final response to a request, not to its CANCEL. */
const finalOf = (beside: readonly SipParts[], method: string): SipParts | undefined =>
  beside.find((p) => p.status >= 200 && p.method === method);

const answerOf = ({ request, beside }: KeptExchange): SipParts | undefined => finalOf(beside, request.method);

/** Undefined: it goes on. */
function endOf(exchange: KeptExchange, now: number): number | undefined {
  const { request, attempts, beside } = exchange;
  const final = answerOf(exchange) ?? ownAnswer(exchange);
  if (final) return final.message.at;
  const rings = beside.some((p) => p.status > 100) || attempts.some((a) => a.beside.some((p) => p.status > 100));
  const silent = request.message.at + SILENCE_MS;
  return !rings && silent <= now ? silent : undefined;
}

/** Of a request that the agent made itself, or whose arrival is not on record: what its attempt brought. */
const ownAnswer = ({ request, attempts }: KeptExchange): SipParts | undefined =>
  request.message.sent ? finalOf(attempts[0]?.beside ?? [], request.method) : undefined;

function rootSpan(call: KeptCall, exchanges: readonly KeptExchange[], now: number): SpanDraft {
  const { traceId, spanId, callId, farm, reasons, results, dialogStart } = call;
  const first = exchanges[0]?.request;
  const start = Math.min(first?.message.at ?? call.startedAt, dialogStart ?? Number.POSITIVE_INFINITY);
  const failed = reasons.find((reason) => reason === 'failed' || reason === 'no_bye_answer');
  return {
    traceId,
    spanId,
    parentId: undefined,
    name: call.method === 'REGISTER' ? 'registration' : 'call',
    kind: 'internal',
    start,
    end: Math.max(start, ...exchanges.map((x) => endOf(x, now) ?? x.request.message.at)),
    attributes: {
      'network.protocol.name': 'sip',
      'sip.call_id': callId,
      'sip.farm': farm,
      ...(first && partiesOf(first)),
      'sip.kept_because': [...reasons],
      'sip.results': [...results],
      // It began at another agent, or its beginning is no longer on record.
      ...(first?.inDialog && { 'sip.dialog.joined': true }),
    },
    events: [],
    error: failed,
    link: first && linkOf(first),
  };
}

/** A PBX that traces and begins a call names its own trace, or passes on ours of the call that it got: the other leg. A client's word counts for nothing. */
function linkOf({ message }: SipParts): TraceRef | undefined {
  if (message.backend === undefined || message.sent) return undefined;
  const [, traceId, spanId] = TRACE_PARENT.exec(headerOf(message, 'traceparent') ?? '') ?? [];
  return traceId === undefined || spanId === undefined ? undefined : { traceId, spanId };
}
/** Version 00, and whatever later versions append; ids of zeros are none. */
const TRACE_PARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:$|-)/;

function partiesOf({ message }: SipParts): SpanAttributes {
  const uri = (value: string | undefined): string =>
    (value && (/<([^>]*)>/.exec(value)?.[1] ?? value.split(';')[0])) || '';
  return { 'sip.from': uri(headerOf(message, 'from', 'f')), 'sip.to': uri(headerOf(message, 'to', 't')) };
}

function transactionSpan(call: KeptCall, exchange: KeptExchange, now: number): SpanDraft {
  const { request, cause, attempts, beside } = exchange;
  const { message, method, cseq } = request;
  const final = answerOf(exchange) ?? ownAnswer(exchange);
  const status = final?.status ?? 0;
  const { revision, decision } = message;
  return {
    traceId: call.traceId,
    spanId: spanOf(call.traceId, `${method} ${cseq} ${request.sentBy} ${request.branches[0]}`),
    parentId: cause ? attemptId(call, cause) : call.spanId,
    name: method,
    kind: message.sent ? 'internal' : 'server',
    start: message.at,
    end: endOf(exchange, now) ?? message.at,
    attributes: {
      ...transportAttributes(message.transport),
      ...endAttributes('network.peer', message.remote),
      ...endAttributes('server', message.local),
      'sip.method': method,
      'sip.cseq': cseq,
      'sip.call_id': call.callId,
      'sip.farm': call.farm,
      'sip.attempts': attempts.length,
      ...(status > 0 && { 'sip.response.status_code': status }),
      ...(message.backend !== undefined && { 'sip.source_backend': message.backend }),
      ...backendOf(attempts),
      ...(revision !== undefined && { 'sip.config.revision': revision }),
      ...(decision ? decisionAttributes(decision) : { 'sip.decision': 'dialog' }),
    },
    events: beside.filter((p) => p !== final).map(eventOf),
    error: errorOf(status),
  };
}

/** That of the last attempt; none where it went to a client. */
function backendOf(attempts: readonly Attempt[]): SpanAttributes {
  const backend = attempts.at(-1)?.request.message.backend;
  return backend === undefined ? {} : { 'sip.backend': backend };
}

function decisionAttributes({ strategy, key, bucket, candidates, excluded, notes }: Decision): SpanAttributes {
  return {
    'sip.decision': strategy,
    ...(key !== undefined && { 'sip.decision.key': key }),
    ...(bucket !== undefined && { 'sip.decision.bucket': bucket }),
    'sip.decision.candidates': candidates,
    'sip.decision.excluded': excluded,
    ...(notes.length > 0 && { 'sip.decision.notes': [...notes] }),
  };
}

function attemptSpans(call: KeptCall, exchange: KeptExchange, now: number): SpanDraft[] {
  const { request, attempts } = exchange;
  const parentId = spanOf(call.traceId, `${request.method} ${request.cseq} ${request.sentBy} ${request.branches[0]}`);
  const end = endOf(exchange, now) ?? request.message.at;
  return attempts.map((attempt, i) => {
    const { message, method } = attempt.request;
    const final = finalOf(attempt.beside, method);
    const next = attempts[i + 1]?.request.message.at;
    const cause = next === undefined ? undefined : causeOf(attempt, final, next);
    const status = final?.status ?? 0;
    return {
      traceId: call.traceId,
      spanId: attemptId(call, attempt),
      parentId,
      name: `${method} ${message.backend ?? 'client'}`,
      kind: 'client',
      start: message.at,
      end: Math.max(message.at, final?.message.at ?? next ?? end),
      attributes: {
        ...transportAttributes(message.transport),
        ...endAttributes('network.peer', message.remote),
        ...endAttributes('server', message.remote),
        ...endAttributes('network.local', message.local),
        'sip.method': method,
        'sip.farm': call.farm,
        'sip.attempt': i + 1,
        ...(message.backend !== undefined && { 'sip.backend': message.backend }),
        ...(status > 0 && { 'sip.response.status_code': status }),
        ...(cause !== undefined && { 'sip.failover.cause': cause }),
      },
      events: attempt.beside.filter((p) => p !== final).map(eventOf),
      error: cause ?? errorOf(status),
    };
  });
}

const attemptId = (call: KeptCall, { request: { branches } }: Attempt): string =>
  spanOfBranch(branches[0] as string) ?? spanOf(call.traceId, branches[0] as string);

/** Sooner than any patience that a farm can have: an ICMP message, a refused or lost connection. */
const AT_ONCE_MS = 100;

/** Why an attempt was given up for the next one. */
function causeOf({ request, beside }: Attempt, final: SipParts | undefined, next: number): string {
  if (final && final.message.at <= next) return `status ${final.status}`;
  if (beside.some((p) => p.status >= 100 && p.message.at <= next)) return 'no progress';
  return next - request.message.at < AT_ONCE_MS ? 'unreachable' : 'timeout';
}

/** Undefined: ordinary life. */
const errorOf = (status: number): string | undefined =>
  isFailure(status) ? (status === 0 ? 'timeout' : String(status)) : undefined;

function eventOf({ message, method, status, reason }: SipParts): SpanEvent {
  const name = `${message.sent ? 'sent' : 'received'} ${status === 0 ? method : status}`;
  const attributes = status === 0 ? {} : { 'sip.response.status_code': status, 'sip.response.reason': reason };
  return { at: message.at, name, attributes: { 'sip.method': method, ...attributes } };
}

import type { Hono } from 'hono';
import type { FlightRecorder } from './recorder/flight-recorder.ts';
import { headerOf, type KeptCall } from './recorder/kept-call.ts';
import { fullText, ladder } from './recorder/ladder.ts';
import { pcap } from './recorder/pcap.ts';

/** One call as `/v1/calls` lists it. */
export interface CallSummary {
  callId: string;
  farm: string;
  method: string;
  from: string;
  to: string;
  backends: string[];
  reasons: string[];
  results: string[];
  /** RFC 3339. */
  startedAt: string;
  seconds: number;
  messages: number;
  traceId: string;
}

/** Why a request goes where it goes. */
export interface DecisionView {
  farm: string;
  /** Of the plan that the answer is by. */
  generation: number;
  etag: string;
  request: string;
  /** Backends that it went to, in order; of a question about the present none. */
  went: string[];
  strategy: string;
  key: string | null;
  bucket: number | null;
  candidates: readonly object[];
  notes: readonly string[];
}

/** What the routes about calls read. */
export interface CallSource {
  /** Undefined where nothing is recorded. */
  recorder(): FlightRecorder | undefined;
  explainCall(call: KeptCall): DecisionView[];
  explainUser(user: string, farm: string | undefined): DecisionView[];
  traffic(): readonly object[];
  /** A kept call as HEP packets. */
  hep(call: KeptCall): Buffer;
  /** A user as it stands in kept messages. */
  hashed(user: string): string;
}

const MOST = 500;

/** Routes about calls: `/v1/calls` (those that the flight recorder kept), one of them as JSON, ladder, text or capture file; `/v1/explain`; `/v1/traffic`. */
export function addCallRoutes(app: Hono, source: CallSource): void {
  const recorder = () => source.recorder();
  app.get('/v1/calls', (c) => {
    const failed = c.req.query('failed') !== undefined;
    const asked = c.req.query('user');
    const user = asked && inMessages(asked, source.hashed);
    const calls = (recorder()?.list() ?? [])
      .filter((call) => !failed || call.reasons.some((reason) => reason !== 'sampled'))
      .map(summaryOf)
      .filter(({ from, to }) => !user || isUser(from, user) || isUser(to, user));
    return c.json({ recording: recorder() !== undefined, calls: calls.slice(0, MOST) });
  });
  app.get('/v1/traffic', (c) => c.json(source.traffic()));
  app.get('/v1/explain', (c) => {
    const user = c.req.query('user');
    if (!user) return c.json({ error: 'user: missing; allowed: the user part of a URI, or user@domain' }, 400);
    return c.json(source.explainUser(user, c.req.query('farm')));
  });
  app.get('/v1/calls/:callId/:as{ladder|text|pcap|hep|explain}?', (c) => {
    const call = recorder()?.find(c.req.param('callId'));
    if (call === undefined) return c.json({ error: 'no such call is kept' }, 404);
    switch (c.req.param('as')) {
      case 'ladder':
        return c.text(ladder(call));
      case 'text':
        return c.text(fullText(call));
      case 'explain':
        return c.json(source.explainCall(call));
      case 'pcap':
        return c.body(new Uint8Array(pcap(call)), 200, { 'content-type': 'application/vnd.tcpdump.pcap' });
      case 'hep':
        return c.body(new Uint8Array(source.hep(call)), 200, { 'content-type': 'application/octet-stream' });
      default:
        return c.json({ ...summaryOf(call), log: call.messages.map(messageOf) });
    }
  });
}

/** A user, or a URI that holds one, with the user as it stands in kept messages. */
function inMessages(asked: string, hashed: (user: string) => string): string {
  const [, scheme, user, rest] = /^(sips?:)([^@;]+)(@.*)$/i.exec(asked) ?? [];
  return user === undefined ? hashed(asked) : `${scheme}${hashed(user)}${rest}`;
}

const messageOf = (m: KeptCall['messages'][number]) => ({
  at: new Date(m.at).toISOString(),
  direction: m.sent ? 'sent' : 'received',
  transport: m.transport,
  local: m.local,
  remote: m.remote,
  backend: m.backend ?? null,
  text: m.bytes.toString('utf8'),
});

function summaryOf(call: KeptCall): CallSummary {
  const { callId, farm, method, reasons, results, startedAt, updatedAt, messages, traceId } = call;
  const [first] = messages;
  return {
    callId,
    farm,
    method,
    from: (first && uriOf(headerOf(first, 'from', 'f'))) ?? '',
    to: (first && uriOf(headerOf(first, 'to', 't'))) ?? '',
    backends: [...new Set(messages.flatMap((m) => m.backend ?? []))],
    reasons,
    results,
    startedAt: new Date(startedAt).toISOString(),
    seconds: Math.round(updatedAt - startedAt) / 1000,
    messages: messages.length,
    traceId,
  };
}

/** `"Bonnie" <sip:bonnie@example.com>;tag=1` → `sip:bonnie@example.com` */
const uriOf = (value: string | undefined): string | undefined =>
  value && (/<([^>]*)>/.exec(value)?.[1] ?? value.split(';')[0]);
const isUser = (uri: string, user: string): boolean => uri === user || /^sips?:([^@;]+)@/i.exec(uri)?.[1] === user;

import { randomBytes } from 'node:crypto';
import type { AddSpans } from './call-traces.ts';
import { endAttributes, type SpanAttributes, type SpanDraft, transportAttributes } from './span.ts';

/** A finished probe and what it was sent to. */
export interface ProbedCheck {
  farm: string;
  backend: string;
  check: string;
  /** `10.0.0.11:5060`; undefined: the plan has no such backend any more. */
  peer: string | undefined;
  transport: string | undefined;
  result: string;
  evidence: string;
  seconds: number;
  /** Where it was decided. */
  phase?: string | undefined;
  phases?: Readonly<Record<string, ProbedPhase>> | undefined;
}

export interface ProbedPhase {
  ok: boolean;
  ms: number;
  code?: number;
  evidence?: string;
}

export interface CheckTraceOptions {
  add: AddSpans;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Share of probes that are kept beside those that say something new. */
  sampled: number;
  random(): number;
}

/** A check that goes on failing is told so often: a dead farm must not take the budget of the calls. */
const REPEAT_MS = 60_000;

/** Traces of probes: where a check's result changed, once a minute while it fails, and a sampled share of the rest. */
export class CheckTraces {
  readonly #options: CheckTraceOptions;
  readonly #last = new Map<string, { result: string; told: number }>();

  constructor(options: CheckTraceOptions) {
    this.#options = options;
  }

  probed(check: ProbedCheck): void {
    const { now, sampled, random, add } = this.#options;
    const key = `${check.farm}/${check.backend}/${check.check}`;
    const before = this.#last.get(key);
    const { result } = check;
    const changed = before === undefined ? result === 'failure' : before.result !== result;
    const again = result === 'failure' && before !== undefined && now() - before.told >= REPEAT_MS;
    const tell = changed || again || random() < sampled;
    this.#last.set(key, { result, told: tell ? now() : (before?.told ?? 0) });
    if (tell) add(checkSpans(check, now()));
  }

  /** Checks of the running plan: what is known of others is forgotten. */
  retain(farms: readonly { name: string; backends: readonly { name: string }[] }[]): void {
    const named = new Set(farms.flatMap((f) => f.backends.map((b) => `${f.name}/${b.name}`)));
    for (const key of this.#last.keys()) if (!named.has(key.slice(0, key.lastIndexOf('/')))) this.#last.delete(key);
  }
}

/** check → its phases, one after the other. `end`: milliseconds since the epoch. */
export function checkSpans(check: ProbedCheck, end: number): SpanDraft[] {
  const traceId = randomBytes(16).toString('hex');
  const { farm, backend, peer, transport, result, evidence, phase, phases = {} } = check;
  const common: SpanAttributes = {
    ...(transport !== undefined && transportAttributes(transport)),
    ...(peer !== undefined && { ...endAttributes('network.peer', peer), ...endAttributes('server', peer) }),
    'sip.farm': farm,
    'sip.backend': backend,
    'sip.check': check.check,
  };
  const start = end - check.seconds * 1000;
  const root: SpanDraft = {
    traceId,
    spanId: newSpan(),
    parentId: undefined,
    name: `check ${check.check}`,
    kind: 'client',
    start,
    end,
    attributes: {
      ...common,
      'sip.check.result': result,
      'sip.check.evidence': evidence,
      ...(phase !== undefined && { 'sip.check.phase': phase }),
    },
    events: [],
    error: result === 'failure' ? (phase ?? 'probe') : undefined,
  };
  let at = start;
  const children = Object.entries(phases).map(([name, { ok, ms, code, evidence: seen }]): SpanDraft => {
    const from = at;
    at = Math.min(end, at + ms);
    return {
      traceId,
      spanId: newSpan(),
      parentId: root.spanId,
      name,
      kind: 'client',
      start: from,
      end: at,
      attributes: {
        ...common,
        ...(code !== undefined && { 'sip.response.status_code': code }),
        ...(seen !== undefined && { 'sip.check.evidence': seen }),
      },
      events: [],
      error: ok ? undefined : String(code ?? 'failed'),
    };
  });
  return [root, ...children];
}

const newSpan = (): string => randomBytes(8).toString('hex');

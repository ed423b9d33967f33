import { type FarmPlan, STATE } from '../plan.ts';
import type { Endpoint } from '../ports.ts';
import { MessageView, PARSE } from '../sip/message.ts';
import { METHOD } from '../sip/method.ts';
import { UriView } from '../sip/uri.ts';
import { affinityHash } from './key.ts';
import { Lag } from './lag.ts';
import { NOBODY, NONE, Pool } from './pool.ts';
import { bucketOf, NO_CANDIDATE, RANKS } from './rendezvous.ts';

/** One backend as a candidate for a request. */
export interface Candidate {
  backend: string;
  /** 1 is asked first; null: not ranked for this key (turns, or beyond the ranks that are kept). */
  rank: number | null;
  priority: number;
  weight: number;
  /** Dialogs that go on there, as far as this agent knows. */
  sessions: number;
  chosen: boolean;
  /** Why it is not the one, or might not be; null: nothing speaks against it. */
  excluded: string | null;
}

/** Why a request goes where it goes, by the plan and the states of now. */
export interface Explanation {
  strategy: string;
  /** `user`, `domain`, `header:x-tenant` …; null where the strategy uses none. */
  key: string | null;
  bucket: number | null;
  candidates: Candidate[];
  notes: string[];
}

const STATE_NAMES = Object.keys(STATE);

/**
 * What the balancer does with a request outside of any dialog, step by step, on behalf of whoever asks why. `source`: index of the backend that
 * sent it, −1 for a client; `now` in seconds since the epoch. Undefined where the request cannot be read.
 */
export function explain(
  farm: FarmPlan,
  request: Uint8Array,
  from: Endpoint,
  source: number,
  now: number,
): Explanation | undefined {
  const message = new MessageView();
  const uri = new UriView();
  if (message.parse(request, 0, request.length) !== PARSE.ok || !message.isRequest) return undefined;
  if (!uri.parse(request, message.uriStart, message.uriEnd)) return undefined;
  if (farm.strategy !== 'hash') return inTurn(farm, source);
  const hash = affinityHash(farm.key, message, uri, from);
  const pool = new Pool(farm);
  const lag = new Lag(farm, pool);
  const held = lag.holds(message.method, now);
  const formerly = held ? lag.whereRegistered(message, uri, from, hash, source, now, NOBODY) : NONE;
  const chosen = formerly !== NONE ? formerly : pool.byHash(hash, source);
  const notes = [];
  if (held && lag.before.some(({ until }) => until > now))
    notes.push('the candidate order changed lately: a user is first looked for where the orders of before had it');
  if (held && chosen !== pool.byHash(hash, source))
    notes.push('a backend came back or drains: users are looked for where they registered meanwhile');
  if (message.method !== METHOD.INVITE && message.method !== METHOD.REGISTER)
    notes.push('answers to a challenge go to the backend that made it');
  const ranked = ranksOf(farm, hash);
  const { kind, header } = farm.key;
  return {
    strategy: farm.strategy,
    key: kind === 'header' ? `header:${header}` : kind,
    bucket: bucketOf(hash),
    candidates: candidates(farm, ranked, source, chosen),
    notes,
  };
}

function inTurn(farm: FarmPlan, source: number): Explanation {
  const notes = [
    farm.strategy === 'least-sessions'
      ? 'the backend with the fewest sessions for its weight, in the first tier that serves'
      : 'the next backend in turn by weight, in the first tier that serves',
    'a call keeps its backend: retransmissions, CANCEL and the answer to a challenge follow',
  ];
  return { strategy: farm.strategy, key: null, bucket: null, candidates: candidates(farm, [], source, NONE), notes };
}

/** Indices of the backends in the order in which a key's bucket asks them. */
function ranksOf(farm: FarmPlan, hash: number): number[] {
  const at = bucketOf(hash) * RANKS;
  const row = [...new Uint8Array(farm.candidates).subarray(at, at + RANKS)];
  const end = row.indexOf(NO_CANDIDATE);
  return end < 0 ? row : row.slice(0, end);
}

function candidates(farm: FarmPlan, ranked: readonly number[], source: number, chosen: number): Candidate[] {
  const states = new Uint8Array(farm.states);
  const sessions = new Int32Array(farm.sessions);
  const rest = farm.backends.map((_, i) => i).filter((i) => !ranked.includes(i));
  return [...ranked, ...rest].map((i) => {
    const { name, priority, weight, drain } = farm.backends[i]!;
    const why = [
      ...(i === source ? ['it sent the request itself'] : []),
      ...(states[i] === STATE.down ? [`it is ${STATE_NAMES[STATE.down]}`] : []),
      ...(drain ? ['it drains'] : []),
      ...(weight === 0 ? ['its weight is 0'] : []),
    ];
    const rank = ranked.indexOf(i);
    return {
      backend: name,
      rank: rank < 0 ? null : rank + 1,
      priority,
      weight,
      sessions: sessions[i] ?? 0,
      chosen: i === chosen,
      excluded: why.length > 0 ? why.join(', ') : null,
    };
  });
}

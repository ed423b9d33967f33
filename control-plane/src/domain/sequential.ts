/**
 * Is one group worse than another? Asked again after every report, for as long as a rollout lasts, without ever being wrong more
 * often than promised: an e-process for two streams of yes/no outcomes (Turner, Ly and Grünwald, "Generic E-variables for exact
 * sequential k-sample tests", 2021). docs/adr/0009-rollout-gate.md proves it in four lines and says why it is not Wald's SPRT.
 */

/** Outcomes of one group: `bad` of `n`. */
export interface Counts {
  readonly n: number;
  readonly bad: number;
}

/** What has been seen so far of one measure. Plain data: it is stored between two looks. */
export interface Evidence {
  /** One logarithm of an e-process per effect of {@link EFFECTS}. */
  readonly logs: readonly number[];
  readonly moved: Counts;
  readonly others: Counts;
  /** Seen, and not in `logs` yet: a comparison needs both groups. */
  readonly pending: { readonly moved: Counts; readonly others: Counts };
}

/** By how much the moved group may be worse, as a difference of proportions: a little, clearly, an outage. Each gets a third of the bet. */
export const EFFECTS = [0.05, 0.2, 0.6] as const;

const NONE: Counts = { n: 0, bad: 0 };
export const NO_EVIDENCE: Evidence = {
  logs: EFFECTS.map(() => 0),
  moved: NONE,
  others: NONE,
  pending: { moved: NONE, others: NONE },
};

const add = (a: Counts, b: Counts): Counts => ({ n: a.n + b.n, bad: a.bad + b.bad });

/** Takes what both groups did since the last look. The order of looks does not matter, and neither does how many there are. */
export function observe(evidence: Evidence, moved: Counts, others: Counts): Evidence {
  const pending = { moved: add(evidence.pending.moved, moved), others: add(evidence.pending.others, others) };
  if (pending.moved.n === 0 || pending.others.n === 0) return { ...evidence, pending };
  return {
    // The bet on a block is made of earlier blocks alone: else it would know the outcome.
    logs: evidence.logs.map((log, i) => log + logRatio(betOn(evidence, EFFECTS[i] as number), pending)),
    moved: add(evidence.moved, pending.moved),
    others: add(evidence.others, pending.others),
    pending: NO_EVIDENCE.pending,
  };
}

interface Bet {
  readonly moved: number;
  readonly others: number;
}

const clamp = (p: number): number => Math.min(0.999, Math.max(0.001, p));

/** Others go on as they did (before anything is known: 2 in 100 bad), moved ones are worse by the effect. */
function betOn({ others }: Evidence, effect: number): Bet {
  const usual = clamp((others.bad + 0.4) / (others.n + 20));
  return { others: usual, moved: clamp(usual + effect) };
}

/** log of P(block | bet) ÷ P(block | both alike at the block's mixture of the bet). */
function logRatio(bet: Bet, { moved, others }: Evidence['pending']): number {
  const alike = (moved.n * bet.moved + others.n * bet.others) / (moved.n + others.n);
  const of = ({ n, bad }: Counts, p: number) => bad * Math.log(p / alike) + (n - bad) * Math.log((1 - p) / (1 - alike));
  return of(moved, bet.moved) + of(others, bet.others);
}

/**
 * How strongly the moved group is worse: a bet that would have multiplied by this. Where it is not worse, the chance that this
 * ever reaches x, however long one looks, is at most 1/x (Ville's inequality).
 */
export const strength = ({ logs }: Evidence): number =>
  logs.reduce((sum, log) => sum + Math.exp(Math.min(log, 600)), 0) / logs.length;

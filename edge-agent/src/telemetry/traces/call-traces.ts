import type { KeptCall } from '../recorder/kept-call.ts';
import { spansOf } from './call-spans.ts';
import type { SpanDraft } from './span.ts';

/** Takes spans, all of them or none. */
export type AddSpans = (drafts: readonly SpanDraft[]) => void;

/**
 * The traces of kept calls: a call's transactions when it comes to rest, its root when it is over. A call that is kept because it was sampled is kept
 * at its end too, by whichever agent sees that; one that is kept for another reason may end unseen, so its root is told at the latest when it is forgotten.
 */
export class CallTraces {
  readonly #add: AddSpans;
  readonly #now: () => number;
  /** Spans that were told, by call. */
  readonly #told = new WeakMap<KeptCall, Set<string>>();

  /** `now`: milliseconds since the epoch. */
  constructor(add: AddSpans, now: () => number) {
    this.#add = add;
    this.#now = now;
  }

  /** Nothing more was heard of the call for a while. */
  rested(call: KeptCall): void {
    this.#tell(call, false);
  }

  /** The call is forgotten, or the agent ends. */
  evicted(call: KeptCall): void {
    this.#tell(
      call,
      call.reasons.some((reason) => reason !== 'sampled'),
    );
  }

  #tell(call: KeptCall, last: boolean): void {
    // Its messages were overwritten before they could be kept: there is nothing to tell.
    if (call.messages.length === 0) return;
    const told = this.#told.get(call) ?? new Set();
    this.#told.set(call, told);
    const { finished, root, over } = spansOf(call, this.#now());
    if (!over && last) root.attributes['sip.dialog.open'] = true;
    const fresh = [...(over || last ? [root] : []), ...finished].filter(({ spanId }) => !told.has(spanId));
    if (fresh.length === 0) return;
    for (const { spanId } of fresh) told.add(spanId);
    this.#add(fresh);
  }
}

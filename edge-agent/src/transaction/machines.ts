import type { TimerName } from './timers.ts';

/**
 * The four state machines of RFC 3261 §17 with the Accepted state of RFC 6026, as data: `(state, input) → next state, actions, timers`.
 * Nothing here sends, waits or remembers. An input without an entry changes nothing: it is absorbed.
 */

/** What can happen to a transaction. Responses by class; timers by name. */
export type Input =
  | 'request' // a retransmission of the request
  | 'ack'
  | '100'
  | '1xx'
  | '2xx'
  | '3xx-6xx'
  | 'transport-error'
  | `timer ${TimerName}`;

/** What is done about it. `pass`: hand it to the proxy (client side) or send it (server side). */
export type Action =
  | 'send-request'
  | 'send-ack'
  | 'resend-response'
  | 'pass'
  /** Tells the proxy that nothing came: a 408, or a 503 after a transport error (RFC 3261 §16.9). */
  | 'report-timeout'
  | 'report-transport-error';

export type State = 'calling' | 'trying' | 'proceeding' | 'completed' | 'confirmed' | 'accepted' | 'terminated';

export interface Transition {
  next: State;
  actions: readonly Action[];
  /** Timers to start; those of the state that is left are stopped. */
  start: readonly TimerName[];
}

export interface Machine {
  initial: State;
  /** Actions and timers at creation. */
  create: Omit<Transition, 'next'>;
  table: { readonly [S in State]?: { readonly [I in Input]?: Transition } };
}

const to = (next: State, actions: readonly Action[] = [], start: readonly TimerName[] = []): Transition => ({
  next,
  actions,
  start,
});

/** RFC 3261 §17.1.1, RFC 6026 §8.4 (figure 5). */
export const inviteClient: Machine = {
  initial: 'calling',
  create: { actions: ['send-request'], start: ['A', 'B'] },
  table: {
    calling: {
      'timer A': to('calling', ['send-request'], ['A']),
      'timer B': to('terminated', ['report-timeout']),
      'transport-error': to('terminated', ['report-transport-error']),
      '100': to('proceeding', ['pass'], ['C']),
      '1xx': to('proceeding', ['pass'], ['C']),
      '2xx': to('accepted', ['pass'], ['M']),
      '3xx-6xx': to('completed', ['send-ack', 'pass'], ['D']),
    },
    proceeding: {
      '100': to('proceeding', ['pass']),
      // Timer C starts anew with every provisional but 100 (RFC 3261 §16.7 item 2).
      '1xx': to('proceeding', ['pass'], ['C']),
      '2xx': to('accepted', ['pass'], ['M']),
      '3xx-6xx': to('completed', ['send-ack', 'pass'], ['D']),
      'timer C': to('terminated', ['report-timeout']),
    },
    completed: {
      '3xx-6xx': to('completed', ['send-ack']),
      'transport-error': to('terminated', ['report-transport-error']),
      'timer D': to('terminated'),
    },
    accepted: {
      '2xx': to('accepted', ['pass']),
      'timer M': to('terminated'),
    },
  },
};

/** RFC 3261 §17.1.2. */
export const nonInviteClient: Machine = {
  initial: 'trying',
  create: { actions: ['send-request'], start: ['E', 'F'] },
  table: {
    trying: {
      'timer E': to('trying', ['send-request'], ['E']),
      'timer F': to('terminated', ['report-timeout']),
      'transport-error': to('terminated', ['report-transport-error']),
      '100': to('proceeding', ['pass'], ['E']),
      '1xx': to('proceeding', ['pass'], ['E']),
      '2xx': to('completed', ['pass'], ['K']),
      '3xx-6xx': to('completed', ['pass'], ['K']),
    },
    proceeding: {
      'timer E': to('proceeding', ['send-request'], ['E']),
      'timer F': to('terminated', ['report-timeout']),
      'transport-error': to('terminated', ['report-transport-error']),
      '100': to('proceeding', ['pass']),
      '1xx': to('proceeding', ['pass']),
      '2xx': to('completed', ['pass'], ['K']),
      '3xx-6xx': to('completed', ['pass'], ['K']),
    },
    completed: { 'timer K': to('terminated') },
  },
};

/** RFC 3261 §17.2.1, RFC 6026 §8.5 (figure 7). Response inputs are the proxy's: it sends them through here. */
export const inviteServer: Machine = {
  initial: 'proceeding',
  create: { actions: [], start: [] },
  table: {
    proceeding: {
      request: to('proceeding', ['resend-response']),
      '100': to('proceeding', ['pass']),
      '1xx': to('proceeding', ['pass']),
      '2xx': to('accepted', ['pass'], ['L']),
      '3xx-6xx': to('completed', ['pass'], ['G', 'H']),
      'transport-error': to('terminated', ['report-transport-error']),
    },
    completed: {
      request: to('completed', ['resend-response']),
      'timer G': to('completed', ['resend-response'], ['G']),
      'timer H': to('terminated', ['report-timeout']),
      ack: to('confirmed', [], ['I']),
      'transport-error': to('terminated', ['report-transport-error']),
    },
    confirmed: { 'timer I': to('terminated') },
    // A retransmitted INVITE is absorbed; the callee itself retransmits its 2xx. Further 2xx of forks pass.
    accepted: {
      '2xx': to('accepted', ['pass']),
      'timer L': to('terminated'),
    },
  },
};

/** RFC 3261 §17.2.2; RFC 4320 §4.1: only a 100, and only late, goes before the final response. */
export const nonInviteServer: Machine = {
  initial: 'trying',
  create: { actions: [], start: [] },
  table: {
    trying: {
      '100': to('proceeding', ['pass']),
      '1xx': to('proceeding', ['pass']),
      '2xx': to('completed', ['pass'], ['J']),
      '3xx-6xx': to('completed', ['pass'], ['J']),
      'transport-error': to('terminated', ['report-transport-error']),
    },
    proceeding: {
      request: to('proceeding', ['resend-response']),
      '100': to('proceeding', ['pass']),
      '1xx': to('proceeding', ['pass']),
      '2xx': to('completed', ['pass'], ['J']),
      '3xx-6xx': to('completed', ['pass'], ['J']),
      'transport-error': to('terminated', ['report-transport-error']),
    },
    completed: {
      request: to('completed', ['resend-response']),
      'timer J': to('terminated'),
      'transport-error': to('terminated', ['report-transport-error']),
    },
  },
};

/** The transition for an input, undefined where it is absorbed. */
export const step = (machine: Machine, state: State, input: Input): Transition | undefined =>
  machine.table[state]?.[input];

/** Input of a response status. */
export function responseInput(status: number): Input {
  if (status === 100) return '100';
  if (status < 200) return '1xx';
  return status < 300 ? '2xx' : '3xx-6xx';
}

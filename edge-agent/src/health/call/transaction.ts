import type { SipMessage } from '../../sip/text-message.ts';
import { parameter } from '../../sip/text-message.ts';
import { DEFAULT_BASE, nextInterval, timerValues } from '../../transaction/timers.ts';
import { ProbeFault } from './fault.ts';

const TIMERS = timerValues(DEFAULT_BASE, false);

/** What becomes of an INVITE. Calls come from within the channel's events. */
export interface InviteEvents {
  provisional(response: SipMessage): void;
  /** Every 2xx, retransmitted ones and those of other branches of a fork too (RFC 6026 §7.2). ACK is the caller's. */
  success(response: SipMessage): void;
  /** The final response that is no 2xx, once. Its ACK has been sent. */
  failure(response: SipMessage): void;
  /** Timer B, or the channel. */
  fault(fault: ProbeFault): void;
}

interface Transaction {
  response(response: SipMessage): void;
  fault(fault: ProbeFault): void;
  stop(): void;
}

/** Sends a request; the transaction itself does not know to where. */
export type Transmit = (message: SipMessage) => void;

/** The client transactions of one probe (RFC 3261 §17.1): a user agent's, so without the Timer C and the limit on late 2xx of a proxy's. */
export class Transactions {
  readonly #reliable: boolean;
  /** By branch and method: CANCEL shares the branch of its INVITE (§17.1.3). */
  readonly #open = new Map<string, Transaction>();

  constructor(reliable: boolean) {
    this.#reliable = reliable;
  }

  /** Sends a request other than INVITE. Resolves with its final response; rejects at Timer F, or with the signal's reason. */
  request(message: SipMessage, transmit: Transmit, signal: AbortSignal): Promise<SipMessage> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const key = keyOf(message);
      const timers = this.#timers(message, transmit, 'E', (fault) => finish(() => reject(fault)));
      const finish = (settle: () => void): void => {
        timers.stop();
        this.#open.delete(key);
        signal.removeEventListener('abort', abort);
        settle();
      };
      const abort = (): void => finish(() => reject(signal.reason));
      signal.addEventListener('abort', abort, { once: true });
      this.#open.set(key, {
        response: (response) => {
          if (response.status >= 200) finish(() => resolve(response));
          else timers.slow();
        },
        fault: (fault) => finish(() => reject(fault)),
        stop: () => finish(() => {}),
      });
      timers.start();
    });
  }

  /** Sends an INVITE. The transaction stays, to ACK what is sent again, until {@link close}; `quiet` ends its retransmissions. */
  invite(message: SipMessage, transmit: Transmit, on: InviteEvents): { quiet(): void } {
    const key = keyOf(message);
    let state: 'calling' | 'proceeding' | 'accepted' | 'completed' = 'calling';
    const timers = this.#timers(message, transmit, 'A', (fault) => on.fault(fault));
    this.#open.set(key, {
      response: (response) => {
        if (response.status < 200) {
          if (state !== 'calling' && state !== 'proceeding') return;
          state = 'proceeding';
          timers.stop();
          on.provisional(response);
        } else if (response.status < 300) {
          if (state === 'completed') return;
          state = 'accepted';
          timers.stop();
          on.success(response);
        } else if (state !== 'accepted') {
          timers.stop();
          transmit(ackOfFailure(message, response));
          const again = state === 'completed';
          state = 'completed';
          if (!again) on.failure(response);
        }
      },
      fault: (fault) => {
        timers.stop();
        on.fault(fault);
      },
      stop: () => timers.stop(),
    });
    timers.start();
    return { quiet: () => timers.stop() };
  }

  /** A response came. Those to nothing that is open are dropped (§17.1.3). */
  receive(response: SipMessage): void {
    this.#open.get(keyOf(response))?.response(response);
  }

  /** The channel is gone: everything that waits fails. */
  fail(fault: ProbeFault): void {
    for (const transaction of [...this.#open.values()]) transaction.fault(fault);
  }

  /** Ends every timer. What waits is never settled: whoever closes waits no more. */
  close(): void {
    for (const transaction of [...this.#open.values()]) transaction.stop();
    this.#open.clear();
  }

  /** Timers A and B of INVITE, E and F of the others. */
  #timers(message: SipMessage, transmit: Transmit, retransmission: 'A' | 'E', gaveUp: (fault: ProbeFault) => void) {
    let repeat: NodeJS.Timeout | undefined;
    let giveUp: NodeJS.Timeout | undefined;
    let wait: number = TIMERS[retransmission];
    const giveUpMs = retransmission === 'A' ? TIMERS.B : TIMERS.F;
    const again = (): void => {
      repeat = setTimeout(() => {
        transmit(message);
        wait = nextInterval(retransmission, wait, DEFAULT_BASE);
        again();
      }, wait);
    };
    return {
      start: (): void => {
        const text = `no answer to ${message.method} in ${giveUpMs / 1000} s`;
        giveUp = setTimeout(() => gaveUp(new ProbeFault(text)), giveUpMs);
        if (!this.#reliable) again();
        transmit(message);
      },
      /** §17.1.2.2: after a provisional response Timer E is T2. */
      slow: (): void => {
        wait = TIMERS.T2;
      },
      stop: (): void => {
        clearTimeout(repeat);
        clearTimeout(giveUp);
      },
    };
  }
}

/** §17.1.3. Of a response the topmost Via is the one that the request had. */
const keyOf = (message: SipMessage): string =>
  `${parameter(message.list('via')[0] ?? '', 'branch') ?? ''} ${message.method}`;

/** §17.1.1.3: the ACK that belongs to the INVITE's own transaction. */
function ackOfFailure(invite: SipMessage, response: SipMessage): SipMessage {
  const ack = invite.derive('ACK', ['via', 'from', 'call-id', 'route', 'max-forwards']);
  ack.set('To', [response.get('to') ?? invite.get('to') ?? '']);
  ack.set('CSeq', [`${invite.cseq} ACK`]);
  return ack;
}

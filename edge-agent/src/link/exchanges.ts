import { AnswerHead, MAX_EXCHANGE, parseWith, type Question, readAnswer } from '@sipfleet/contract';

/** A question without its number, which the socket gives it. */
export type Asked = Question extends infer Q ? (Q extends Question ? Omit<Q, 'id'> : never) : never;

/** What was answered: as HTTP would have it. */
export interface SocketAnswer {
  head: AnswerHead;
  body: string;
}

/** What is used of a WebSocket (package ws). */
export interface ExchangeSocket {
  send(text: string): void;
  terminate(): void;
}

/** As long as an exchange by HTTP may take. */
const DEADLINE_MS = 10_000;
const MAX_ID = 0xffff_ffff;

interface Waiting {
  settle(answer: SocketAnswer | undefined): void;
  timer: NodeJS.Timeout;
}

/** Questions and answers over one open push socket. Where one is not answered over it, for whatever reason, HTTP is left. */
export class Exchanges {
  readonly #socket: ExchangeSocket;
  readonly #deadlineMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  /** Messages that came, of whatever kind. */
  #heard = 0;
  #lost = false;

  constructor(socket: ExchangeSocket, deadlineMs = DEADLINE_MS) {
    this.#socket = socket;
    this.#deadlineMs = deadlineMs;
  }

  /** Undefined: it is too long for this way, or was not answered. Safe to be asked again. */
  ask(asked: Asked): Promise<SocketAnswer | undefined> {
    const id = (this.#lastId % MAX_ID) + 1;
    const text = JSON.stringify({ ...asked, id });
    if (this.#lost || Buffer.byteLength(text) > MAX_EXCHANGE) return Promise.resolve(undefined);
    this.#lastId = id;
    const heard = this.#heard;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#settle(id, undefined);
        // Nothing at all came meanwhile: whoever was at the other end is gone, and would not be missed before several pings.
        if (this.#heard === heard) this.#socket.terminate();
      }, this.#deadlineMs);
      this.#waiting.set(id, { settle: resolve, timer });
      this.#socket.send(text);
    });
  }

  /** True: it was an answer. Throws where it is a wrong one. */
  take(text: string): boolean {
    this.#heard++;
    const answer = readAnswer(text);
    if (answer === undefined) return false;
    const head = parseWith(AnswerHead, answer.head);
    // It may come after its deadline.
    this.#settle(head.id, { head, body: answer.body });
    return true;
  }

  /** The socket has ended. */
  lost(): void {
    this.#lost = true;
    for (const id of [...this.#waiting.keys()]) this.#settle(id, undefined);
  }

  #settle(id: number, answer: SocketAnswer | undefined): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(id);
    waiting.settle(answer);
  }
}

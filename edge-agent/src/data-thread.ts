import { Worker } from 'node:worker_threads';
import type { WorkerCommand, WorkerEvent, WorkerStart } from './ports.ts';

type Answer<T extends WorkerEvent['type']> = Extract<WorkerEvent, { type: T }>;

/** What a data thread tells without being asked: a fault cost one message, or it listens to commands. */
export type Note = Answer<'fault' | 'ready'>;

/** One running data thread, seen from the control thread: asked one thing at a time, ends once. */
export class DataThread {
  readonly index: number;
  /** Resolves when the thread listens to commands; rejects if it ends before. */
  readonly ready: Promise<void>;
  /** Resolves with the reason when the thread has ended, however it came to it. */
  readonly ended: Promise<string>;
  readonly #worker: Worker;
  #waiting: ((event: WorkerEvent) => void) | undefined;
  #reason = 'it exited';

  /** `noted`: what it tells without being asked. */
  constructor(script: URL, start: WorkerStart, noted: (event: Note) => void = () => {}) {
    this.index = start.index;
    this.#worker = new Worker(script, { workerData: start, name: `sipfleet-data-${start.index}` });
    this.#worker.on('message', (event: WorkerEvent) => {
      if (event.type === 'fault' || event.type === 'ready') noted(event);
      this.#waiting?.(event);
    });
    this.#worker.on('error', (error: Error) => {
      this.#reason = error.message;
    });
    this.ended = new Promise((resolve) => this.#worker.once('exit', () => resolve(this.#reason)));
    this.ready = this.#next('ready').then(() => {});
    // Whoever applies a plan awaits it; a thread that dies before that must not end the process.
    this.ready.catch(() => {});
  }

  /** Sends a command that is answered, and waits. Rejects with the thread's reason if it fails, ends, or stays silent (then it is ended). */
  async ask<T extends 'prepared' | 'committed'>(
    command: WorkerCommand,
    answer: T,
    deadlineMs: number,
  ): Promise<Answer<T>> {
    await this.ready;
    const timer = setTimeout(() => this.kill(`no answer to ${command.type} in ${deadlineMs / 1000}s`), deadlineMs);
    try {
      const answered = this.#next(answer);
      this.tell(command);
      return await answered;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a command that is not answered. */
  tell(command: WorkerCommand): void {
    this.#worker.postMessage(command);
  }

  /** Ends the thread at once. */
  kill(reason: string): void {
    this.#reason = reason;
    void this.#worker.terminate();
  }

  /** Lets the thread close its sockets, and ends it. Never takes longer than `deadlineMs`. */
  async close(deadlineMs: number): Promise<void> {
    const timer = setTimeout(() => this.kill('it did not close'), deadlineMs);
    this.#waiting = (event) => {
      if (event.type === 'closed') this.kill('closed');
    };
    this.tell({ type: 'close' });
    await this.ended;
    clearTimeout(timer);
  }

  #next<T extends WorkerEvent['type']>(type: T): Promise<Answer<T>> {
    return new Promise((resolve, reject) => {
      this.#waiting = (event) => {
        if (event.type === type) resolve(event as Answer<T>);
        else if (event.type === 'failed') reject(new Error(event.reason));
      };
      void this.ended.then((reason) => reject(new Error(`data thread ${this.index} ended: ${reason}`)));
    });
  }
}

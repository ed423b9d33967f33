import { openMailbox } from './mailbox.ts';

export interface ExchangeStart {
  shared: SharedArrayBuffer;
  workers: number;
  self: number;
  peer: number;
  messages: number;
  /** Longest text. */
  longest: number;
}
export interface ExchangeResult {
  received: number;
  wrong: string[];
  refused: number;
}

/** Sends numbered messages to the peer, as fast as they are taken, and checks what the peer sends likewise. */
export async function exchange(start: ExchangeStart): Promise<ExchangeResult> {
  const { messages, longest } = start;
  const result: ExchangeResult = { received: 0, wrong: [], refused: 0 };
  // waitAsync alone keeps no event loop alive; in a data thread the sockets do.
  const alive = setInterval(() => {}, 60_000);
  const finished = Promise.withResolvers<void>();
  const mail = openMailbox(start.shared, start.workers, start.self, () => {
    mail.drain((connection, bytes, from, to) => {
      const expected = text(result.received, longest);
      if (connection !== result.received || Buffer.compare(bytes.subarray(from, to), expected) !== 0)
        result.wrong.push(`expected ${result.received}, found ${connection} with ${to - from} bytes`);
      if (++result.received === messages) finished.resolve();
    });
  });
  for (let i = 0; i < messages; ) {
    const bytes = text(i, longest);
    const half = bytes.length >> 1;
    const sent = mail.post(start.peer, i, {
      count: 2,
      bytes: [bytes, bytes],
      start: Int32Array.of(0, half),
      end: Int32Array.of(half, bytes.length),
      length: bytes.length,
    });
    if (sent) i++;
    else {
      result.refused++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    // Now and then the other side finds nothing and goes to sleep.
    if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await finished.promise;
  mail.close();
  clearInterval(alive);
  return result;
}

/** Text of message i, of a length and content that depend on i. */
function text(i: number, longest: number): Uint8Array {
  return new Uint8Array((i * 7919) % (longest + 1)).fill(i & 255);
}

import { Question } from '@sipfleet/contract';
import { CLOSE } from './hub.ts';

/** Who asks, as the upgrade found out. */
export interface Asker {
  readonly agentId: string;
  /** The key that its upgrade was verified with. */
  readonly publicKey: string;
}

/** Answers what agents ask over their connections. */
export interface Exchanges {
  /** Never rejects. `text`: what is to be sent. `known`: false where this is no agent of ours any more, or has another key by now. */
  answer(asker: Asker, question: Question): Promise<{ text: string; known: boolean }>;
}

/** What is used of a WebSocket (package ws). */
export interface ExchangeSocket {
  readonly readyState: number;
  send(text: string): void;
  close(code: number, reason: string): void;
  on(event: 'message', listener: (data: { toString(): string }, isBinary: boolean) => void): unknown;
}

/** An agent has one report and one question for its snapshot under way; what asks more has gone mad. */
const MAX_WAITING = 4;
const OPEN = 1;

/** Lets an agent report and ask over its connection, one thing after the other. */
export function converse(socket: ExchangeSocket, asker: Asker, exchanges: Exchanges): void {
  let waiting = 0;
  let last: Promise<void> = Promise.resolve();

  async function answer(question: Question): Promise<void> {
    const { text, known } = await exchanges.answer(asker, question);
    waiting--;
    if (socket.readyState !== OPEN) return;
    socket.send(text);
    if (!known) socket.close(CLOSE.revoked, 'not known by this key');
  }

  socket.on('message', (data, isBinary) => {
    const question = isBinary ? undefined : readQuestion(data.toString());
    if (question === undefined) return socket.close(CLOSE.violation, 'this is no question');
    if (waiting >= MAX_WAITING) return socket.close(CLOSE.violation, 'too many questions at once');
    waiting++;
    last = last.then(() => answer(question));
  });
}

function readQuestion(text: string): Question | undefined {
  try {
    return Question.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

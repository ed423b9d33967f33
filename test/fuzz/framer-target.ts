import { FRAME, type FrameResult, StreamFramer } from '../../edge-agent/src/sip/framer.ts';
import { MessageView, PARSE } from '../../edge-agent/src/sip/message.ts';
import { mutate, setLength } from './mutate.ts';
import { Random } from './random.ts';
import { Finding, type Target } from './target.ts';

const LIMITS = { header: 16_384, body: 65_536 };

const view = new MessageView();

/** What a framer makes of chunks: the messages and pings in order, and how it ended. */
function framed(chunks: readonly Uint8Array[]): { seen: string[]; result: FrameResult; partial: boolean } {
  const seen: string[] = [];
  const framer = new StreamFramer(
    {
      message: (bytes, start, end) => {
        seen.push(Buffer.from(bytes.subarray(start, end)).toString('latin1'));
        // Two opinions of where a message ends are how one is hidden behind another.
        if (view.parse(bytes, start, end) === PARSE.ok && view.end !== end)
          throw new Finding(`framed to ${end - start} bytes, read to ${view.end - start}`);
      },
      ping: () => void seen.push('ping'),
    },
    LIMITS,
  );
  let result: FrameResult = FRAME.ok;
  for (const chunk of chunks) result = framer.feed(chunk);
  return { seen, result, partial: framer.partial };
}

function cutAtRandom(bytes: Uint8Array, random: Random): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  const most = random.pick([1, 3, 20, 500, 3_000]);
  for (let at = 0; at < bytes.length; ) {
    const next = Math.min(bytes.length, at + 1 + random.below(most));
    // Copies, since a socket's next chunk comes in other memory.
    chunks.push(bytes.slice(at, next));
    at = next;
  }
  return chunks;
}

/** Streams of several messages: however they are cut, the same messages come out, each as long as the proxy takes it to be. */
export function framerTarget(messages: readonly string[]): Target {
  return {
    name: 'framer',
    input(random) {
      const count = 1 + random.below(4);
      const parts = Array.from({ length: count }, () => {
        const text = random.oneIn(2) ? mutate(random, messages) : random.pick(messages);
        return (random.oneIn(8) ? '\r\n\r\n' : '') + (random.oneIn(4) ? text : setLength(text));
      });
      return { message: parts.join(''), choice: random.next() };
    },
    check({ message, choice }) {
      const bytes = new Uint8Array(Buffer.from(message, 'latin1'));
      const whole = framed([bytes]);
      const pieces = framed(cutAtRandom(bytes, new Random(choice)));
      if (JSON.stringify(pieces) !== JSON.stringify(whole))
        throw new Finding(`cut elsewhere, the stream is another: ${summary(whole)} and ${summary(pieces)}`);
      const long = whole.seen.find((text) => text.length > LIMITS.header + LIMITS.body);
      if (long !== undefined) throw new Finding(`a message of ${long.length} bytes passed the limits`);
    },
  };
}

const summary = ({ seen, result, partial }: ReturnType<typeof framed>): string =>
  `${seen.length} messages (result ${result}, ${partial ? 'partial' : 'complete'})`;

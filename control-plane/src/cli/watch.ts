import type { Io } from './io.ts';

/** What is on the screen, and whether it will change no more. */
export interface Frame {
  readonly text: string;
  readonly ended: boolean;
}

const WATCH_MS = 2000;
/** Home, and clear what is below: without the flicker of a cleared screen. */
const HOME = '\u001b[H\u001b[J';

/**
 * Shows a frame again and again until it has ended or the user stops it. On a terminal each takes the place of the one before; elsewhere one
 * is written where it differs. Returns the last.
 */
export async function watch(io: Io, frame: () => Promise<Frame>): Promise<Frame> {
  let shown: string | undefined;
  for (;;) {
    const now = await frame();
    if (now.text !== shown) io.out(io.terminal ? `${HOME}${now.text}` : now.text);
    shown = now.text;
    if (now.ended || !(await io.sleep(WATCH_MS))) return now;
  }
}

/** What a command writes, as a frame that goes on. */
export async function captured(io: Io, command: (to: Io) => Promise<unknown>): Promise<Frame> {
  let text = '';
  const out = (part: string) => {
    text += part;
  };
  await command({ ...io, out });
  return { text, ended: false };
}

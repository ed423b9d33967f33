import { encode, PCMU } from './g711.ts';

/** Samples a second of everything here. */
export const SAMPLE_RATE = 8000;

/** One sound of a melody: no frequency is a pause. `db`: dBFS of the RMS. */
export interface Note {
  /** Hertz; several sound at once. */
  hertz: readonly number[];
  ms: number;
}

/** Milliseconds over which a note fades in and out: an edge would be heard as a click. */
const FADE_MS = 8;
/** Peak of all frequencies of a note together, of full scale: about −15 dBFS, a telephone's speech. */
const PEAK = 0.25;

/** The notes one after the other as PCMU. */
export function melody(notes: readonly Note[]): Uint8Array {
  return encode(PCMU, Int16Array.from(notes.flatMap((note) => [...samplesOf(note)])));
}

function* samplesOf({ hertz, ms }: Note): Generator<number> {
  const count = Math.round((ms * SAMPLE_RATE) / 1000);
  const fade = Math.min((FADE_MS * SAMPLE_RATE) / 1000, count / 2);
  for (let i = 0; i < count; i++) {
    const gain = Math.min(1, i / fade, (count - i) / fade);
    const sum = hertz.reduce((total, f) => total + Math.sin((2 * Math.PI * f * i) / SAMPLE_RATE), 0);
    yield Math.round((sum / Math.max(1, hertz.length)) * gain * PEAK * 32_767);
  }
}

let tone: Uint8Array | undefined;
/** A second of 440 Hz: what is sent when no file is given. The same bytes for everyone, made when first asked for. */
export function defaultTone(): Uint8Array {
  tone ??= melody([{ hertz: [440], ms: 1000 }]);
  return tone;
}

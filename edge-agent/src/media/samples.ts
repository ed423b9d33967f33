import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { melody, type Note } from './tone.ts';

/** The files of the article's example, as melodies: no recording, no licence, and the same bytes whenever they are made. */
const note = (hertz: number, ms = 300): Note => ({ hertz: [hertz, hertz * 2], ms });
const pause = (ms: number): Note => ({ hertz: [], ms });

export const SAMPLES: Readonly<Record<string, readonly Note[]>> = {
  // C E G, held: three seconds in all.
  'welcome.data': [note(523), pause(100), note(659), pause(100), note(784, 1200), pause(1000)],
  // Two tones of a station's announcement, twice.
  'announce.data': [note(880, 400), note(698, 600), pause(200), note(880, 400), note(698, 600), pause(300)],
};

/** Writes every sample into a directory. */
export function writeSamples(directory: string): void {
  mkdirSync(directory, { recursive: true });
  for (const [name, notes] of Object.entries(SAMPLES)) writeFileSync(join(directory, name), melody(notes));
}

if (import.meta.main) writeSamples(process.argv[2] ?? '.');

import type { Random } from './random.ts';

/** Something that must never be, found true for an input. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

/** What a run is made of: the message in Latin-1, and a number for what else there is to choose. */
export interface Input {
  message: string;
  choice: number;
}

/** One thing to be fuzzed. `check` throws a {@link Finding}, or whatever the code under test threw. */
export interface Target {
  readonly name: string;
  input(random: Random): Input;
  check(input: Input): void;
}

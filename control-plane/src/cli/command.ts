import type { Client } from '../client.ts';

/** What the definitions of commands share. */

export const EXIT_CODES = `
Exit codes: 0 done, 1 error (one line on standard error for each), 2 differences (diff and drift only), 3 the rollout was rolled
back (what waits for one)`;

/** What stands below the help of a command. */
export const examples = (...lines: string[]): string =>
  `\nExamples:\n${lines.map((l) => `  sipfleet ${l}\n`).join('')}${EXIT_CODES}`;

/** A client with the address and token of the command line: made when the command runs, not before. */
export type Connect = () => Promise<Client>;

/** Takes the exit code of the command that ran. */
export type Done = (code: number) => void;

import pc from 'picocolors';

/** What a command may use of the world outside. Tests bring their own; nothing in `cli/` touches `process` but the entry. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** All of standard input, for `-f -`. */
  readInput(): Promise<string>;
  /** One line typed by the user; undefined where nobody is there to type. */
  ask(question: string): Promise<string | undefined>;
  env: Readonly<Record<string, string | undefined>>;
  /** Standard output is a terminal. */
  terminal: boolean;
  cwd: string;
  /** Resolves after so many milliseconds, or as soon as the user wants to stop (Ctrl-C): false then. */
  sleep(ms: number): Promise<boolean>;
  fetch?: typeof fetch;
}

/** What a process says with its exit code. In the help of every command. */
export const EXIT = { ok: 0, error: 1, differences: 2, rolledBack: 3 } as const;

/** Ends a command with its message on standard error, as it stands, and exit code 1. */
export class CliError extends Error {
  override name = 'CliError';
}

export type Colors = ReturnType<typeof pc.createColors>;

/** Colours on a terminal alone, and not where NO_COLOR (no-color.org) or a dumb terminal forbids it. */
export function colorsFor(io: Io): Colors {
  return pc.createColors(io.terminal && !io.env.NO_COLOR && io.env.TERM !== 'dumb');
}

/** Rows as columns two spaces apart; the last column is not padded. Widths are counted without colour codes. */
export function table(rows: readonly (readonly string[])[]): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence starts with one.
  const width = (cell: string) => cell.replace(/\u001b\[\d+m/g, '').length;
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  const pad = (cell: string, i: number, row: readonly string[]) =>
    i === row.length - 1 ? cell : cell + ' '.repeat((widths[i] ?? 0) - width(cell) + 2);
  return rows.map((row) => `${row.map(pad).join('').trimEnd()}\n`).join('');
}

import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import type { Io } from './io.ts';

/** How a command prints: a table or sentences for people, JSON or YAML for programs. */
export const FORMATS = ['table', 'json', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

/** `-o`, of every command that has something to tell. */
export const outputOption = (): Option =>
  new Option('-o, --output <format>', 'how to print').choices(FORMATS).default('table');

/** Of a command below one that has -o as well: the one above takes it, wherever it stands. */
export const outputOf = (command: Command): Format => command.optsWithGlobals<{ output: Format }>().output;

export const formatted = (value: unknown, format: Exclude<Format, 'table'>): string =>
  format === 'json' ? `${JSON.stringify(value, null, 2)}\n` : stringify(value, { lineWidth: 0 });

/** Where what is meant for people goes: beside a document for programs, to standard error. */
export const forPeople = (io: Io, format: Format): Io =>
  format === 'table' ? io : { ...io, out: io.err, terminal: false };

import { AgentError } from '../errors.ts';
import { placeCall } from '../health/call/call.ts';
import type { CallOptions } from '../health/call/options.ts';
import { type Command, parseCommand, USAGE } from './arguments.ts';
import { EXIT, nagiosLine } from './report.ts';

/** The command `check_sip`. Ends the process with Nagios' exit codes; README.md has the table. */
export async function main(argv: readonly string[]): Promise<void> {
  process.title = 'check_sip';
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort(new Error(signal)));
  try {
    const command = parseCommand(argv, process.env);
    if (command.kind === 'help') return end(USAGE, EXIT.ok);
    const result = await placeCall(optionsOf(command), stop.signal);
    end(`${command.json ? JSON.stringify(result) : nagiosLine(result)}\n`, EXIT[result.verdict]);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    end(`SIP UNKNOWN - ${error.message} (check_sip --help says more)\n`, EXIT.unknown);
  }
}

function optionsOf({ options, debug }: Extract<Command, { kind: 'call' }>): CallOptions {
  if (!debug) return options;
  const trace: NonNullable<CallOptions['trace']> = (direction, peer, message) =>
    process.stderr.write(`${direction} ${peer}\n${message.trimEnd()}\n\n`);
  return { ...options, trace };
}

/** Writes the last words, and ends once they are out: a pipe takes them later than a terminal does. */
const end = (text: string, code: number): void => {
  process.stdout.write(text, () => process.exit(code));
};

if (import.meta.main) await main(process.argv.slice(2));

import { logOptions } from '@sipfleet/contract';
import { pino } from 'pino';
import { Agent, VERSION } from './agent.ts';
import { AgentError } from './errors.ts';
import { parseOptions } from './options.ts';
import { givePrecedence } from './precedence.ts';

/**
 * The control thread: command line → agent → signals. Ends the process: 0 after SIGINT or SIGTERM, 1 with one line on
 * stderr if the agent cannot serve.
 */
export async function main(argv: readonly string[]): Promise<void> {
  let agent: Agent | undefined;
  let stopping = false;
  const stop = async (): Promise<void> => {
    // A terminal sends Ctrl-C to the whole process group, and a launcher passes it on: it may come twice.
    if (stopping) return;
    stopping = true;
    await agent?.close();
    process.exit(0);
  };
  process.on('SIGINT', () => void stop());
  process.on('SIGTERM', () => void stop());
  // Forked by `sipfleet up`: without it nobody would ever end this process.
  process.on('disconnect', () => void stop());
  process.on('SIGHUP', () => void agent?.reload());
  try {
    const options = parseOptions(argv, VERSION);
    const log = pino({ level: options.logLevel, base: { agent: options.name }, ...logOptions() });
    agent = new Agent(options, log);
    const ready = await agent.start();
    givePrecedence();
    // Whoever started the agent waits for this line, whatever level it asked for.
    log.child({}, { level: 'info' }).info(ready, 'ready');
    process.send?.({ type: 'ready', ...ready });
  } catch (error) {
    if (stopping) return;
    await agent?.close();
    process.stderr.write(`sipfleet-agent: ${lineOf(error)}\n`);
    process.exit(1);
  }
}

/** What an operator can do something about is one line; anything else is a fault of ours and keeps its stack. */
function lineOf(error: unknown): string {
  if (error instanceof AgentError) return error.message.replaceAll('\n', '; ');
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

if (import.meta.main) await main(process.argv.slice(2));

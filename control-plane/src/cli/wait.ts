import type { Client } from '../client.ts';
import { CliError, EXIT, type Io } from './io.ts';

const POLL_MS = 1000;
/** An agent that is away asks at the latest 72 s after it is back. */
const GIVE_UP_MS = 300_000;

export const progressOf = (done: number, all: number): string => `${done}/${all}`;

/**
 * Waits until every agent that is connected runs what it should; shows how many do. Throws {@link CliError} where one refuses it, or where it
 * takes too long.
 */
export async function waitForAgents(client: Client, io: Io): Promise<number> {
  let shown = '';
  for (let waited = 0; ; waited += POLL_MS) {
    const agents = (await client.listAgents()).filter(({ connected }) => connected);
    const done = agents.filter(({ snapshot, target }) => snapshot?.running === target.etag);
    const text = `${progressOf(done.length, agents.length)} agents run it`;
    const refused = agents.find(
      ({ snapshot, target }) => snapshot?.status === 'FAILED' && snapshot.etag === target.etag,
    );
    if (text !== shown) io.out(io.terminal ? `\r${text}` : `${text}\n`);
    shown = text;
    const ended = done.length === agents.length || refused !== undefined || waited >= GIVE_UP_MS;
    if (ended && io.terminal) io.out('\n');
    if (refused)
      throw new CliError(`agent ${refused.name} refused it: ${refused.snapshot?.reason ?? 'no reason given'}`);
    if (done.length === agents.length) return EXIT.ok;
    if (ended || !(await io.sleep(POLL_MS)))
      throw new CliError(
        `still waiting for ${agents
          .filter((a) => !done.includes(a))
          .map(({ name }) => name)
          .join(', ')}`,
      );
  }
}

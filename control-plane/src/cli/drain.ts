import type { Farm } from '@sipfleet/contract';
import { ApiError, type Client } from '../client.ts';
import { CliError, EXIT, type Io } from './io.ts';
import { type Format, formatted } from './output.ts';

/** How often the farm is read again where somebody else wrote it in between: only one field of it is to be set. */
const TRIES = 3;

/** `sipfleet drain FARM/BACKEND` and `undrain`. */
export async function drain(client: Client, path: string, on: boolean, format: Format, io: Io): Promise<number> {
  const [farm = '', backend = '', ...rest] = path.split('/');
  if (!farm || !backend || rest.length > 0)
    throw new CliError(`found ${JSON.stringify(path)}; allowed: FARM/BACKEND, such as pbx/pbx1`);
  const tell = (done: { changed: boolean; revision: number }, sentence: string): void =>
    io.out(format === 'table' ? `${sentence}\n` : formatted({ farm, backend, drain: on, ...done }, format));
  for (let left = TRIES - 1; ; left--) {
    const stored = await client.getResource('Farm', farm);
    if (!stored) throw new CliError(`there is no Farm ${farm}`);
    const next = withDrain(stored.spec, backend, on);
    if (next === stored.spec) {
      tell(
        { changed: false, revision: stored.revision },
        `= Farm ${farm}: backend ${backend} ${on ? 'drains already' : 'does not drain'}`,
      );
      return EXIT.ok;
    }
    try {
      const { revision } = await client.putResource(next, { ifMatch: stored.revision });
      tell(
        { changed: true, revision },
        `~ Farm ${farm}: backend ${backend} ${on ? 'drains' : 'serves again'}. Revision ${revision}.`,
      );
      return EXIT.ok;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 412 || left === 0) throw error;
    }
  }
}

/** The farm with that backend drained or not; the same object where it is so already. */
function withDrain(spec: Farm, name: string, on: boolean): Farm {
  const found = spec.backends.find((b) => b.name === name);
  if (!found)
    throw new CliError(
      `Farm ${spec.name} has no backend ${name}; allowed: one of ${spec.backends.map((b) => b.name).join(', ')}`,
    );
  if ((found.drain ?? false) === on) return spec;
  const backends = spec.backends.map((b) => {
    if (b !== found) return b;
    const { drain: _, ...rest } = b;
    return on ? { ...rest, drain: true } : rest;
  });
  return { ...spec, backends };
}

import { formatDuration } from '@sipfleet/contract';
import type { CheckView } from '../api.ts';
import type { Client } from '../client.ts';
import { CliError, type Colors, EXIT, type Io, table } from './io.ts';
import { type Format, formatted } from './output.ts';

type Last = NonNullable<CheckView['agents'][number]['last']>;

/** `sipfleet checks [FARM]`: who makes which check, when next, what was found last, and where agents disagree. */
export async function checks(
  client: Client,
  farm: string | undefined,
  format: Format,
  io: Io,
  colors: Colors,
): Promise<number> {
  const all = await client.listChecks(farm);
  if (format !== 'table') io.out(formatted(all, format));
  else if (all.length === 0) io.out('No farm has checks.\n');
  else {
    io.out(table([['CHECK', 'TYPE', 'EVERY', 'BY', 'NEXT', 'LAST'], ...all.flatMap((view) => rowsOf(view, colors))]));
    for (const { site, farm: name, backend, up, down, agree } of await client.listBackends(farm))
      if (!agree)
        io.out(colors.yellow(`agents at ${site} disagree about ${name}/${backend}: ${up} up, ${down} down\n`));
  }
  return EXIT.ok;
}

function rowsOf(view: CheckView, colors: Colors): string[][] {
  const path = `${view.farm}/${view.backend}/${view.check}`;
  const scheduled = view.agents.some((a) => a.periodMs !== null);
  if (!scheduled && view.type !== 'register' && view.type !== 'call') return [cheapRow(view, path, colors)];
  if (view.agents.length === 0) return [[path, view.type, view.interval, colors.red('nobody'), '', 'no agent lives']];
  return view.agents.map((a, i) => [
    i === 0 ? path : '',
    i === 0 ? view.type : '',
    i === 0 ? formatDuration(a.periodMs ?? 0) : '',
    `${a.name} (${a.site})${a.alive ? '' : colors.red(' away')}`,
    a.periodMs === null ? '' : `in ${untilNext(a.periodMs, a.phaseMs ?? 0)}s`,
    a.last ? resultOf(a.last, colors) : 'no result yet',
  ]);
}

/** All agents make a cheap check; only what fails is worth a line of its own. */
function cheapRow(view: CheckView, path: string, colors: Colors): string[] {
  const failing = view.agents.filter((a) => a.last);
  const found = failing.map((a) => `${a.name}: ${resultOf(a.last as Last, colors)}`).join('; ');
  const living = view.agents.filter((a) => a.alive).length;
  return [path, view.type, view.interval, `all (${living})`, '', found || (living ? colors.green('no failure') : '')];
}

const untilNext = (periodMs: number, phaseMs: number): number =>
  Math.round((periodMs - ((Date.now() - phaseMs) % periodMs)) / 1000);

function resultOf({ state, result, phase, evidence, at }: Last, colors: Colors): string {
  const paint = { success: colors.green, failure: colors.red, inconclusive: colors.yellow }[result];
  return `${state}, ${paint(result)}${phase === undefined ? '' : ` (${phase})`}: ${evidence} at ${at}`;
}

/** `sipfleet checks run FARM/BACKEND/CHECK`: one probe, now. Exit code 1 where it does not succeed. */
export async function runCheck(client: Client, path: string, format: Format, io: Io, colors: Colors): Promise<number> {
  const [farm, backend, check, more] = path.split('/');
  if (!farm || !backend || !check || more !== undefined)
    throw new CliError(
      `check: found ${JSON.stringify(path)}; allowed: FARM/BACKEND/CHECK, such as pbx/pbx1/dummy-call`,
    );
  const found = await client.runCheck({ farm, backend, check });
  const { agent, site, report } = found;
  if (format !== 'table') io.out(formatted(found, format));
  else io.out(`${resultOf(report, colors)}\nby ${agent} (${site}) in ${report.seconds.toFixed(2)}s\n`);
  return report.result === 'success' ? EXIT.ok : EXIT.error;
}

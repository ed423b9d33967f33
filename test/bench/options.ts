import type { parseArgs } from 'node:util';
import { PEERS, type Peer, SECTIONS } from './peers.ts';

export const USAGE = `npm run bench -- [options]
  --quick            short runs, coarse results (about a minute)
  --sections NAMES   only these tables, by commas: ${SECTIONS.join(', ')}
  --only NAMES       only these peers, by commas: ${PEERS.map((p) => p.name).join(', ')}
  --mix SHARES       requests to send, default invite=1; for example invite=8,options=1,register=1
  --proxy-core N     core of the proxy under test, default the last; the load gets the others
  --json FILE        write all that was measured
  --record           put the tables into docs/performance.md; refused if the machine was not quiet
  --cpu-prof         profile the agent at --rate instead of measuring
  --rate N           pairs/s while profiling, default 30000; calls/s of impaired, default half of the highest without impairment
  --seconds N        of impaired, default 30
  --help`;

export const options = {
  quick: { type: 'boolean', default: false },
  only: { type: 'string' },
  sections: { type: 'string' },
  mix: { type: 'string', default: 'invite=1' },
  'proxy-core': { type: 'string' },
  json: { type: 'string' },
  record: { type: 'boolean', default: false },
  'cpu-prof': { type: 'boolean', default: false },
  rate: { type: 'string' },
  seconds: { type: 'string', default: '30' },
  help: { type: 'boolean', default: false },
} as const;

export type Settings = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

/** The peers that are asked for. */
export function chosen(settings: Settings): readonly Peer[] {
  const names = PEERS.map((peer) => peer.name);
  const wanted = listed('--only', settings.only, names) ?? (settings['cpu-prof'] ? ['sipfleet'] : names);
  return PEERS.filter((peer) => wanted.includes(peer.name));
}

/** Names by commas; undefined where the option is not there. */
export function listed<T extends string>(
  option: string,
  text: string | undefined,
  allowed: readonly T[],
): T[] | undefined {
  return text?.split(',').map((name) => {
    const known = allowed.find((one) => one === name);
    if (known === undefined) throw new Error(`${option}: found "${name}", allowed are ${allowed.join(', ')}`);
    return known;
  });
}

/** A whole number above 0; undefined where the option is not there. */
export function count(option: string, text: string | undefined): number | undefined {
  if (text !== undefined && !/^[1-9]\d{0,6}$/.test(text))
    throw new Error(`${option}: found "${text}", allowed is a whole number from 1 to 9999999`);
  return text === undefined ? undefined : Number(text);
}

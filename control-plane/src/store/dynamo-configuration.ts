import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import type { Farm, Site, TokenKey } from '@sipfleet/contract';
import { type AuditHead, GENESIS } from '../audit-chain.ts';
import type {
  Configuration,
  Departures,
  StoredFarm,
  StoredResource,
  StoredSecret,
  StoredSpec,
} from '../domain/configuration.ts';
import type { Rollout } from '../domain/rollout.ts';
import { type Item, key, numberOf, type Table, textOf } from './dynamo-table.ts';

/** Random, so that those who collided once do not collide again. */
export const backOff = (attempt: number) => delay(Math.random() * Math.min(200, 5 * 2 ** Math.min(attempt, 6)));

/** The one item that every write moves on: the global revision, and the last entry of the audit log. */
export interface Head extends AuditHead {
  readonly revision: number;
  /** What the last change set wrote, see {@link holds}. */
  readonly changed: readonly Changed[];
}

/** An item of the configuration by its sort key, and the revision that wrote it; null: it was removed. */
export type Changed = readonly [sk: string, revision: number | null];

export async function readHead(table: Table): Promise<Head> {
  const item = await table.get(key.revision);
  if (item === undefined) return { revision: 0, sequence: 0, hash: GENESIS, changed: [] };
  return {
    revision: numberOf(item, 'revision'),
    sequence: numberOf(item, 'sequence'),
    hash: textOf(item, 'hash'),
    changed: item.changed === undefined ? [] : (JSON.parse(textOf(item, 'changed')) as Changed[]),
  };
}

/**
 * A query is not isolated from transactions (it is read-committed, item by item): what it returned is one state only if the revision stood still
 * meanwhile, and if it holds what that revision wrote, whose head may be seen before its other items are. Of the revision before nothing can be
 * missing: the next transaction takes the same head, so it cannot begin before that one has ended.
 */
export async function readConfiguration(table: Table): Promise<Configuration> {
  let before = (await readHead(table)).revision;
  for (let attempt = 0; attempt < 100; attempt++) {
    const items = await table.query('CONFIG');
    const { revision: after, changed } = await readHead(table);
    if (after === before && holds(items, changed)) return configurationOf(items, before);
    before = after;
    await backOff(attempt);
  }
  throw new Error('the configuration changed, or did not show its last change, 100 times while it was read');
}

/** What the last change set wrote is there, as it wrote it. */
function holds(items: readonly Item[], changed: readonly Changed[]): boolean {
  return changed.every(([sk, revision]) => {
    const item = items.find((one) => textOf(one, 'sk') === sk);
    return revision === null ? item === undefined : item !== undefined && numberOf(item, 'revision') === revision;
  });
}

function configurationOf(items: Item[], revision: number): Configuration {
  const sites = new Map<string, StoredResource<Site>>();
  const farms = new Map<string, StoredFarm>();
  const secrets = new Map<string, StoredSecret>();
  const departures = new Map<string, Departures>();
  let rollout: Rollout | undefined;
  for (const item of items) {
    const [kind, name = ''] = textOf(item, 'sk').split('#');
    if (kind === 'Site') sites.set(name, readResource(item) as StoredResource<Site>);
    else if (kind === 'Farm') farms.set(name, readFarm(item));
    else if (kind === 'Rollout') rollout = readRollout(item);
    else if (kind === 'Secret') secrets.set(name, readResource(item) as StoredSecret);
    else if (kind === 'Departure') departures.set(name, JSON.parse(textOf(item, 'sites')) as Departures);
  }
  return { revision, sites, farms, secrets, departures, rollout };
}

export const unpack = <T>(item: Item, name: string): T =>
  JSON.parse(gunzipSync(item[name]?.B as Uint8Array).toString()) as T;
export const readRollout = (item: Item): Rollout => unpack<Rollout>(item, 'rollout');

export function readResource(item: Item): StoredResource {
  return {
    spec: JSON.parse(textOf(item, 'spec')) as StoredSpec,
    revision: numberOf(item, 'revision'),
    updatedAt: textOf(item, 'updatedAt'),
  };
}

function readFarm(item: Item): StoredFarm {
  const tokenKeys = JSON.parse(textOf(item, 'tokenKeys')) as TokenKey[];
  return { ...(readResource(item) as StoredResource<Farm>), tokenKeys };
}

import { createHash } from 'node:crypto';
import { canonicalJson, type Farm, type Snapshot } from '@sipfleet/contract';
import type { Configuration, Departures, StoredFarm, StoredSecret } from './configuration.ts';
import { revisionsOf, secretsOfSite } from './secrets.ts';

/** What the agents of one site run, with the bytes that go out and their SHA-256 as hex. */
export interface CompiledSnapshot {
  readonly site: string;
  readonly generation: number;
  readonly etag: string;
  /** Canonical JSON of a contract `Snapshot`. Carries keys: never logged. */
  readonly body: string;
}

/**
 * Compiles a site's snapshot. It depends on nothing but the site's farms, their Secrets' revisions and what left the site, so that an unrelated
 * change keeps every byte. A site that does not exist (any more) has no farms.
 */
export function compileSnapshot(configuration: Configuration, site: string): CompiledSnapshot {
  const farms = [...configuration.farms.values()]
    .filter(({ spec }) => spec.sites.includes(site))
    .sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  const secrets = secretsOfSite(configuration, site);
  const generation = generationOf(configuration, site, [...farms, ...secrets]);
  const snapshot: Omit<Snapshot, 'farms'> = {
    format: 1,
    site,
    generation,
    ...(secrets.length === 0 ? {} : { secrets: revisionsOf(secrets) }),
  };
  // `farms` comes first in canonical order.
  const body = `{"farms":[${farms.map(canonicalFarm).join(',')}],${canonicalJson(snapshot).slice(1)}`;
  return { site, generation, body, etag: createHash('sha256').update(body).digest('hex') };
}

/** Made once of a farm, which is the same on all of its sites. */
function canonicalFarm(farm: StoredFarm): string {
  const { spec, revision, tokenKeys } = farm;
  const text =
    CANONICAL.get(farm) ??
    canonicalJson({ spec, revision, tokenKeys: [...tokenKeys] } satisfies Snapshot['farms'][number]);
  CANONICAL.set(farm, text);
  return text;
}
const CANONICAL = new WeakMap<StoredFarm, string>();

/** The global revision at which this site's content last changed: a farm or a Secret changed here, or a farm left. */
function generationOf(
  configuration: Configuration,
  site: string,
  resources: readonly (StoredFarm | StoredSecret)[],
): number {
  let generation = 0;
  for (const { revision } of resources) generation = Math.max(generation, revision);
  for (const left of configuration.departures.values())
    if (Object.hasOwn(left, site)) generation = Math.max(generation, left[site] as number);
  return generation;
}

/** Sites whose snapshot changes when a farm goes from `before` to `after` (undefined: it does not exist). */
export function affectedSites(before: Farm | undefined, after: Farm | undefined): string[] {
  return [...new Set([...(before?.sites ?? []), ...(after?.sites ?? [])])].sort();
}

/** Adds the sites that a farm leaves with this write. Undefined: it leaves none. */
export function departuresAfter(
  known: Departures | undefined,
  before: Farm | undefined,
  after: Farm | undefined,
  revision: number,
): Departures | undefined {
  const left = (before?.sites ?? []).filter((site) => !after?.sites.includes(site));
  if (left.length === 0) return undefined;
  return { ...known, ...Object.fromEntries(left.map((site) => [site, revision])) };
}

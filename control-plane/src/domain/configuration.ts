import type { Farm, Kind, Site, TokenKey } from '@sipfleet/contract';
import type { Rollout } from './rollout.ts';
import type { SealedSecret } from './secrets.ts';

/** What a store holds of a resource: all that its operator wrote, except that a Secret's values are sealed. */
export type StoredSpec = Site | Farm | SealedSecret;

/** A resource as it is stored. `revision` is the global revision that last changed it. */
export interface StoredResource<T extends StoredSpec = StoredSpec> {
  readonly spec: T;
  readonly revision: number;
  /** RFC 3339. */
  readonly updatedAt: string;
}

export interface StoredFarm extends StoredResource<Farm> {
  /** Made at the farm's first PUT, kept over updates, gone with it. First signs. Never logged, never returned to operators. */
  readonly tokenKeys: readonly TokenKey[];
}

export type StoredSecret = StoredResource<SealedSecret>;

/** Which sites a farm has left, and the revision at which: without it a site's generation would fall when a farm goes away. */
export type Departures = Readonly<Record<string, number>>;

/** Everything that operators wrote, as it was at one revision. */
export interface Configuration {
  readonly revision: number;
  readonly sites: ReadonlyMap<string, StoredResource<Site>>;
  readonly farms: ReadonlyMap<string, StoredFarm>;
  readonly secrets: ReadonlyMap<string, StoredSecret>;
  /** By farm name; also of farms that are gone. */
  readonly departures: ReadonlyMap<string, Departures>;
  /** The last one that was opened, under way or ended; undefined: there never was one. */
  readonly rollout?: Rollout | undefined;
}

export function find(configuration: Configuration, kind: Kind, name: string): StoredResource | undefined {
  return { Site: configuration.sites, Farm: configuration.farms, Secret: configuration.secrets }[kind].get(name);
}

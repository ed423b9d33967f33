import { Farm, type FarmInput, Site } from '@sipfleet/contract';
import type {
  Configuration,
  Departures,
  StoredFarm,
  StoredResource,
  StoredSecret,
  StoredSpec,
} from './configuration.ts';

export const AT = '2026-01-02T03:04:05.000Z';
export const KEY = { id: 1, key: '00112233445566778899aabbccddeeff' };

export const site = (name: string): Site => Site.parse({ kind: 'Site', name });

export const farm = (name: string, sites: string[], over: Partial<FarmInput> = {}): Farm =>
  Farm.parse({
    kind: 'Farm',
    name,
    sites,
    listeners: [{ transport: 'udp', port: 5060 }],
    backends: [{ name: 'pbx1', address: '10.0.0.11' }],
    ...over,
  });

/** A configuration whose resources were stored in this order, from revision 1 on. */
export function configuration(specs: StoredSpec[], departures: Record<string, Departures> = {}): Configuration {
  const sites = new Map<string, StoredResource<Site>>();
  const farms = new Map<string, StoredFarm>();
  const secrets = new Map<string, StoredSecret>();
  for (const [i, spec] of specs.entries())
    if (spec.kind === 'Site') sites.set(spec.name, { spec, revision: i + 1, updatedAt: AT });
    else if (spec.kind === 'Secret') secrets.set(spec.name, { spec, revision: i + 1, updatedAt: AT });
    else farms.set(spec.name, { spec, revision: i + 1, updatedAt: AT, tokenKeys: [KEY] });
  return { revision: specs.length, sites, farms, secrets, departures: new Map(Object.entries(departures)) };
}

import { type CompiledSnapshot, compileSnapshot } from '../domain/compile.ts';
import type { Configuration } from '../domain/configuration.ts';
import type { Store } from './store.ts';

/** The stored configuration as it is now, and what is compiled from it. Costs one small read while nothing changes. */
export interface Current {
  configuration(): Promise<Configuration>;
  snapshot(site: string): Promise<CompiledSnapshot>;
}

export function createCurrent(store: Pick<Store, 'revision' | 'configuration'>): Current {
  let known: Configuration | undefined;
  let compiled = new Map<string, CompiledSnapshot>();

  async function configuration(): Promise<Configuration> {
    const revision = await store.revision();
    if (known?.revision === revision) return known;
    const read = await store.configuration();
    // A slower reader must not put an older state back.
    if (known === undefined || read.revision > known.revision) {
      known = read;
      compiled = new Map();
    }
    return read;
  }

  return {
    configuration,
    async snapshot(site) {
      const read = await configuration();
      if (read !== known) return compileSnapshot(read, site);
      const snapshot = compiled.get(site) ?? compileSnapshot(read, site);
      compiled.set(site, snapshot);
      return snapshot;
    },
  };
}

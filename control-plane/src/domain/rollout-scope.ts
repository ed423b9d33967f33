import { show } from '@sipfleet/contract';
import { affectedBy, type ResourceChange, targetOf } from './changes.ts';
import type { Configuration } from './configuration.ts';
import { configurationBefore, type Rollout } from './rollout.ts';
import { sitesOfSecret } from './secrets.ts';
import type { ResourceFault } from './validate.ts';

/** Whether changes touch a site of a rollout that is under way, or something that its farms need, before or after. */
export function concernsRollout(
  configuration: Configuration,
  { sites, farms }: Rollout,
  changes: readonly ResourceChange[],
): boolean {
  const before = configurationBefore(configuration);
  return changes.some((change) => {
    const { kind, name } = targetOf(change);
    if (kind === 'Site') return change.action === 'delete' && sites.includes(name);
    if (kind === 'Farm' && farms.includes(name)) return true;
    const touched = [...affectedBy(configuration, change), ...affectedBy(before, change)];
    return touched.some((site) => sites.includes(site));
  });
}

/** What was before stands in the record of a rollout, which has to fit into an item. Bytes of JSON. */
const MAX_BEFORE = 1_000_000;

/** Changes that cannot be taken to some agents and kept from others. */
export function notStaged(configuration: Configuration, changes: readonly ResourceChange[]): ResourceFault[] {
  const farms = changes.map(targetOf).flatMap(({ kind, name }) => (kind === 'Farm' ? name : []));
  const bytes = Buffer.byteLength(JSON.stringify(farms.map((name) => configuration.farms.get(name) ?? null)));
  if (bytes > MAX_BEFORE) {
    const allowed = `at most ${MAX_BEFORE} in one rollout: change fewer at once`;
    return [{ resource: 0, field: '', found: `farms of ${bytes} bytes of JSON`, allowed }];
  }
  return changes.flatMap((change, resource): ResourceFault[] => {
    const { kind, name } = targetOf(change);
    const fault = (allowed: string, message: string) => [
      { resource, field: 'name', found: show(name), allowed, message },
    ];
    if (kind === 'Secret' && sitesOfSecret(configuration, name).length > 0)
      return fault(
        'a Secret that no farm names yet',
        'agents have one value of a Secret, all of them the same: change it without a rollout',
      );
    if (kind === 'Site' && change.action === 'delete')
      return fault('no deletion of a Site', 'a farm that is rolled back could not return to it: delete it afterwards');
    return [];
  });
}

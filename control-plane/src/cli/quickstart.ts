import { fileURLToPath } from 'node:url';
import { type Farm, parseResource, type Resource } from '@sipfleet/contract';
import { readDocuments, type SourceDocument } from './documents.ts';
import type { Io } from './io.ts';
import type { HostPort } from './ports.ts';

/** Names in `infra/examples/quickstart.yaml`. */
export const QUICKSTART = { site: 'local', farm: 'quickstart' } as const;

const root = new URL('../../../', import.meta.url);
const pathOf = (path: string): string => fileURLToPath(new URL(path, root));

/** The demo PBXs and the traffic generator: beside the product, run as processes of their own. */
export const DEMO = { pbx: pathOf('test/demo-pbx/main.ts'), traffic: pathOf('test/demo-pbx/traffic.ts') } as const;

/** Who may register there. The same as in `test/demo-pbx/users.ts`. */
export const DEMO_USERS = [
  { user: 'bonnie', password: 'bonnie-pass' },
  { user: 'clyde', password: 'clyde-pass' },
] as const;

export function readQuickstart(io: Io): Promise<SourceDocument[]> {
  return readDocuments([pathOf('infra/examples/quickstart.yaml')], io);
}

/** The quickstart with the address that was asked for, and PBXs where they really are. */
export function placeQuickstart(
  documents: readonly SourceDocument[],
  sip: HostPort,
  pbxs: readonly HostPort[],
): SourceDocument[] {
  return documents.map((document) => ({ ...document, resource: place(document.resource, sip, pbxs) }));
}

function place(resource: Resource, sip: HostPort, pbxs: readonly HostPort[]): Resource {
  if (resource.kind !== 'Farm') return resource;
  const farm: Farm = {
    ...resource,
    listeners: resource.listeners.map((l) => ({ ...l, address: sip.host, port: sip.port })),
    backends: resource.backends.map((b, i) => ({
      ...b,
      address: pbxs[i]?.host ?? b.address,
      port: pbxs[i]?.port ?? b.port,
    })),
  };
  return parseResource(farm);
}

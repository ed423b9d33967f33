import { baseUrl, ControlPlaneClient } from './client.ts';
import type { FixtureControlPlane } from './control-plane.fixture.ts';
import type { Identity } from './identity.ts';
import { Link, type LinkPorts } from './link.ts';
import { PushSocket } from './push.ts';
import { SecretKeeper } from './secret-keeper.ts';
import { ServerClock } from './server-clock.ts';
import { SnapshotStore } from './store.ts';
import { Trust } from './trust.ts';

export const clock = { now: () => Date.now(), monotonic: () => performance.now() };
export const quiet = { info: () => {}, warn: () => {}, error: () => {} };

export interface WiredLink {
  link: Link;
  stop: AbortController;
}

/** A link as agent.ts wires it. `apply` stands for the data threads. */
export async function wireLink(
  plane: FixtureControlPlane,
  { data, identity }: { data: string; identity: Identity },
  ports: Pick<LinkPorts, 'apply'> & Partial<LinkPorts>,
): Promise<WiredLink> {
  const stop = new AbortController();
  const base = baseUrl(plane.url);
  const token = () => identity.token();
  const log = quiet as never;
  const push = new PushSocket({
    base,
    token,
    log,
    onOpen: () => link.refresh(),
    onMessage: (m) => m.type === 'snapshot' && link.onHint(m),
  });
  const client = new ControlPlaneClient(base, token, new ServerClock(clock), stop.signal, (asked) => push.ask(asked));
  const trust = await Trust.load(data, () => client.signingKeys());
  const { agentId, sealKey, site } = identity;
  const link: Link = new Link({
    client,
    trust,
    secrets: new SecretKeeper({ client, trust, agentId, sealKey }),
    site,
    push,
    store: new SnapshotStore(data, trust),
    backends: () => [],
    checks: () => [],
    version: '0.1.0',
    heard: () => {},
    clock,
    address: '10.0.0.21',
    log,
    ...ports,
  });
  return { link, stop };
}

/** Ends links, twice each: that is safe. */
export function closeLinks(links: WiredLink[]): void {
  for (const { link, stop } of links.splice(0)) {
    stop.abort();
    link.close();
    link.close();
  }
}

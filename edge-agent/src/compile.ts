import { Failover, type Farm, parseCidr, parseDuration, type Snapshot } from '@sipfleet/contract';
import { formerOrders, lagOf } from './balancer/lag.ts';
import { createNonces } from './balancer/nonces.ts';
import { createRecentCalls } from './balancer/recent-calls.ts';
import { createRecoveries, keepRecoveries } from './balancer/recovery.ts';
import { backendId, rankCandidates, sameOrder } from './balancer/rendezvous.ts';
import { createTurns } from './balancer/round-robin.ts';
import { createSignals } from './balancer/signals.ts';
import { certificateExpiry, compileStream } from './compile-transport.ts';
import { AgentError } from './errors.ts';
import type { AffinityKey, BackendPlan, FarmPlan, ListenerPlan, Plan } from './plan.ts';
import { type Secrets, TRANSPORT } from './ports.ts';

/**
 * Snapshot → what the data threads run. Throws AgentError PLAN where the snapshot cannot run on this agent.
 *
 * @param agent its number in the fleet and its own address, for listeners that name none
 * @param secrets those that its farms name
 * @param past the second since the epoch, and the plan that this one follows, if any: the candidate orders that still matter are taken over from it
 */
export function compilePlan(
  snapshot: Snapshot,
  etag: string,
  agent: { number: number; address: string },
  secrets: Secrets = new Map(),
  past: { now: number; plan?: Plan } = { now: 0 },
): Plan {
  const plan: Plan = { etag, generation: snapshot.generation, agent: agent.number, listeners: [], farms: [] };
  let firstBackend = 0;
  for (const [index, farm] of snapshot.farms.entries()) {
    plan.listeners.push(
      ...farm.spec.listeners.map((_, l) => compileListener(farm.spec, l, index, agent.address, secrets)),
    );
    const compiled = compileFarm(farm.spec, farm.tokenKeys, firstBackend, snapshot.site);
    const before = past.plan?.farms.find(({ name }) => name === compiled.name);
    if (before) takeOver(before, compiled, past.now);
    else if (past.now > 0) compiled.lag.unknown.until = past.now + compiled.lag.seconds;
    plan.farms.push(compiled);
    firstBackend += farm.spec.backends.length;
  }
  refuseSharedListeners(plan);
  return plan;
}

function compileListener(spec: Farm, index: number, farm: number, own: string, secrets: Secrets): ListenerPlan {
  const l = spec.listeners[index]!;
  const address = l.address ?? own;
  const advertise = { clients: l.advertise?.clients ?? address, backends: l.advertise?.backends ?? address };
  const stream = compileStream(spec, index, secrets);
  const expires = certificateExpiry(stream);
  const plan = {
    farm,
    transport: TRANSPORT[l.transport],
    address,
    ownAddress: l.address === undefined,
    port: l.port,
    advertise,
  };
  return { ...plan, ...(stream && { stream }), ...(expires !== undefined && { certificateExpires: expires }) };
}

function compileFarm(
  farm: Farm,
  keys: Snapshot['farms'][number]['tokenKeys'],
  firstBackend: number,
  site: string,
): FarmPlan {
  const backends = farm.backends.map((b) => compileBackend(b, site));
  const ids = new Map<number, string>();
  for (const b of backends) {
    const twin = ids.get(b.id);
    if (twin !== undefined)
      throw new AgentError(
        'PLAN',
        `farm ${farm.name}: the names ${twin} and ${b.name} have the same 24-bit hash; rename one of them`,
      );
    ids.set(b.id, b.name);
  }
  const strategy = farm.balancing.strategy;
  const key = compileKey(farm.balancing.key);
  const candidates = rankCandidates(backends);
  const undrained = backends.map((b) => ({ ...b, drain: false }));
  const unknown = { until: 0, candidates: sameOrder(backends, undrained) ? candidates : rankCandidates(undrained) };
  const maxExpires = Math.floor((parseDuration(farm.registration.maxExpires ?? '') ?? 0) / 1000);
  return {
    name: farm.name,
    strategy,
    names: farm.names,
    key,
    stateful: farm.transactions === 'stateful',
    failover: compileFailover(farm),
    registration: farm.registration.mode,
    maxExpires,
    backends,
    firstBackend,
    tokenKeys: keys.map(({ id, key }) => ({ id, key: Uint8Array.from(Buffer.from(key, 'hex')) })),
    candidates,
    lag: { ...lagOf({ strategy, key, maxExpires }), before: [], unknown },
    recovered: createRecoveries(backends.length),
    sessions: new SharedArrayBuffer(backends.length * Int32Array.BYTES_PER_ELEMENT),
    nonces: createNonces(),
    turns: strategy === 'hash' ? undefined : { taken: createTurns(), calls: createRecentCalls() },
    signals: createSignals(backends.length),
    traceparent: farm.tracing?.traceparent ?? false,
    cutConnections: farm.health.cutConnections,
    states: new SharedArrayBuffer(backends.length),
  };
}

/** What a farm's new plan must know of the one that it replaces. */
function takeOver(running: FarmPlan, next: FarmPlan, now: number): void {
  next.lag.before = formerOrders(running, next, now);
  next.lag.unknown.until = running.lag.unknown.until;
  keepRecoveries(running, next);
  // The same memory: threads that still run the plan before go on writing where the next one reads.
  next.nonces = running.nonces;
  if (next.turns) next.turns = running.turns ?? next.turns;
}

function compileFailover(farm: Farm): FarmPlan['failover'] {
  const { timeout, codes, lateAnswer } = Failover.parse(farm.failover ?? {});
  return { timeoutMs: parseDuration(timeout) ?? 1500, codes, release: lateAnswer === 'release' };
}

/** `user` or `header:X-Tenant` → kind and name. */
function compileKey(text: string): AffinityKey {
  const [kind, header = ''] = text.split(':');
  return { kind: kind as AffinityKey['kind'], header: header.toLowerCase() };
}

/** The tiers of backends that stand elsewhere come behind the last one of those that are near. */
const FAR = 9;

function compileBackend(b: Farm['backends'][number], site: string): BackendPlan {
  return {
    name: b.name,
    id: backendId(b.name),
    address: b.address,
    port: b.port,
    transport: TRANSPORT[b.transport],
    tcpAbove: b.tcpAbove ?? 0,
    weight: b.weight,
    priority: b.priority + (b.site === undefined || b.site === site ? 0 : FAR),
    drain: b.drain ?? false,
    sources: (b.sources ?? [b.address]).map(compileSource),
  };
}

function compileSource(text: string): BackendPlan['sources'][number] {
  const block = parseCidr(text);
  if (!block) throw new AgentError('PLAN', `source ${text}: not an address or CIDR block`);
  return block;
}

/** Two farms that rely on "own address" can only collide here, where the address is known. */
function refuseSharedListeners(plan: Plan): void {
  const seen = new Map<string, string>();
  for (const l of plan.listeners) {
    // What runs on TCP shares its ports.
    const key = `${l.transport === TRANSPORT.udp ? 'udp' : 'tcp'}/${l.address}/${l.port}`;
    const farm = plan.farms[l.farm]!.name;
    const other = seen.get(key);
    if (other !== undefined)
      throw new AgentError(
        'PLAN',
        `farms ${other} and ${farm} both listen on ${l.address}:${l.port} (${l.transport === TRANSPORT.udp ? 'udp' : 'tcp'})`,
      );
    seen.set(key, farm);
  }
}

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Farm, Kind, Resource, SecretView, Site } from '@sipfleet/contract';
import type {
  AgentView,
  BackendView,
  CheckView,
  JoinTokenResponse,
  Page,
  Problem,
  RunCheckResponse,
  SigningKeyView,
  Stored,
} from './api.ts';
import type { TokenMade, TokenRequest, TokenView } from './api-access.ts';
import type {
  AuditPage,
  ChangesResponse,
  DiffResponse,
  DriftResponse,
  PlanResponse,
  RollbackDone,
  RollbackPlan,
  VersionView,
} from './api-changes.ts';
import type { RolloutRequest, RolloutView } from './api-rollouts.ts';

/** The control plane refused. `problem` says why (RFC 9457), with faults where the input was wrong. */
export class ApiError extends Error {
  readonly code = 'API';
  readonly status: number;
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.name = 'ApiError';
    this.status = problem.status;
    this.problem = problem;
  }
}

/** The control plane gave no answer that can be understood: wrong address, not running, or something else listens there. */
export class UnreachableError extends Error {
  readonly code = 'UNREACHABLE';
  constructor(url: string, reason: string, options?: ErrorOptions) {
    super(`no control plane answers at ${url}: ${reason}`, options);
    this.name = 'UnreachableError';
  }
}

/** A write either replaces the revision that was read, or creates what must not exist yet. */
export type Precondition = { ifMatch: number } | { ifNoneMatch: '*' };

/** `revision`: the one that was read; null: it must not exist yet. */
export type ResourceChange =
  | { action: 'put'; revision: number | null; resource: Resource }
  | { action: 'delete'; revision: number; kind: Kind; name: string };

/** How a change is to reach the agents; what is left out is as the control plane has it. */
export type RolloutInput = Partial<RolloutRequest>;

/** What comes back of a kind. */
type SpecOf<K extends Kind> = { Site: Site; Farm: Farm; Secret: SecretView }[K];

export interface ClientOptions {
  /** `http://127.0.0.1:8080` */
  url: string;
  /** `sft_…`; only {@link Client.healthy} works without. */
  token?: string;
  /** Whole milliseconds before a request is given up. Default 30,000. */
  timeoutMs?: number;
  fetch?: typeof fetch;
}

/** The operator's side of the HTTP API. Every method throws {@link ApiError} or {@link UnreachableError}. */
export interface Client {
  /** `created` is false for an update, also one that changed nothing (its revision is then the old one). */
  putResource<T extends Resource>(
    resource: T,
    when: Precondition,
  ): Promise<Stored<SpecOf<T['kind']>> & { created: boolean }>;
  /** Undefined where there is none. */
  getResource<K extends Kind>(kind: K, name: string): Promise<Stored<SpecOf<K>> | undefined>;
  listResources<K extends Kind>(kind: K): Promise<Stored<SpecOf<K>>[]>;
  deleteResource(kind: Kind, name: string, revision: number): Promise<void>;
  /**
   * Validates the whole set as it would be after applying it; writes nothing. Faults carry the index of their resource, deletions
   * counted after the resources.
   */
  plan(resources: readonly unknown[], deletions?: readonly { kind: Kind; name: string }[]): Promise<PlanResponse>;
  /** At most 31 resources in one revision, or none. Where the answer is lost it asks again, and nothing is done twice. */
  change(changes: readonly ResourceChange[], rollout?: RolloutInput): Promise<ChangesResponse>;
  /** Farms as they were. @param to default: before the last change */
  rollback(to: number | undefined, rollout?: RolloutInput): Promise<RollbackDone>;
  planRollback(to: number | undefined): Promise<RollbackPlan>;
  /** Newest first, at most `limit`. */
  listRollouts(limit: number): Promise<RolloutView[]>;
  getRollout(number: number): Promise<RolloutView>;
  tellRollout(number: number, verb: 'pause' | 'resume' | 'abort'): Promise<RolloutView>;
  /** Newest first, at most `limit`. */
  history(kind: 'Site' | 'Farm', name: string, limit: number): Promise<VersionView[]>;
  /** @param to default: the current revision */
  diffRevisions(kind: 'Site' | 'Farm', name: string, from: number, to?: number): Promise<DiffResponse>;
  /** Pages of the audit log with where the log ends. */
  audit(query?: { order?: 'oldest-first' | 'newest-first'; limit?: number }): AsyncGenerator<AuditPage>;
  createJoinToken(site: string, ttl?: string): Promise<JoinTokenResponse>;
  createToken(request: TokenRequest): Promise<TokenMade>;
  listTokens(): Promise<TokenView[]>;
  /** By name or id. */
  revokeToken(name: string): Promise<void>;
  listAgents(): Promise<AgentView[]>;
  revokeAgent(agentId: string): Promise<void>;
  /** What an agent runs beside what it should. */
  agentDrift(agentId: string): Promise<DriftResponse>;
  /** Of one farm, or of all. */
  listChecks(farm?: string): Promise<CheckView[]>;
  /** Every backend as the agents of each site hold it. */
  listBackends(farm?: string): Promise<BackendView[]>;
  /** Has an agent make a check now; takes as long as the check does. */
  runCheck(path: { farm: string; backend: string; check: string }): Promise<RunCheckResponse>;
  /** Oldest first; the last one signs. */
  listSigningKeys(): Promise<SigningKeyView[]>;
  /** Makes a new key, which signs snapshots from now on. */
  rotateSigningKey(): Promise<SigningKeyView>;
  /** False where nothing answers yet. */
  healthy(): Promise<boolean>;
}

const COLLECTION = { Site: 'sites', Farm: 'farms', Secret: 'secrets' } as const;

export function createClient(options: ClientOptions): Client {
  const request = requester(options);
  const pathOf = (kind: Kind, name: string) => `/v1/${COLLECTION[kind]}/${encodeURIComponent(name)}`;

  async function listAll<T>(path: string, farm?: string): Promise<T[]> {
    const items: T[] = [];
    const query = new URLSearchParams({ limit: '1000', ...(farm === undefined ? {} : { farm }) });
    let cursor: string | undefined;
    do {
      if (cursor !== undefined) query.set('cursor', cursor);
      const page: Page<T> = (await request('GET', `${path}?${query}`)).body as Page<T>;
      items.push(...page.items);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return items;
  }

  /** Sends it again where the answer is lost; the key keeps it from being done twice. */
  async function once(path: string, body: unknown): Promise<unknown> {
    const headers = { 'idempotency-key': `"${randomUUID()}"` };
    for (let attempt = 1; ; attempt++) {
      try {
        return (await request('POST', path, body, headers)).body;
      } catch (error) {
        if (!(error instanceof UnreachableError) || attempt === MAX_TRIES) throw error;
        await delay(RETRY_MS * attempt);
      }
    }
  }

  return {
    async putResource<T extends Resource>(resource: T, when: Precondition) {
      const headers: Record<string, string> =
        'ifMatch' in when ? { 'if-match': `"${when.ifMatch}"` } : { 'if-none-match': '*' };
      const { status, body } = await request('PUT', pathOf(resource.kind, resource.name), resource, headers);
      return { ...(body as Stored<SpecOf<T['kind']>>), created: status === 201 };
    },
    async getResource<K extends Kind>(kind: K, name: string) {
      try {
        return (await request('GET', pathOf(kind, name))).body as Stored<SpecOf<K>>;
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return undefined;
        throw error;
      }
    },
    listResources: (kind) => listAll(`/v1/${COLLECTION[kind]}`),
    async deleteResource(kind, name, revision) {
      await request('DELETE', pathOf(kind, name), undefined, { 'if-match': `"${revision}"` });
    },
    async plan(resources, deletions = []) {
      return (await request('POST', '/v1/plan', { resources, delete: deletions })).body as PlanResponse;
    },
    change: async (changes, rollout) => (await once('/v1/changes', { changes, rollout })) as ChangesResponse,
    rollback: async (to, rollout) => (await once('/v1/rollbacks', { to, rollout })) as RollbackDone,
    async planRollback(to) {
      return (await request('POST', '/v1/rollbacks?dryRun=true', { to })).body as RollbackPlan;
    },
    async listRollouts(limit) {
      return ((await request('GET', `/v1/rollouts?limit=${limit}`)).body as Page<RolloutView>).items;
    },
    getRollout: async (number) => (await request('GET', `/v1/rollouts/${number}`)).body as RolloutView,
    tellRollout: async (number, verb) => (await request('POST', `/v1/rollouts/${number}/${verb}`)).body as RolloutView,
    async history(kind, name, limit) {
      const path = `${pathOf(kind, name)}/history?limit=${limit}`;
      return ((await request('GET', path)).body as Page<VersionView>).items;
    },
    async diffRevisions(kind, name, from, to) {
      const path = `${pathOf(kind, name)}/diff?from=${from}${to === undefined ? '' : `&to=${to}`}`;
      return (await request('GET', path)).body as DiffResponse;
    },
    async *audit({ order = 'oldest-first', limit = 1000 } = {}) {
      let cursor: string | undefined;
      do {
        const query = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
        const page = (await request('GET', `/v1/audit?order=${order}&limit=${limit}${query}`)).body as AuditPage;
        yield page;
        cursor = page.cursor;
      } while (cursor !== undefined);
    },
    async createJoinToken(site, ttl) {
      const body = ttl === undefined ? { site } : { site, ttl };
      return (await request('POST', '/v1/join-tokens', body)).body as JoinTokenResponse;
    },
    createToken: async (wanted) => (await request('POST', '/v1/tokens', wanted)).body as TokenMade,
    listTokens: async () => ((await request('GET', '/v1/tokens')).body as Page<TokenView>).items,
    async revokeToken(name) {
      await request('DELETE', `/v1/tokens/${encodeURIComponent(name)}`);
    },
    listAgents: () => listAll<AgentView>('/v1/agents'),
    async revokeAgent(agentId) {
      await request('DELETE', `/v1/agents/${encodeURIComponent(agentId)}`);
    },
    async agentDrift(agentId) {
      return (await request('GET', `/v1/agents/${encodeURIComponent(agentId)}/drift`)).body as DriftResponse;
    },
    async listSigningKeys() {
      return ((await request('GET', '/v1/signing-keys')).body as Page<SigningKeyView>).items;
    },
    async rotateSigningKey() {
      return (await request('POST', '/v1/signing-keys')).body as SigningKeyView;
    },
    listChecks: (farm) => listAll<CheckView>('/v1/checks', farm),
    listBackends: (farm) => listAll<BackendView>('/v1/backends', farm),
    async runCheck({ farm, backend, check }) {
      const path = `/v1/checks/${[farm, backend, check].map(encodeURIComponent).join('/')}/run`;
      return (await request('POST', path, undefined, {}, RUN_CHECK_MS)).body as RunCheckResponse;
    },
    async healthy() {
      try {
        return (await request('GET', '/healthz')).status === 200;
      } catch (error) {
        if (error instanceof ApiError || error instanceof UnreachableError) return false;
        throw error;
      }
    },
  };
}

/** An answer that is lost is asked for again, a little later each time. */
const MAX_TRIES = 3;
const RETRY_MS = 200;
/** The longest timeout of a check, and the way to the agent and back. */
const RUN_CHECK_MS = 330_000;

type Answer = { status: number; body: unknown };

function requester({ url, token, timeoutMs = 30_000, fetch: send = fetch }: ClientOptions) {
  const base = url.replace(/\/+$/, '');
  return async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    limitMs = timeoutMs,
  ): Promise<Answer> => {
    const init: RequestInit = {
      method,
      headers: {
        accept: 'application/json',
        'user-agent': 'sipfleet',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      signal: AbortSignal.timeout(limitMs),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    };
    let response: Response;
    let text: string;
    try {
      response = await send(`${base}${path}`, init);
      text = await response.text();
    } catch (error) {
      throw new UnreachableError(base, reasonOf(error), { cause: error });
    }
    const parsed = parseBody(text);
    if (response.ok && parsed !== undefined) return { status: response.status, body: parsed };
    if (isProblem(parsed)) throw new ApiError(parsed);
    throw new UnreachableError(
      base,
      `${method} ${path} was answered ${response.status} with something that is not ours`,
    );
  };
}

/** fetch hides the errno one level down. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as { message: string; cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
}

/** Null for no body (204); undefined where it is no JSON. */
function parseBody(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isProblem(body: unknown): body is Problem {
  return typeof body === 'object' && body !== null && typeof (body as Partial<Problem>).detail === 'string';
}

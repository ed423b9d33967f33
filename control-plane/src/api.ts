import {
  AgentReport,
  CHECK_TYPES,
  CheckReport,
  duration,
  Farm,
  type Fault,
  resourceName,
  SecretView,
  SigningKey,
  Site,
  SnapshotStatus,
  Target,
} from '@sipfleet/contract';
import { z } from 'zod';

/** What the HTTP API sends and takes beside the contract's own documents. One source for the routes, OpenAPI and the client. */

/** One thing wrong in a request; `resource` is its index in the list that was sent to `POST /v1/plan`. */
export const ApiFault = z
  .object({
    field: z.string(),
    found: z.string(),
    allowed: z.string(),
    message: z.string().optional(),
    resource: z.int().optional(),
  })
  .meta({ id: 'Fault' });
export interface ApiFault extends Fault {
  resource?: number;
}

/** RFC 9457, `application/problem+json`. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    faults: z.array(ApiFault).optional(),
  })
  .meta({ id: 'Problem' });
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  faults?: ApiFault[];
}

const stored = <T extends z.ZodType>(spec: T) =>
  z.object({ spec, revision: z.int(), updatedAt: z.iso.datetime().meta({ description: 'RFC 3339, UTC' }) });

export const StoredSite = stored(Site).meta({ id: 'StoredSite' });
export const StoredFarm = stored(Farm).meta({ id: 'StoredFarm' });
export const StoredSecret = stored(SecretView).meta({ id: 'StoredSecret' });

/** A resource, the global revision that last changed it, and when. */
export interface Stored<T = Site | Farm | SecretView> {
  spec: T;
  revision: number;
  updatedAt: string;
}

/** `GET …?limit&cursor`. */
export const PageQuery = z.strictObject({
  limit: z.coerce
    .number({ error: 'a whole number from 1 to 1000' })
    .int({ error: 'a whole number from 1 to 1000' })
    .min(1, { error: 'a whole number from 1 to 1000' })
    .max(1000, { error: 'a whole number from 1 to 1000' })
    .default(100),
  cursor: z
    .string()
    .min(1, { error: 'a cursor of the page before' })
    .max(500, { error: 'a cursor of the page before' })
    .optional(),
});

/** One page; `cursor`, where there is more, asks for the next. */
export const page = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), cursor: z.string().optional() });
export interface Page<T> {
  items: T[];
  cursor?: string;
}

export const JoinTokenRequest = z.strictObject({ site: resourceName, ttl: duration('1s', '30d').default('1h') });
export const JoinTokenResponse = z.object({ token: z.string(), site: z.string(), expiresAt: z.iso.datetime() });
export type JoinTokenResponse = z.infer<typeof JoinTokenResponse>;

/** How far what an agent runs is from what it should. */
export const DriftState = z.enum(['none', 'new', 'silent', 'refused', 'behind']).meta({
  description:
    'none: it runs what it should; new: it has never reported; silent: not lately, so what it runs is not known; refused: it said no to what it should run; behind: it runs something else',
});

/** An agent as operators see it. `snapshot`, `lastReportAt`: null before its first report. */
export const AgentView = z
  .object({
    agentId: z.string(),
    number: z.int(),
    name: z.string(),
    site: z.string(),
    version: z.string(),
    connected: z.boolean().meta({ description: 'It holds a push connection to this server' }),
    firstSeenAt: z.iso.datetime(),
    lastReportAt: z.iso.datetime().nullable(),
    snapshot: SnapshotStatus.nullable(),
    target: Target,
    drift: DriftState,
    backends: AgentReport.shape.backends,
  })
  .meta({ id: 'Agent' });
export type AgentView = z.infer<typeof AgentView>;

/** A key that snapshots are signed with: `x` of its Ed25519 JWK. */
export const SigningKeyView = SigningKey.extend({ createdAt: z.iso.datetime() }).meta({ id: 'SigningKey' });
export type SigningKeyView = z.infer<typeof SigningKeyView>;

/** One agent's part in a check. `periodMs`, `phaseMs`: null for cheap checks, which every agent makes at the interval of the farm. */
export const CheckAgentView = z.object({
  agentId: z.string(),
  name: z.string(),
  site: z.string(),
  alive: z.boolean().meta({ description: 'It has reported lately' }),
  periodMs: z.int().nullable(),
  phaseMs: z.int().nullable(),
  last: CheckReport.nullable().meta({
    description: 'null before its first result; of a cheap check: null while it succeeds',
  }),
});
export type CheckAgentView = z.infer<typeof CheckAgentView>;

/** A check of a backend: who makes it when, and what was found last. */
export const CheckView = z
  .object({
    farm: z.string(),
    backend: z.string(),
    check: z.string(),
    type: z.enum(CHECK_TYPES),
    interval: z.string(),
    agents: z.array(CheckAgentView),
  })
  .meta({ id: 'CheckView' });
export type CheckView = z.infer<typeof CheckView>;

export const RunCheckResponse = z.object({ agent: z.string(), site: z.string(), report: CheckReport });
export type RunCheckResponse = z.infer<typeof RunCheckResponse>;

/** A backend as the living agents of one site hold it. */
export const BackendView = z
  .object({
    site: z.string(),
    farm: z.string(),
    backend: z.string(),
    up: z.int(),
    down: z.int(),
    unknown: z.int(),
    agree: z.boolean().meta({ description: 'false: some hold it for up and others for down' }),
    agents: z.array(
      z.object({
        agent: z.string(),
        state: z.enum(['unknown', 'up', 'down']),
        since: z.iso.datetime(),
        reason: z.string(),
      }),
    ),
  })
  .meta({ id: 'BackendView' });
export type BackendView = z.infer<typeof BackendView>;

import { Farm, resourceName, SecretView, Site } from '@sipfleet/contract';
import { z } from 'zod';
import { DriftState, PageQuery, page } from './api.ts';
import { RolloutRequest } from './api-rollouts.ts';

/** Plans, changes, what was before them, and who made them: the part of the HTTP API that is about revisions. */

const KindName = z.enum(['Site', 'Farm', 'Secret']);

export const PlanRequest = z.strictObject({
  resources: z
    .array(z.unknown(), { error: 'a list of resources' })
    .max(2000, { error: 'at most 2000 resources' })
    .meta({ description: 'Resources as for PUT: Site, Farm and Secret' }),
  delete: z
    .array(z.strictObject({ kind: KindName, name: resourceName }), { error: 'a list of kinds and names' })
    .max(2000, { error: 'at most 2000 resources' })
    .default([])
    .meta({ description: 'What would be deleted with it' }),
});

/** What applying one resource would do. `revision`: the stored one, null where there is none. */
export const PlannedChange = z
  .object({
    kind: KindName,
    name: z.string(),
    action: z.enum(['create', 'update', 'none']),
    revision: z.int().nullable(),
    keys: z
      .array(z.string())
      .optional()
      .meta({ description: 'Of a Secret that is updated: the keys whose value is another, new or gone' }),
  })
  .meta({ id: 'PlannedChange' });
export type PlannedChange = z.infer<typeof PlannedChange>;

/** A field that differs between two versions; values as JSON text, at most 80 characters. */
export const FieldChangeView = z
  .object({ field: z.string(), from: z.string(), to: z.string() })
  .meta({ id: 'FieldChange', example: { field: 'backends[pbx1].weight', from: '1', to: '10' } });

const count = z.int().nullable();
/** Whom a change touches, from what agents reported within the last two and a half minutes. null: not known. */
export const BlastRadiusView = z
  .object({
    sites: z.array(z.string()).meta({ description: 'Sites whose agents take a new snapshot' }),
    agents: z.int().meta({ description: 'How many agents that is' }),
    unknown: z.array(z.string()).meta({ description: 'Those of them that do not say what they carry' }),
    calls: count.meta({ description: 'Live calls of the changed farms there; null: no agent says' }),
    registrations: count,
    farms: z.array(z.object({ farm: z.string(), calls: count, registrations: count })),
  })
  .meta({ id: 'BlastRadius' });
export type BlastRadiusView = z.infer<typeof BlastRadiusView>;

export const PlanResponse = z.object({ changes: z.array(PlannedChange), blastRadius: BlastRadiusView });
export type PlanResponse = z.infer<typeof PlanResponse>;

/** What `?dryRun=true` answers: nothing was stored. */
export const DryRunResponse = z
  .object({
    dryRun: z.literal(true),
    changes: z.array(
      z.object({
        kind: KindName,
        name: z.string(),
        action: z.enum(['create', 'update', 'delete', 'none']),
        revision: z.int().nullable().meta({ description: 'The stored one; null: there is none' }),
        fields: z.array(FieldChangeView),
      }),
    ),
    blastRadius: BlastRadiusView,
  })
  .meta({ id: 'DryRun' });
export type DryRunResponse = z.infer<typeof DryRunResponse>;

const expectedRevision = z
  .int({ error: 'a revision, or null: it must not exist' })
  .min(0, { error: 'a revision, or null: it must not exist' })
  .nullable()
  .meta({ description: 'The revision that was read; null: it must not exist yet' });

export const ChangesRequest = z
  .strictObject({
    rollout: RolloutRequest.optional().meta({ description: 'Left out: all agents at once' }),
    changes: z
      .array(
        z.discriminatedUnion('action', [
          z.strictObject({
            action: z.literal('put'),
            revision: expectedRevision,
            resource: z.unknown().meta({ description: 'As for PUT: a Site, Farm or Secret' }),
          }),
          z.strictObject({
            action: z.literal('delete'),
            revision: expectedRevision,
            kind: KindName,
            name: resourceName,
          }),
        ]),
        { error: 'a list of changes' },
      )
      .min(1, { error: '1 to 31 changes' })
      .max(31, { error: '1 to 31 changes' }),
  })
  .meta({
    example: {
      changes: [
        { action: 'delete', kind: 'Farm', name: 'pbx', revision: 7 },
        {
          action: 'put',
          revision: null,
          resource: {
            kind: 'Farm',
            name: 'milan-pbx',
            sites: ['milan'],
            listeners: [{ transport: 'udp', port: 5060 }],
            backends: [{ name: 'pbx1', address: '10.0.0.11' }],
          },
        },
      ],
    },
  });
export type ChangesRequest = z.infer<typeof ChangesRequest>;

/** `revision` of a change: what the resource has now; null: it was deleted. */
export const ChangesResponse = z
  .object({
    revision: z.int().meta({ description: 'The one that was made; the one there was where nothing changed' }),
    changes: z.array(
      z.object({
        status: z.enum(['created', 'updated', 'unchanged', 'deleted']),
        kind: KindName,
        name: z.string(),
        revision: z.int().nullable(),
      }),
    ),
  })
  .meta({ id: 'ChangesResponse' });
export type ChangesResponse = z.infer<typeof ChangesResponse>;

export const RollbackRequest = z.strictObject({
  to: z
    .int({ error: 'a revision' })
    .min(0, { error: 'a revision' })
    .optional()
    .meta({ description: 'Left out: the revision before the last change' }),
  rollout: RolloutRequest.optional().meta({ description: 'Left out: all agents at once' }),
});
export type RollbackRequest = z.infer<typeof RollbackRequest>;

const rolledBackTo = {
  to: z.int(),
  left: z.array(z.string()).meta({ description: 'Sites and Secrets that have changed since: they stay as they are' }),
};
export const RollbackResponse = ChangesResponse.extend(rolledBackTo).or(DryRunResponse.extend(rolledBackTo));
export type RollbackDone = ChangesResponse & { to: number; left: string[] };
export type RollbackPlan = DryRunResponse & { to: number; left: string[] };

const ChangeAction = z.enum(['create', 'update', 'delete']);

/** What a resource was from a revision on. `spec`: null where that revision deleted it. */
export const VersionView = z
  .object({
    revision: z.int(),
    at: z.iso.datetime(),
    actor: z.string(),
    action: ChangeAction,
    spec: z.union([Site, Farm, SecretView]).nullable(),
  })
  .meta({ id: 'Version' });
export type VersionView = z.infer<typeof VersionView>;

export const DiffResponse = z.object({
  kind: KindName,
  name: z.string(),
  from: z.int().nullable().meta({ description: 'The revision that made what is compared; null: it did not exist' }),
  to: z.int().nullable(),
  fields: z.array(FieldChangeView),
});
export type DiffResponse = z.infer<typeof DiffResponse>;

export const RevisionView = z
  .object({
    revision: z.int(),
    at: z.iso.datetime(),
    actor: z.string(),
    source: z.string().meta({ description: 'The program it came through, as it named itself' }),
    changes: z.array(z.object({ action: ChangeAction, kind: KindName, name: z.string() })),
  })
  .meta({ id: 'Revision' });
export type RevisionView = z.infer<typeof RevisionView>;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const auditHead = z.object({ sequence: z.int(), hash: sha256 });

/** One entry of the audit log: `hash` is the SHA-256 of the canonical JSON of everything else in it. */
export const AuditEntryView = z
  .object({
    sequence: z.int(),
    id: z.string(),
    at: z.iso.datetime(),
    actor: z.string(),
    source: z.string(),
    action: z.string().meta({ description: '`change` of resources, or a word with a dot, such as agent.revoke' }),
    revision: z.int().nullable(),
    changes: z.array(
      z.object({
        action: ChangeAction,
        kind: KindName,
        name: z.string(),
        from: z.int().nullable().meta({ description: 'The revision before; null: it did not exist' }),
        sha256: sha256.nullable().meta({ description: 'Of the canonical JSON of what was stored; null: deleted' }),
      }),
    ),
    details: z.record(z.string(), z.string()),
    previous: sha256.meta({ description: 'The hash of the entry before; zeros in the first' }),
    hash: sha256,
  })
  .meta({ id: 'AuditEntry' });

export const AuditQuery = PageQuery.extend({
  order: z.enum(['oldest-first', 'newest-first'], { error: 'oldest-first or newest-first' }).default('oldest-first'),
});
export const AuditPage = page(AuditEntryView).extend({
  head: auditHead.meta({ description: 'The last entry that there is' }),
});
export type AuditPage = z.infer<typeof AuditPage>;

/** What an agent runs beside what it should. `fields`: null where what it runs is not known here (any more). */
export const DriftResponse = z
  .object({
    agentId: z.string(),
    name: z.string(),
    site: z.string(),
    drift: DriftState,
    reason: z.string().nullable().meta({ description: 'Why it refused, where it did' }),
    running: z.object({ etag: z.string(), generation: z.int().nullable() }).nullable(),
    target: z.object({ etag: z.string(), generation: z.int() }),
    fields: z.array(FieldChangeView).nullable().meta({ description: 'From what it runs to what it should run' }),
  })
  .meta({ id: 'Drift' });
export type DriftResponse = z.infer<typeof DriftResponse>;

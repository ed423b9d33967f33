import { duration } from '@sipfleet/contract';
import { z } from 'zod';

/** Rollouts as the HTTP API has them. */

const stage = z
  .string()
  .regex(/^([1-9]\d{0,3}|([1-9]\d?|100)%)$/, { error: 'a number of agents, or a percentage such as 10%' });

/** How a change reaches the agents a few at a time. */
export const RolloutRequest = z
  .strictObject({
    stages: z
      .array(stage)
      .min(1, { error: '1 to 10 stages' })
      .max(10, { error: '1 to 10 stages' })
      .refine((stages) => stages.at(-1) === '100%', { error: 'stages that end with 100%' })
      .default(['1', '10%', '50%', '100%']),
    scope: z
      .enum(['fleet', 'site'], { error: 'fleet or site' })
      .default('fleet')
      .meta({ description: 'Whether a stage counts the agents of all sites together, or of each' }),
    bake: duration('0s', '7d')
      .default('5m')
      .meta({ description: 'How long each stage is watched after its agents have applied the change' }),
    ackTimeout: duration('10s', '1d').default('3m').meta({ description: 'How long that may take' }),
  })
  .meta({ id: 'RolloutRequest' });
export type RolloutRequest = z.infer<typeof RolloutRequest>;

const RolloutCounts = z.object({ n: z.int(), bad: z.int() });

/** A rollout as operators see it. `agents`, `gate`: null once it has ended. */
export const RolloutView = z
  .object({
    number: z.int().meta({ description: 'The revision that it takes to the agents' }),
    state: z.enum(['running', 'paused', 'completed', 'rolled-back']),
    actor: z.string(),
    openedAt: z.iso.datetime(),
    farms: z.array(z.string()),
    sites: z.array(z.string()),
    stages: z.array(z.string()),
    scope: z.enum(['fleet', 'site']),
    stage: z.int().meta({ description: 'Index in stages; -1: nobody is moved yet' }),
    bake: z.string(),
    bakeEndsAt: z.iso.datetime().nullable().meta({ description: 'null while agents of the stage have not applied it' }),
    reason: z.string().nullable().meta({ description: 'Why it was rolled back' }),
    agents: z.object({ total: z.int(), moved: z.int(), applied: z.int(), waiting: z.array(z.string()) }).nullable(),
    gate: z
      .array(
        z.object({
          measure: z.string(),
          moved: RolloutCounts,
          others: RolloutCounts,
          strength: z.number(),
          haltsAt: z.number(),
        }),
      )
      .nullable()
      .meta({ description: 'What agents with the change and agents without it did meanwhile' }),
    events: z.array(z.object({ at: z.iso.datetime(), text: z.string() })),
  })
  .meta({ id: 'Rollout' });
export type RolloutView = z.infer<typeof RolloutView>;

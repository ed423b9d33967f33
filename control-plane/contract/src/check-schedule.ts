import { z } from 'zod';
import { ipAddress, resourceName } from './address.ts';

const named = { farm: resourceName, backend: resourceName, check: resourceName };
const evidence = z.string().max(200);

/** What an agent last found with a check. In reports: every expensive check that it makes, and cheap ones that do not succeed. */
export const CheckReport = z.strictObject({
  ...named,
  state: z.enum(['unknown', 'up', 'down']),
  result: z.enum(['success', 'failure', 'inconclusive']),
  /** Where it was decided: `invite`, `media` … */
  phase: z.string().max(20).optional(),
  evidence,
  seconds: z.number().min(0),
  /** RFC 3339. */
  at: z.iso.datetime(),
});
export type CheckReport = z.infer<typeof CheckReport>;

/** Another agent: its number in tokens, and its own address. */
export const PeerAgent = z.strictObject({ number: z.int().min(1).max(65535), address: ipAddress });
export type PeerAgent = z.infer<typeof PeerAgent>;

/** `GET /v1/agent/schedule`: the expensive checks that this agent makes, and what the others of its site found with theirs. */
export const CheckSchedule = z.strictObject({
  format: z.literal(1),
  site: resourceName,
  /** Probes start when the milliseconds since the epoch, modulo `periodMs`, are `phaseMs`. */
  checks: z.array(z.strictObject({ ...named, periodMs: z.int().min(1), phaseMs: z.int().min(0) })),
  /** Of living agents of this site, this one excluded. Good for three minutes after it was last confirmed. */
  verdicts: z.array(z.strictObject({ ...named, agent: z.string().max(100), state: z.enum(['up', 'down']), evidence })),
  /** Backends that some living agents of this site hold for up and others for down. */
  disagreements: z.array(
    z.strictObject({ farm: resourceName, backend: resourceName, up: z.int().min(1), down: z.int().min(1) }),
  ),
  /** The other living agents of this site: a request for a client that is connected to one of them is passed to it. */
  peers: z.array(PeerAgent).max(65535).optional(),
});
export type CheckSchedule = z.infer<typeof CheckSchedule>;

/** Sent over the push socket: another schedule may be there. */
export const ScheduleHint = z.strictObject({
  type: z.literal('schedule'),
  site: resourceName,
  jitterMs: z.int().min(0).max(60_000),
});
export type ScheduleHint = z.infer<typeof ScheduleHint>;

/** Sent over the push socket: make this check now and post the result under this id. */
export const RunCheck = z.strictObject({ type: z.literal('check'), id: z.string().min(1).max(64), ...named });
export type RunCheck = z.infer<typeof RunCheck>;

/** `POST /v1/agent/check-results`. `report`: null where the agent has no such check. */
export const RunCheckResult = z.strictObject({ id: z.string().min(1).max(64), report: CheckReport.nullable() });
export type RunCheckResult = z.infer<typeof RunCheckResult>;

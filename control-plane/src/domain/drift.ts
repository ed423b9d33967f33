import { type FieldChange, fieldChanges, type Snapshot } from '@sipfleet/contract';
import { ALIVE_MS } from './check-plan.ts';
import type { AgentRecord } from './identity.ts';

/**
 * How far what an agent runs is from what it should. `new`: it has never reported. `silent`: it has not reported lately, so what it runs
 * is not known. `refused`: it was offered what it should run, and said no. `behind`: it runs something else, and has not said why.
 */
export const DRIFTS = ['none', 'new', 'silent', 'refused', 'behind'] as const;
export type Drift = (typeof DRIFTS)[number];

/** @param now milliseconds since the epoch */
export function driftOf(
  agent: Pick<AgentRecord, 'lastReportAt' | 'report'>,
  target: { etag: string },
  now: number,
): Drift {
  const { lastReportAt, report } = agent;
  if (lastReportAt === null || report === null) return 'new';
  if (now - Date.parse(lastReportAt) >= ALIVE_MS) return 'silent';
  const { running, status, etag } = report.snapshot;
  if (running === target.etag) return 'none';
  return status === 'FAILED' && etag === target.etag ? 'refused' : 'behind';
}

/** The fields that differ between two snapshots, farms told apart by name. Neither token keys nor values of Secrets. */
export function snapshotChanges(running: Snapshot, target: Snapshot): FieldChange[] {
  const visible = ({ farms, secrets = {} }: Snapshot) => ({ farms: farms.map(({ spec }) => spec), secrets });
  return fieldChanges(visible(running), visible(target));
}

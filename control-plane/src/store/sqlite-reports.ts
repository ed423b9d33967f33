import type { AgentReport } from '@sipfleet/contract';
import type { Sql, Transaction } from './sqlite-changes.ts';

/** Writes agents' reports. */
export interface ReportWriter {
  /** False: there is no such agent (any more). Resolves once it is committed. */
  record(agentId: string, report: AgentReport, at: string): Promise<boolean>;
  /** Writes what waits. */
  flush(): void;
}

/** What comes within this is one transaction: nobody minds to be answered so much later. */
const GATHER_MS = 4;

interface Waiting {
  readonly values: [report: string, version: string, at: string, agentId: string];
  resolve(there: boolean): void;
  reject(error: unknown): void;
}

/**
 * All reports that come within some milliseconds are one transaction: of a crowd, most of the cost of a report would be its commit. Each is answered after
 * the commit, as durable as {@link Sql.withoutWaiting} has it: it outlives this process, and may be lost with the power. The next one of every agent is a minute away.
 */
export function reportWriter({ run, withoutWaiting }: Sql, transaction: Transaction): ReportWriter {
  let waiting: Waiting[] = [];

  function flush(): void {
    const batch = waiting;
    waiting = [];
    if (batch.length === 0) return;
    try {
      const there = withoutWaiting(() => transaction('IMMEDIATE', () => batch.map(({ values }) => write(values))));
      for (const [i, { resolve }] of batch.entries()) resolve(there[i] as boolean);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  const write = (values: Waiting['values']): boolean =>
    run('UPDATE agent SET report = ?, version = ?, last_report_at = ? WHERE agent_id = ?', ...values) > 0;

  return {
    record(agentId, report, at) {
      if (waiting.length === 0) setTimeout(flush, GATHER_MS);
      const values: Waiting['values'] = [JSON.stringify(report), report.version, at, agentId];
      return new Promise((resolve, reject) => waiting.push({ values, resolve, reject }));
    },
    flush,
  };
}

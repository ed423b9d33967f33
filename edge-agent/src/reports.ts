import type { CheckReport } from '@sipfleet/contract';
import type { CheckResult } from './health/check-run.ts';
import type { CheckView } from './health/schedule.ts';
import type { Runtime } from './runtime.ts';
import type { AgentStatus } from './telemetry/admin.ts';

/** Backends as the status and the report to the control plane show them. */
export function backendReports(runtime: Runtime): AgentStatus['backends'] {
  const draining = new Set(
    runtime.workers.plan?.farms.flatMap((f) => f.backends.flatMap((b) => (b.drain ? [`${f.name}/${b.name}`] : []))),
  );
  return runtime.backends().map((b) => ({
    ...b,
    ...(draining.has(`${b.farm}/${b.backend}`) && {
      draining: true as const,
      calls: runtime.callsOf(b.farm, b.backend),
    }),
    since: new Date(b.since).toISOString(),
  }));
}

/** Checks as the report to the control plane shows them. A cheap check that succeeds has no more to tell than its backend's state. */
export function checkReports(runtime: Runtime): CheckReport[] {
  return runtime
    .checks()
    .flatMap((view) =>
      view.last && view.own && (view.expensive || view.last.result !== 'success') ? [checkReport(view, view.last)] : [],
    );
}

function checkReport({ farm, backend, check, state }: CheckView, last: CheckResult): CheckReport {
  const { result, phase, evidence, seconds, at } = last;
  const found = { result, evidence: evidence.slice(0, 200), seconds, at: new Date(at).toISOString() };
  return { farm, backend, check, state, ...found, ...(phase === undefined ? {} : { phase }) };
}

/** Probes now. Null: there is no such check here. */
export async function runCheck(
  runtime: Runtime,
  { farm, backend, check }: { farm: string; backend: string; check: string },
): Promise<CheckReport | null> {
  const last = await runtime.runCheck(farm, backend, check);
  const view = runtime.checks().find((c) => c.farm === farm && c.backend === backend && c.check === check);
  return last && view ? checkReport(view, last) : null;
}

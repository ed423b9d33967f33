import type { Window } from './recording.ts';

export interface AlertRule {
  alert: string;
  expr: string;
  for?: string;
  /** `runbook` (name of the page) and `dashboard` (path and query below Grafana's URL) are labels, so that `ALERTS` has them: the fleet dashboard links to both. */
  labels: { severity: 'critical' | 'warning'; window?: Window; runbook: string; dashboard: string };
  annotations: { summary: string; runbook_url: string; dashboard_url: string };
}

/** Where runbooks and Grafana are, for links that can be clicked; empty: paths, of the repository and of Grafana. */
export interface Places {
  runbooks: string;
  grafana: string;
}
export const REPOSITORY: Places = { runbooks: 'docs/runbooks', grafana: '' };

export interface Alert {
  name: string;
  severity: 'critical' | 'warning';
  expr: string;
  /** How long it must hold. */
  holds?: string;
  summary: string;
  /** Of several alerts of one name: the one that this is about. */
  window?: Window;
  /** Where to look first, as path and query below Grafana's URL. */
  dashboard: string;
}

/** The runbook has the alert's name in small letters: `SipfleetBackendDown` → `backend-down`; both speeds of a burn rate share one. */
export const runbookOf = (name: string): string =>
  name
    .replace(/^Sipfleet|(Fast|Slow)$/g, '')
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, '-')
    .toLowerCase();

export const alert = ({ name, severity, expr, holds, summary, window, dashboard }: Alert): AlertRule => ({
  alert: name,
  expr,
  ...(holds === undefined ? {} : { for: holds }),
  labels: { severity, ...(window === undefined ? {} : { window }), runbook: runbookOf(name), dashboard },
  annotations: {
    summary,
    runbook_url: `${REPOSITORY.runbooks}/${runbookOf(name)}.md`,
    dashboard_url: `${REPOSITORY.grafana}${dashboard}`,
  },
});

export const FARM = '/d/sipfleet-farm?var-site={{ $labels.site }}&var-farm={{ $labels.farm }}';
export const BACKEND =
  '/d/sipfleet-backend?var-site={{ $labels.site }}&var-farm={{ $labels.farm }}&var-backend={{ $labels.backend }}';
export const CALLS = '/d/sipfleet-calls?var-site={{ $labels.site }}&var-farm={{ $labels.farm }}';
export const AGENT = '/d/sipfleet-agent?var-site={{ $labels.site }}&var-agent={{ $labels.agent }}';
export const SECURITY = '/d/sipfleet-security?var-site={{ $labels.site }}';
export const CONTROL_PLANE = '/d/sipfleet-control-plane';

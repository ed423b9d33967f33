import { type CallResult, PHASES, type Verdict } from '../health/call/result.ts';

/** Nagios plugin API: exit codes and their names. */
export const EXIT: Record<Verdict, number> = { ok: 0, warning: 1, critical: 2, unknown: 3 };

/**
 * The one line of a Nagios plugin: state, why, and after the bar performance data: seconds of every phase, packets, loss,
 * jitter, level.
 *
 * @example 'SIP OK - sip:31@192.0.2.1 answered, 50 packets sent, 50 received | total=1.213s invite=0.002s …'
 */
export function nagiosLine(result: CallResult): string {
  const where = result.phase ? `${result.phase}: ` : '';
  const left = result.clean || result.verdict === 'ok' ? '' : ' (something may be left behind at the peer)';
  // The bar and line ends have a meaning of their own.
  const text = `${where}${result.reason}${left}`.replaceAll('|', '/').replace(/\s+/g, ' ');
  return `SIP ${result.verdict.toUpperCase()} - ${text} | ${performanceData(result).join(' ')}`;
}

function performanceData({ phases, audio, ms }: CallResult): string[] {
  const times = PHASES.flatMap((phase) => {
    const entry = phases[phase];
    return entry ? [`${phase}=${seconds(entry.ms)}`] : [];
  });
  const heard = audio
    ? [
        `sent=${audio.sent}`,
        `received=${audio.received}`,
        `loss=${(audio.loss * 100).toFixed(1)}%`,
        `jitter=${seconds(audio.jitterMs)}`,
        ...(audio.levelDb === undefined ? [] : [`level=${audio.levelDb.toFixed(1)}`]),
      ]
    : [];
  return [`total=${seconds(ms)}`, ...times, ...heard];
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(3)}s`;

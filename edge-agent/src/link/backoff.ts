/** Longest wait between two tries, in milliseconds, where the control plane asks for no wider spread. */
export const CAP_MS = 30_000;
const BASE_MS = 1000;

/**
 * Wait before try `attempt` (0 is the first retry): exponential with full jitter, so that a thousand agents whose control
 * plane comes back do not come back in step. The first retry waits less than a second: most outages are restarts.
 *
 * @param spreadMs what the control plane wants the first retries of its whole fleet spread over, as it last said
 */
export function backoffMs(attempt: number, random: () => number = Math.random, spreadMs = 0): number {
  const base = Math.max(BASE_MS, spreadMs);
  return random() * Math.min(Math.max(CAP_MS, base), base * 2 ** attempt);
}

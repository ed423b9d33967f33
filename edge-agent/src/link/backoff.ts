/** Longest wait between two tries, in milliseconds. */
export const CAP_MS = 30_000;
const BASE_MS = 1000;

/**
 * Wait before try `attempt` (0 is the first retry): exponential with full jitter, so that a thousand agents whose control
 * plane comes back do not come back in step. The first retry waits less than a second: most outages are restarts.
 */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** attempt);
}

import { z } from 'zod';

/** Milliseconds per unit a duration may carry. */
const MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `1500ms`, `5s`, `2m`, `1h`, `1d` → milliseconds; undefined where the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const m = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  return m ? Number(m[1]) * MS[m[2] as keyof typeof MS] : undefined;
}

/** Milliseconds → the shortest text that `parseDuration` reads back to the same number. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const)
    if (ms !== 0 && ms % MS[unit] === 0) return `${ms / MS[unit]}${unit}`;
  return `${ms}ms`;
}

/** A duration with its unit, between `min` and `max` (both durations too). Stays text: what users read is what they wrote. */
export function duration(min: string, max: string) {
  const allowed = `a duration with its unit (ms, s, m, h, d) from ${min} to ${max}`;
  return z
    .string({ error: allowed })
    .refine(
      (text) => {
        const ms = parseDuration(text);
        return ms !== undefined && ms >= (parseDuration(min) as number) && ms <= (parseDuration(max) as number);
      },
      { error: allowed },
    )
    .meta({ description: allowed, pattern: '^\\d{1,9}(ms|s|m|h|d)$' });
}

/** `50/s`, `600/m` → events per second; undefined where the text is no rate. */
export function parseRate(text: string): number | undefined {
  const m = /^(\d{1,9})\/(s|m|h)$/.exec(text);
  return m ? (Number(m[1]) * 1000) / MS[m[2] as 's' | 'm' | 'h'] : undefined;
}

/** A rate with its unit: events per s, m or h. */
export function rate() {
  const allowed = 'a rate with its unit, such as 50/s, 600/m or 1000/h';
  return z
    .string({ error: allowed })
    .refine((text) => parseRate(text) !== undefined, { error: allowed })
    .meta({ description: allowed, pattern: '^\\d{1,9}/(s|m|h)$' });
}

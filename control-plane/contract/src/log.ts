/** How agents and control plane log: JSON lines by pino, without secrets, and not more than somebody can read. Data and functions for pino's options. */

/** Lines with the same text, at most, in one {@link WINDOW_MS}: what strangers can cause fills no disk. */
const MOST = 20;
const WINDOW_MS = 10_000;
/** Texts that are counted at a time; they stand in the code, so there are not many. */
const TEXTS = 1000;

type LogMethod = (this: unknown, ...args: never[]) => void;

/** What may stand in a line by accident, inside an error's message for example, and must not leave. */
const SECRETS: readonly [RegExp, string][] = [
  // Tokens of operators and join tokens; JWTs; keys; users and passwords in URLs; credentials in headers.
  [/\b(sf[jt]_)[\w-]{4,}/g, '$1[hidden]'],
  [/\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g, '[hidden JWT]'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?="))/g, '[hidden key]'],
  [/:\/\/[^/\s"@]+@/g, '://[hidden]@'],
  [/((?:proxy-)?authorization\\*"?\s*[:=]\s*\\*"?)(?:(?!\\r|\\n|\\?").)+/gi, '$1[hidden]'],
];

/** A line without secrets. */
export const withoutSecrets = (line: string): string =>
  SECRETS.reduce((text, [pattern, instead]) => text.replace(pattern, instead), line);

/**
 * Options for pino, to be spread into its others. What is more than 20 lines of one text in ten seconds is left out; the next line with that text
 * carries `suppressed`, how many there were. `now`: milliseconds of a clock that nobody sets.
 *
 * @example pino({ level: 'info', ...logOptions() })
 */
export function logOptions(now: () => number = () => performance.now()) {
  const texts = new Map<string, { since: number; count: number }>();
  /** Undefined: leave it out; else how many were left out before it. */
  const suppressed = (text: string): number | undefined => {
    const at = now();
    const seen = texts.get(text);
    if (seen === undefined || at - seen.since >= WINDOW_MS) {
      if (texts.size >= TEXTS) texts.clear();
      texts.set(text, { since: at, count: 1 });
      return Math.max(0, (seen?.count ?? 0) - MOST);
    }
    return ++seen.count <= MOST ? 0 : undefined;
  };
  return {
    hooks: {
      logMethod(this: unknown, args: unknown[], method: (...args: never[]) => void): void {
        const [first, second] = args;
        const left = suppressed(String(typeof first === 'string' ? first : (second ?? '')));
        if (left === undefined) return;
        const fields = typeof first === 'object' && first !== null ? first : {};
        const told =
          left === 0 ? args : [{ ...asFields(fields), suppressed: left }, ...args.slice(fields === first ? 1 : 0)];
        (method as LogMethod).apply(this, told as never[]);
      },
      streamWrite: withoutSecrets,
    },
  };
}

/** pino takes an error in the place of fields. */
const asFields = (fields: object): object => (fields instanceof Error ? { err: fields } : fields);

import type { z } from 'zod';

/** One thing wrong with what somebody sent: what field, what was found, what is allowed. File and line are added by who read the file. */
export interface Fault {
  /** `backends[1].port`; empty for the document itself. */
  field: string;
  /** The offending value as JSON text, at most 80 characters; `nothing` where it is missing. */
  found: string;
  /** What may stand there. */
  allowed: string;
  /** What is wrong, where `found` and `allowed` do not say it (for example a duplicate name). */
  message?: string;
  file?: string;
  line?: number;
}

/** Input that was refused. Nothing was stored. */
export class ValidationError extends Error {
  readonly code = 'VALIDATION';
  readonly faults: readonly Fault[];
  constructor(faults: readonly Fault[], options?: ErrorOptions) {
    super(faults.map(formatFault).join('\n'), options);
    this.name = 'ValidationError';
    this.faults = faults;
  }
}

/** `farm.yaml:12: backends[1].port: found 70000; allowed: a whole number from 1 to 65535` */
export function formatFault(f: Fault): string {
  const where = f.file ? `${f.file}${f.line ? `:${f.line}` : ''}: ` : '';
  const what = f.message ? `${f.message}; ` : '';
  return `${where}${f.field || '(document)'}: ${what}found ${f.found}; allowed: ${f.allowed}`;
}

/** What a check of zod's is handed, as far as faults need it. */
export type Refine = { value: unknown; issues: z.core.$ZodRawIssue[] };

/** Adds a fault at `path` that says more than zod's own issues do. */
export function addFault(ctx: Refine, path: PropertyKey[], message: string, allowed: string): void {
  ctx.issues.push({ code: 'custom', message, input: ctx.value, path, params: { fault: { message, allowed } } });
}

export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const key of path) text += typeof key === 'number' ? `[${key}]` : `${text ? '.' : ''}${String(key)}`;
  return text;
}

export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path)
    value = value === null || value === undefined ? undefined : (value as Record<PropertyKey, unknown>)[key];
  return value;
}

function allowedOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_value':
      if (!issue.message.startsWith('Invalid')) return issue.message;
      return issue.values.length > 1 ? `one of ${issue.values.map(String).join(', ')}` : String(issue.values[0]);
    case 'invalid_type':
      return issue.message.startsWith('Invalid input') ? `a value of type ${issue.expected}` : issue.message;
    default:
      return issue.message;
  }
}

/** zod's issues → faults, one per unknown key, union branches flattened to the one that came nearest. */
export function faultsOf(
  error: z.ZodError,
  input: unknown,
  allowedKeys: (path: readonly PropertyKey[]) => string,
): Fault[] {
  const out: Fault[] = [];
  const walk = (issues: readonly z.core.$ZodIssue[], prefix: readonly PropertyKey[]) => {
    for (const issue of issues) {
      const path = [...prefix, ...issue.path];
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys)
          out.push({
            field: formatPath([...path, key]),
            found: show(key),
            allowed: allowedKeys(path),
            message: 'unknown field',
          });
      } else if (issue.code === 'invalid_union' && issue.errors.length > 0) {
        const nearest = [...issue.errors].sort((a, b) => a.length - b.length)[0] as z.core.$ZodIssue[];
        walk(nearest, path);
      } else if (issue.code === 'custom' && issue.params?.fault) {
        out.push({
          found: show(valueAt(input, path)),
          ...(issue.params.fault as Omit<Fault, 'field' | 'found'>),
          field: formatPath(path),
        });
      } else {
        out.push({ field: formatPath(path), found: show(valueAt(input, path)), allowed: allowedOf(issue) });
      }
    }
  };
  walk(error.issues, []);
  return out;
}

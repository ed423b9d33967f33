import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Fault, ValidationError } from '@sipfleet/contract';

/** More than a value of a Secret may have: what is larger is not even read. */
const MAX_BYTES = 65_536;

type Mapping = Record<string, unknown>;
const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * A Secret with every value of the form `{ file: ./key.pem }` replaced by what the file holds, `directory` being that of the document;
 * anything else as it is. Throws {@link ValidationError} naming every file that cannot be read.
 *
 * @example withFiles({ kind: 'Secret', name: 'tls', data: { privateKey: { file: 'key.pem' } } }, '/etc/sipfleet')
 */
export function withFiles(input: unknown, directory: string | undefined): unknown {
  if (!isMapping(input) || input.kind !== 'Secret' || !isMapping(input.data) || directory === undefined) return input;
  const faults: Fault[] = [];
  const data = Object.entries(input.data).map(([key, value]) => {
    if (!isMapping(value) || typeof value.file !== 'string' || Object.keys(value).length !== 1) return [key, value];
    try {
      return [key, contentOf(resolve(directory, value.file))];
    } catch (error) {
      const reason = REASONS[(error as NodeJS.ErrnoException).code ?? ''] ?? (error as Error).message;
      faults.push({
        field: `data.${key}.file`,
        found: JSON.stringify(value.file),
        allowed: `a file of UTF-8 text of at most ${MAX_BYTES} bytes, relative to this document`,
        message: reason,
      });
      return [key, value];
    }
  });
  if (faults.length > 0) throw new ValidationError(faults);
  return { ...input, data: Object.fromEntries(data) };
}

const REASONS: Record<string, string> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'it is not UTF-8 text',
};

function contentOf(path: string): string {
  const { size } = statSync(path);
  if (size > MAX_BYTES) throw new Error(`it has ${size} bytes`);
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path));
}

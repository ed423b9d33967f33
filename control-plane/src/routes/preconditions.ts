import type { Context } from 'hono';
import type { Expectation } from '../store/commit.ts';
import { ProblemError } from './problems.ts';

/** The entity tags of a header (RFC 9110 §8.8.3), weak ones with their W/; undefined where it holds anything else. */
function tagsOf(header: string): string[] | undefined {
  const tags = header.split(',').map((tag) => tag.trim());
  return tags.every((tag) => /^(W\/)?"[\x21\x23-\x7e]*"$/.test(tag)) ? tags : undefined;
}

export const etagOf = (value: number | string): string => `"${value}"`;

/** If-None-Match holds: the client has this version already (RFC 9110 §13.1.2, weak comparison). */
export function isKnown(c: Context, etag: string): boolean {
  const header = c.req.header('if-none-match');
  if (header === undefined) return false;
  return header.trim() === '*' || (tagsOf(header)?.some((tag) => tag.replace(/^W\//, '') === etag) ?? false);
}

/** What a write expects to be stored. 428 where the client does not say: it would overwrite what it has not seen. */
export function expectationOf(c: Context, { create }: { create: boolean }): Expectation {
  const match = c.req.header('if-match')?.trim();
  const noneMatch = c.req.header('if-none-match')?.trim();
  const ways = create
    ? 'If-Match: "REVISION" to replace what you have read, or If-None-Match: * to create'
    : 'If-Match: "REVISION"';
  if (match !== undefined && noneMatch !== undefined)
    throw new ProblemError(400, `If-Match and If-None-Match cannot both hold: send ${ways}`);
  if (match === undefined && (noneMatch === undefined || !create))
    throw new ProblemError(428, `a write needs a precondition: send ${ways}`);
  if (noneMatch !== undefined) {
    if (noneMatch === '*') return 'absent';
    throw new ProblemError(400, `If-None-Match: ${noneMatch} is not possible on a write: send ${ways}`);
  }
  if (match === '*') return 'present';
  const tags = tagsOf(match as string);
  if (tags?.length !== 1) throw new ProblemError(400, `If-Match: ${match} is not one entity tag: send ${ways}`);
  // A tag that is not ours matches nothing: revision -1 does not exist, which makes it 412 like any other stale one.
  const revision = /^"(\d{1,15})"$/.exec(tags[0] as string)?.[1];
  return { revision: revision === undefined ? -1 : Number(revision) };
}

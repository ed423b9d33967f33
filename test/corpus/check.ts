import { expect } from 'vitest';
import type { Answered, Forwarded } from './corpus.ts';
import { nameOf, numberOf, type RawMessage, split, values, withoutSource } from './raw.ts';

/** What became of a message: everything that the proxy sent on because of it, and everything that it sent back. Latin-1, one character a byte. */
export interface Seen {
  forwarded: string[];
  answers: string[];
}

const named = (message: RawMessage, name: string): string[] => message.lines.filter((line) => nameOf(line) === name);

/** `out` is `input` sent on as RFC 3261 §16.6 has it: our Via, one hop less, what was `gained`, and not one other byte changed. */
export function checkForwarded(input: string, out: string, { vias, hops, body, gains }: Forwarded): void {
  const before = split(input);
  const after = split(out);
  expect(after.start).toBe(before.start);
  expect(values(after, 'via')).toHaveLength(vias);
  expect(numberOf(named(after, 'max-forwards')[0]!)).toBe(hops);
  expect(after.body).toBe(before.body.slice(0, body));
  expect(after.body).toHaveLength(body);
  expect(gained(before, after)).toEqual(['Via', ...gains].sort());
}

/**
 * Names of the lines of `after` that `before` does not have; fails where one of `before` is missing, moved or changed
 * (but for the number of hops, and for the source that is noted in the top Via).
 */
function gained(before: RawMessage, after: RawMessage): string[] {
  const rest = [...after.lines];
  const names: string[] = [];
  const topVia = before.lines.findIndex((line) => nameOf(line) === 'via');
  for (const [i, line] of before.lines.entries()) {
    const same = sameness(line, i === topVia);
    for (;;) {
      const next = rest.shift();
      expect(next, `line gone or changed: ${line}`).toBeDefined();
      if (same(next!)) break;
      names.push(next!.slice(0, next!.indexOf(':')));
    }
  }
  return [...names, ...rest.map((line) => line.slice(0, line.indexOf(':')))].sort();
}

/** What a line may have become. */
function sameness(line: string, topVia: boolean): (other: string) => boolean {
  if (topVia) return (other) => withoutSource(other) === withoutSource(line);
  if (nameOf(line) !== 'max-forwards') return (other) => other === line;
  const text = (l: string) => l.replace(/\d+/, '');
  return (other) => text(other) === text(line) && numberOf(other) === numberOf(line) - 1;
}

/** `out` answers `input` as RFC 3261 §8.2.6 has it: Vias, From, Call-ID and CSeq copied, a To tag, no body. */
export function checkAnswer(input: string, out: string, { status, lines = [] }: Answered): void {
  const request = split(input);
  const answer = split(out);
  expect(answer.start).toMatch(new RegExp(`^SIP/2\\.0 ${status} \\S`));
  expect(named(answer, 'via').map(withoutSource)).toEqual(named(request, 'via').map(withoutSource));
  for (const name of ['from', 'call-id', 'cseq']) expect(named(answer, name)).toEqual(named(request, name));
  const to = named(answer, 'to');
  expect(to).toHaveLength(named(request, 'to').length);
  for (const [i, line] of named(request, 'to').entries()) {
    expect(to[i]!.startsWith(line)).toBe(true);
    expect(to[i]).toMatch(/;\s*tag\s*=\s*[^\s;]+/i);
  }
  expect(named(answer, 'content-length').map(numberOf)).toEqual([0]);
  expect(answer.body).toBe('');
  for (const line of lines) expect(answer.lines).toContain(line);
}

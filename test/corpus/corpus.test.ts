import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { agent, request } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { checkAnswer, checkForwarded, type Seen } from './check.ts';
import { CORPUS, type Expected, type Response, readMessage, sectionOf } from './corpus.ts';
import { nameOf, split, values } from './raw.ts';

const PHONE = 'udp 198.51.100.7:5060';
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

type Agent = ReturnType<typeof agent>;

/** Sends `bytes` and sorts what came of it. */
function send(a: Agent, bytes: Uint8Array, from: string): Seen {
  const before = a.sent.length;
  a.receiveBytes(bytes.slice(), from);
  const sent = a.sent.slice(before).map((s) => s.text);
  const answers = sent.filter((text) => text.startsWith('SIP/2.0 '));
  return { forwarded: sent.filter((text) => !text.startsWith('SIP/2.0 ')), answers };
}

/** The Vias of a request as they reach the PBX, ours on top, and the PBX, got by sending the request that a response of the corpus belongs to. */
function requestFor(a: Agent, response: string, via: string): { ours: string; next: string; pbx: string } {
  const { lines } = split(response);
  const value = (name: string) => lines.find((line) => nameOf(line) === name)!.replace(/^[^:]*:\s*/, '');
  const [number = '', method = ''] = value('cseq').split(/\s+/);
  const text = request({
    method,
    via,
    from: value('from'),
    to: value('to').replace(/;tag=.*/, ''),
    callId: value('call-id'),
    // Where the response's own is out of range, any does.
    cseq: Number(number) < 2 ** 31 ? Number(number) : 1,
  });
  const sent = a.sent.length;
  a.receive(text, PHONE);
  const forwarded = a.sent.slice(sent).find((s) => !s.text.startsWith('SIP/2.0 '))!;
  const [ours = '', next = ''] = split(forwarded.text).lines.filter((line) => nameOf(line) === 'via');
  return { ours, next, pbx: `udp 10.0.0.${forwarded.to.ip3 & 255}:5060` };
}

function checkResponseEntry(input: string, { ours: place, then }: Response): void {
  const alone = agent();
  expect(send(alone, bytesOf(input), 'udp 10.0.0.11:5060')).toEqual({ forwarded: [], answers: [] });

  const a = agent();
  const [first, second] = values(split(input), 'via').map((v) => v.trim());
  const { ours, next, pbx } = requestFor(a, input, place === 'above' ? first! : second!);
  const firstLine = `Via: ${first}\r\n`;
  // In its own Via the sender is noted, as in any that went through us; a next Via that we never saw stands as the corpus has it.
  const behind = input.replace(firstLine, place === 'above' ? `${next}\r\n` : '');
  const at = behind.indexOf('\r\n') + 2;
  const seen = send(a, bytesOf(`${behind.slice(0, at)}${ours}\r\n${behind.slice(at)}`), pbx);
  if (then === 'heard') expect(a.drops).not.toContain('malformed');
  if (then === 'dropped') expect(seen).toEqual({ forwarded: [], answers: [] });
  if (then === 'forwarded') expect(seen.answers).toEqual([behind]);
}

function check(bytes: Uint8Array, expected: Expected): void {
  const input = latin1(bytes);
  if (expected.outcome === 'response') return checkResponseEntry(input, expected);
  const seen = send(agent(), bytes, PHONE);
  // A 100 of a transaction is no answer yet.
  const finals = seen.answers.filter((text) => !text.startsWith('SIP/2.0 100'));
  if (expected.outcome === 'forwarded') {
    expect(finals).toEqual([]);
    expect(seen.forwarded).toHaveLength(1);
    checkForwarded(input, seen.forwarded[0]!, expected);
    return;
  }
  expect(seen.forwarded).toEqual([]);
  expect(finals).toHaveLength(1);
  checkAnswer(input, finals[0]!, expected);
}

test.each(CORPUS)('$file: $about', ({ file, expected, knownDefect }) => {
  const bytes = readMessage(file);
  check(bytes, knownDefect?.now ?? expected);
  // Fails once the fault is repaired: then knownDefect has to go.
  if (knownDefect !== undefined) expect(() => check(bytes, expected), knownDefect.why).toThrow();
});

describe('nothing is left out', () => {
  const files = CORPUS.map((entry) => entry.file);
  const range = (prefix: string, n: number) => Array.from({ length: n }, (_, i) => `${prefix}${i + 1}`);

  test('every message of both RFCs is here once', () => {
    const sections = (folder: string) => files.filter((f) => f.startsWith(folder)).map(sectionOf);
    expect(sections('rfc4475')).toEqual([
      ...range('3.1.1.', 13),
      ...range('3.1.2.', 19),
      '3.2.1',
      ...range('3.3.', 15),
      '3.4.1',
    ]);
    expect(sections('rfc5118')).toEqual([
      ...range('4.', 4),
      ...range('4.5.', 2),
      ...range('4.', 9).slice(5),
      ...range('4.10.', 2),
    ]);
  });

  test('every file has an entry, and every entry a file', () => {
    const found = ['rfc4475', 'rfc5118'].flatMap((folder) =>
      readdirSync(join(import.meta.dirname, folder)).map((name) => `${folder}/${name}`),
    );
    expect(found.sort()).toEqual([...files].sort());
    expect(files.every((file) => existsSync(join(import.meta.dirname, file)))).toBe(true);
  });
});

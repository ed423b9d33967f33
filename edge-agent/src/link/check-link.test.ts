import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CheckSchedule, PeerAgent, RunCheckResult } from '@sipfleet/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CheckLink, type CheckLinkPorts } from './check-link.ts';
import type { FetchedSchedule } from './client.ts';

const CHECK = { farm: 'pbx', backend: 'a', check: 'dummy', periodMs: 60_000, phaseMs: 5 };
const VERDICT = { farm: 'pbx', backend: 'a', check: 'dummy', agent: 'edge-2', state: 'down' as const, evidence: '486' };
const schedule = (more: Partial<CheckSchedule> = {}): CheckSchedule => ({
  format: 1,
  site: 'milan',
  checks: [CHECK],
  verdicts: [],
  disagreements: [],
  ...more,
});

let data: string;
let answer: () => FetchedSchedule | undefined;
let asked: (string | undefined)[];
let assigned: CheckSchedule['checks'][];
let shared: CheckSchedule['verdicts'][];
let met: (readonly PeerAgent[])[];
let results: RunCheckResult[];
let errors: string[];
let link: CheckLink;

function newLink(): CheckLink {
  const ports: CheckLinkPorts = {
    client: {
      schedule: async (known) => {
        asked.push(known);
        return answer();
      },
      checkResult: async (result) => void results.push(result),
    },
    data,
    assign: (checks) => assigned.push(checks),
    share: (verdicts) => shared.push(verdicts),
    meet: (peers) => met.push(peers),
    run: async () => null,
    log: {
      info: () => {},
      warn: () => {},
      error: (_: unknown, text?: string) => void errors.push(text ?? ''),
    } as never,
  };
  link = new CheckLink(ports);
  return link;
}

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'sipfleet-check-link-'));
  [asked, assigned, shared, met, results, errors] = [[], [], [], [], [], []];
  answer = () => ({ etag: 'one', schedule: schedule({ verdicts: [VERDICT] }) });
});
afterEach(() => {
  link.close();
  rmSync(data, { recursive: true, force: true });
});

test('before the first schedule this agent makes no expensive check; then those that it is given', async () => {
  await newLink().start();
  expect(assigned).toEqual([[]]);
  link.refresh();
  await expect.poll(() => assigned).toEqual([[], [CHECK]]);
  await expect.poll(() => shared).toEqual([[VERDICT]]);
});

test('what others said is confirmed with every answer, also one that brings nothing new', async () => {
  await newLink().start();
  link.refresh();
  await expect.poll(() => shared).toHaveLength(1);
  answer = () => undefined;
  link.refresh();
  await expect.poll(() => shared).toEqual([[VERDICT], [VERDICT]]);
  expect(asked).toEqual([undefined, 'one']);
  expect(assigned).toHaveLength(2);
});

test('the schedule that the control plane names in passing is confirmed; only another one is asked for', async () => {
  await newLink().start();
  link.heard('one');
  await expect.poll(() => shared).toHaveLength(1);
  link.heard('one');
  expect([asked, shared]).toEqual([[undefined], [[VERDICT], [VERDICT]]]);
  answer = () => ({ etag: 'two', schedule: schedule() });
  link.heard('two');
  await expect.poll(() => shared).toEqual([[VERDICT], [VERDICT], []]);
  expect(asked).toEqual([undefined, 'one']);
});

test('a control plane that is away changes nothing, and confirms nothing', async () => {
  await newLink().start();
  link.refresh();
  await expect.poll(() => shared).toHaveLength(1);
  answer = () => {
    throw new Error('away');
  };
  link.refresh();
  await expect.poll(() => asked).toHaveLength(2);
  await new Promise((resolve) => setImmediate(resolve));
  expect([assigned.length, shared.length]).toEqual([2, 1]);
});

test('the last schedule is there after a restart, without what others said then', async () => {
  await newLink().start();
  link.refresh();
  const kept = () => readFileSync(join(data, 'check-schedule.json'), 'utf8');
  await expect.poll(() => JSON.parse(kept()).checks).toEqual([CHECK]);
  link.close();
  [assigned, shared] = [[], []];
  await newLink().start();
  expect([assigned, shared]).toEqual([[[CHECK]], []]);
});

test('a damaged file is said and left aside', async () => {
  writeFileSync(join(data, 'check-schedule.json'), '{"format":1');
  await newLink().start();
  expect(assigned).toEqual([[]]);
  expect(errors).toEqual(['the stored check schedule is damaged: without it']);
});

test('a hint leads to one question; a check made now is answered under its id', async () => {
  await newLink().start();
  for (let i = 0; i < 3; i++) link.onHint({ type: 'schedule', site: 'milan', jitterMs: 5 });
  await expect.poll(() => asked).toHaveLength(1);
  await link.onRun({ type: 'check', id: '7', farm: 'pbx', backend: 'a', check: 'dummy' });
  expect(results).toEqual([{ id: '7', report: null }]);
});

test('the other agents of the site are known again after a restart without a control plane', async () => {
  const peers = [{ number: 2, address: '10.0.0.22' }];
  answer = () => ({ etag: 'one', schedule: schedule({ peers }) });
  await newLink().start();
  link.refresh();
  await expect.poll(() => met).toEqual([[], peers]);
  await expect.poll(() => readFileSync(join(data, 'check-schedule.json'), 'utf8')).toContain('10.0.0.22');
  link.close();
  answer = () => undefined;
  await newLink().start();
  expect(met.at(-1)).toEqual(peers);
});

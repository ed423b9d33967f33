import type { VerdictChange } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { ReportSpool } from './spool.ts';

const change = (i: number): VerdictChange => ({
  farm: 'pbx',
  backend: 'pbx1',
  state: i % 2 === 0 ? 'down' : 'up',
  at: new Date(i).toISOString(),
  reason: 'no answer in 2s',
});

test('the latest 200 changes are kept, the rest counted, until a report has delivered them', () => {
  const spool = new ReportSpool();
  for (let i = 0; i < 205; i++) spool.add(change(i));
  const sent = spool.pending;
  expect([sent.changes.length, sent.changes[0], sent.lost]).toEqual([200, change(5), 5]);
  expect(spool.pending).toEqual(sent);
  spool.delivered(sent);
  expect(spool.pending).toEqual({ changes: [], lost: 0 });
});

test('a change that makes room while the report that carries it is on its way is not lost', () => {
  const spool = new ReportSpool();
  for (let i = 0; i < 200; i++) spool.add(change(i));
  const sent = spool.pending;
  spool.add(change(200));
  spool.add(change(201));
  spool.delivered(sent);
  expect(spool.pending).toEqual({ changes: [change(200), change(201)], lost: 0 });
});

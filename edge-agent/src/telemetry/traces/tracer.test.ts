import { beforeEach, expect, test } from 'vitest';
import type { SpanDraft } from './span.ts';
import { SpanQueue } from './span-queue.ts';
import { SpanSink } from './tracer.ts';

let now: number;
let queue: SpanQueue;
beforeEach(() => {
  now = 0;
  queue = new SpanQueue();
});
const sink = (perSecond: number): SpanSink =>
  new SpanSink({ queue, resource: { 'service.name': 'sipfleet-agent' }, version: '1', perSecond, now: () => now });

let spans = 0;
const draft = (): SpanDraft => ({
  traceId: 'ab'.repeat(16),
  spanId: (++spans).toString(16).padStart(16, '0'),
  parentId: undefined,
  name: 'call',
  kind: 'internal',
  start: 1.5,
  end: 2.25,
  attributes: {},
  events: [],
  error: undefined,
});
const trace = (length: number): SpanDraft[] => Array.from({ length }, draft);

test('over the budget whole traces are left out, and counted; it fills again with time', async () => {
  const s = sink(10);
  s.add(trace(60));
  s.add(trace(60));
  s.add(trace(40));
  expect([s.sent, s.dropped]).toEqual([100, { budget: 60, queue: 0 }]);
  now += 1000;
  s.add(trace(11));
  s.add(trace(10));
  expect([s.sent, s.dropped]).toEqual([110, { budget: 71, queue: 0 }]);
  await s.close();
  expect(queue.take().map((b) => b.samples)).toEqual([110]);
});

test('nobody takes the spans: what waits is bounded, the rest is counted, and nothing throws', async () => {
  const s = sink(1_000_000);
  for (let i = 0; i < 1000; i++) {
    s.add(trace(20));
    // The batch processor works between turns of the event loop.
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await s.close();
  const waiting = queue.take();
  const samples = waiting.reduce((sum, b) => sum + b.samples, 0);
  expect(samples).toBeGreaterThan(4096 - 512);
  expect(samples).toBeLessThanOrEqual(4096);
  expect(samples + queue.dropped + s.dropped.queue).toBe(20_000);
  expect(queue.handled).toBe(s.sent);
});

import { expect, test } from 'vitest';
import { spanOfBranch, traceKey, traceOf } from './ids.ts';

test('agents of a farm name a call alike; another farm and another call are another trace', () => {
  const ids = traceOf(traceKey('pbx'), 1_234_567_890_123);
  expect(ids).toEqual(traceOf(traceKey('pbx'), 1_234_567_890_123));
  // Fixed: an agent of the version before must name it so too.
  expect(ids).toEqual({ traceId: 'c8b50bc5a7d87b4321ab681daebacacc', spanId: 'af09cc555777844d' });
  const others = [traceOf(traceKey('pbx2'), 1_234_567_890_123), traceOf(traceKey('pbx'), 1_234_567_890_124)];
  expect(new Set([ids, ...others].flatMap(({ traceId, spanId }) => [traceId, spanId])).size).toBe(6);
});

test('an attempt is named by the first eight bytes of its branch; a branch that is not ours has no name', () => {
  const bytes = Buffer.from('0001020304050607ffffffffffffffffffffff', 'hex');
  expect(spanOfBranch(`z9hG4bK${bytes.toString('base64url')}`)).toBe('0001020304050607');
  for (const other of ['', 'z9hG4bK', 'z9hG4bK-1', bytes.toString('base64url'), `z9hG4bK${'$'.repeat(26)}`])
    expect(spanOfBranch(other)).toBeUndefined();
});

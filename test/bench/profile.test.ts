import { expect, test } from 'vitest';
import { selfTimes } from './profile.ts';

test('shares self time among functions and leaves idle time out', () => {
  const frame = (functionName: string, url = '', lineNumber = 0) => ({ functionName, url, lineNumber });
  const { busyMs, functions } = selfTimes({
    nodes: [
      { id: 1, callFrame: frame('(idle)') },
      { id: 2, callFrame: frame('forward', 'file:///a/forward.ts', 9) },
      { id: 3, callFrame: frame('') },
    ],
    samples: [1, 2, 2, 3, 1],
    timeDeltas: [5000, 2000, 1000, 1000, 9000],
  });
  expect(busyMs).toBe(4);
  expect(functions).toEqual([
    { name: 'forward forward.ts:10', share: 0.75 },
    { name: '(anonymous)', share: 0.25 },
  ]);
});

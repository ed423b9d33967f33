import { defineConfig } from 'vitest/config';

/** Tests that start servers or programs of their own (DynamoDB Local, agents, bundles), or throw a lot at one part: `npm test` runs them, `npm run check` does not. */
const INTEGRATION = [
  'control-plane/src/store/{dynamo*,tamper}.test.ts',
  'control-plane/src/lambda/*.test.ts',
  'infra/**/*.test.ts',
  'test/{fuzz,secrets}/*.test.ts',
  'edge-agent/src/main.test.ts',
  'edge-agent/bin/*.test.ts',
];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{edge-agent,control-plane,dashboards,infra,test}/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'test/e2e/**', ...INTEGRATION],
          // Many of them wait on timers and processes: one worker, the default on two cores, would wait with them.
          maxWorkers: 3,
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'integration',
          include: INTEGRATION,
          exclude: ['**/node_modules/**'],
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          // Real peers in network namespaces on two cores: generous, because no test may depend on speed.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Each file has a network of its own, and most of a file is waiting.
          maxWorkers: 2,
          // After all others, so that the peers have the machine to themselves.
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

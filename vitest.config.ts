import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{edge-agent,control-plane,dashboards,infra,test}/**/*.test.ts'],
          exclude: ['**/node_modules/**', 'test/e2e/**'],
          // Many of them wait on timers and processes: one worker, the default on two cores, would wait with them.
          maxWorkers: 3,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          // Real peers in network namespaces on two cores: generous, because no test may depend on speed.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          // After the unit tests, so that the peers have the machine to themselves.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});

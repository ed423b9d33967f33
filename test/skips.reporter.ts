import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** What run.ts needs to know of a run. */
export interface Counts {
  passed: number;
  failed: number;
  /** Full names, `file > suite > test`. */
  skipped: string[];
}

/** Counts tests and names the skipped ones, in the file that SIPFLEET_TEST_COUNTS names. */
export default class SkipsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts: Counts = { passed: 0, failed: 0, skipped: [] };
    for (const module of modules) {
      // The file itself failed (it cannot be loaded, or a hook outside of a test threw): its tests may not even be known.
      if (module.errors().length > 0) counts.failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') counts.passed++;
        else if (state === 'failed') counts.failed++;
        // `pending`: never came to run.
        else counts.skipped.push(`${module.relativeModuleId} > ${test.fullName}`);
      }
    }
    const file = process.env.SIPFLEET_TEST_COUNTS;
    if (file) writeFileSync(file, JSON.stringify(counts));
  }
}

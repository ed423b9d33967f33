/**
 * `npm test`: everything. Installs the real peers where it may, checks types and style, runs every test, and lists
 * each test that was skipped. Under CI (`CI=true`, or `SIPFLEET_FORBID_SKIPS=1`) a skipped test is a failure.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeStale } from './netns/stale.ts';
import { installPeers, isRoot } from './setup/peers.ts';
import { lint, type Step, step, types } from './setup/steps.ts';
import type { Counts } from './skips.reporter.ts';

const skipsForbidden = process.env.CI === 'true' || process.env.SIPFLEET_FORBID_SKIPS === '1';

async function runTests(): Promise<{ step: Step; counts: Counts }> {
  const directory = mkdtempSync(join(tmpdir(), 'sipfleet-test-'));
  const file = join(directory, 'counts.json');
  try {
    const done = await step(
      'tests',
      'vitest',
      ['run', '--reporter', 'default', '--reporter', './test/skips.reporter.ts', ...process.argv.slice(2)],
      { quiet: false, env: { SIPFLEET_TEST_COUNTS: file } },
    );
    return { step: done, counts: readCounts(file) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A run that died before it could count is one failure. */
function readCounts(file: string): Counts {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Counts;
  } catch {
    return { passed: 0, failed: 1, skipped: [] };
  }
}

const why = installPeers();
if (why) console.log(`Tests with real peers are skipped: ${why}`);
const steps = await Promise.all([types(), lint()]);
const { step: tests, counts } = await runTests();
if (isRoot) await removeStale();

if (counts.skipped.length > 0) {
  console.log(`\nSkipped tests${skipsForbidden ? ' (forbidden here)' : ''}:`);
  for (const name of counts.skipped) console.log(`  ${name}`);
}
const passed = counts.passed + steps.filter((s) => s.passed).length;
let failed = counts.failed + steps.filter((s) => !s.passed).length;
// Vitest fails for more than tests: an unhandled rejection, a file that cannot be loaded, no tests at all.
if (!tests.passed && counts.failed === 0) failed++;
process.exitCode = failed > 0 || (skipsForbidden && counts.skipped.length > 0) ? 1 : 0;
console.log(`\n${passed} passed, ${failed} failed, ${counts.skipped.length} skipped`);

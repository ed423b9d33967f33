/** `npm run check`: types, lint, unit and house tests, side by side; seconds, so that it is run before every commit. */
import { lint, step, types } from './setup/steps.ts';

const steps = await Promise.all([
  types(),
  lint(),
  step('unit', 'vitest', ['run', '--project', 'unit', '--reporter', 'dot'], { quiet: true }),
]);
const failed = steps.filter((s) => !s.passed);
console.log(failed.length === 0 ? 'check passed' : `check failed: ${failed.map((s) => s.name).join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;

import { writeFile } from 'node:fs/promises';
import { cliReference } from './program.ts';

// npm run docs:cli
await writeFile(new URL('../../../docs/cli.md', import.meta.url), cliReference());

import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { testCli } from './cli.fixture.ts';
import { cliReference } from './program.ts';

test('docs/cli.md is what the commands are: npm run docs:cli writes it', async () => {
  const written = await readFile(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
  expect(written).toBe(cliReference());
});

test('every command has help with examples and exit codes', async () => {
  const { sipfleet } = await testCli();
  const commands = [...cliReference().matchAll(/^## sipfleet (.+)$/gm)].map((match) => match[1] as string);
  expect(commands).toEqual(expect.arrayContaining(['apply', 'rollout status', 'token create', 'context use']));
  for (const command of commands.filter((name) => name !== 'agent')) {
    const { code, out } = await sipfleet(`${command} --help`);
    expect([command, code]).toEqual([command, 0]);
    expect(out, command).toContain(`Examples:\n  sipfleet ${command.split(' ')[0]}`);
    expect(out, command).toContain('Exit codes: 0');
  }
});

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { testCli } from './cli.fixture.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

const complete = async (...words: string[]): Promise<string[]> => {
  const { sipfleet } = await testCli();
  const { out } = await sipfleet(`__complete -- ${words.map((word) => word || '""').join(' ')}`.replaceAll(' ""', ''));
  return out.split('\n').filter(Boolean);
};

test('commands, their subcommands, options and choices', async () => {
  expect(await complete('roll')).toEqual(['rollback', 'rollout']);
  expect(await complete('rollout', 're')).toEqual(['resume']);
  expect(await complete('apply', '--r')).toEqual(['--rollout']);
  expect(await complete('get', 'farms', '-o', 'j')).toEqual(['json']);
  expect(await complete('--url', 'http://x', 'stat')).toEqual(['status']);
  expect(await complete('completion', 'f')).toEqual(['fish']);
  expect(await complete('apply', '-f', 'x')).toEqual([]);
  expect(await complete('status', '--to')).toEqual(['--token', '--token-file']);
  expect(await complete('__c')).toEqual([]);
});

test('the script works in a real bash', async () => {
  const { sipfleet } = await testCli();
  const { out: script } = await sipfleet('completion bash');
  const test = `sipfleet() { ${process.execPath} ${MAIN} "$@"; }
${script}
COMP_WORDS=(sipfleet rollout pa) COMP_CWORD=2
_sipfleet
echo "\${COMPREPLY[@]}"`;
  expect(execFileSync('bash', ['-c', test], { encoding: 'utf8' })).toBe('pause\n');
});

test.each(['bash', 'zsh', 'fish'])('there is one for %s', async (shell) => {
  const { sipfleet } = await testCli();
  const { code, out } = await sipfleet(`completion ${shell}`);
  expect([code, out]).toEqual([0, expect.stringContaining('sipfleet __complete --')]);
});

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const LAUNCHER = fileURLToPath(new URL('./sipfleet-agent.js', import.meta.url));
/** Makes the Node that reads the launcher say that it is an old one. */
const OLD = ['--import', 'data:text/javascript,Object.defineProperty(process,"version",{value:"v20.1.0"})'];

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sipfleet-'));
});
afterEach(() => rm(directory, { recursive: true }));

function run(...argv: string[]): { child: ChildProcess; result: Promise<{ code: number; out: string; err: string }> } {
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const text = { out: '', err: '' };
  child.stdout?.on('data', (chunk) => (text.out += chunk));
  child.stderr?.on('data', (chunk) => (text.err += chunk));
  return { child, result: once(child, 'close').then(([code]) => ({ code: code as number, ...text })) };
}

test('an old Node hands over to the pinned one: messages, signals and the exit code go through', async () => {
  const snapshot = join(directory, 'snapshot.json');
  await writeFile(snapshot, '{"format":1,"site":"milan","generation":4,"farms":[]}');
  const { child, result } = run(...OLD, LAUNCHER, '--snapshot', snapshot, '--admin', '127.0.0.1:0', '--no-warm-up');
  const [message] = await Promise.race([once(child, 'message'), result.then((r) => Promise.reject(new Error(r.err)))]);
  expect(message).toMatchObject({ type: 'ready', generation: 4, listeners: [] });
  child.kill('SIGTERM');
  expect(await result).toMatchObject({ code: 0, err: '' });
  const failed = await run(...OLD, LAUNCHER, '--snapshot', join(directory, 'nowhere.json')).result;
  expect(failed).toMatchObject({ code: 1, err: expect.stringMatching(/nowhere\.json: no such file\n$/) });
}, 60_000);

test('the collector of garbage has no helper threads, in the same process', async () => {
  const snapshot = join(directory, 'snapshot.json');
  await writeFile(snapshot, '{"format":1,"site":"milan","generation":4,"farms":[]}');
  const child = spawn(process.execPath, [LAUNCHER, '--snapshot', snapshot, '--admin', '127.0.0.1:0', '--no-warm-up'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const chunk of child.stdout) if (String(chunk).includes('"msg":"ready"')) break;
  if (process.platform === 'linux')
    expect(await readFile(`/proc/${child.pid}/cmdline`, 'latin1')).toContain('\0--single-threaded-gc\0');
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([0, null]);
}, 60_000);

test('an old Node alone is told what is missing', async () => {
  const alone = join(directory, 'sipfleet-agent.js');
  await copyFile(LAUNCHER, alone);
  await copyFile(join(LAUNCHER, '..', 'launch.js'), join(directory, 'launch.js'));
  await writeFile(join(directory, 'package.json'), '{"type":"module"}');
  expect(await run(...OLD, alone).result).toEqual({
    code: 1,
    out: '',
    err: 'sipfleet-agent: needs Node 24 or later; this is v20.1.0 and there is none in node_modules/.bin: run npm ci\n',
  });
}, 60_000);

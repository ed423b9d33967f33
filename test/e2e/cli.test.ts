import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { startPbx } from '../demo-pbx/pbx.ts';
import { Process } from '../netns/process.ts';
import { sipfleet, temporary } from './sipfleet.fixture.ts';

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));

test('control plane, agent and every other command as processes of their own', async () => {
  const cwd = await temporary();
  const plane = sipfleet(cwd, 'control-plane', '--http', '127.0.0.1:0', '--data', 'var');
  const [, url = ''] = await plane.sees(/"url":"(http:[^"]+)"/);
  await plane.sees(/API token \(shown once, kept in var\/token\): sft_/);
  // The token is found in var/token, as on a user's machine.
  const cli = async (...args: string[]) => {
    const command = sipfleet(cwd, '--url', url, ...args);
    const { code } = await command.exited;
    return { code, output: command.output };
  };

  const example = path('infra/examples/farm.yaml');
  expect(await cli('diff', '-f', example)).toMatchObject({ code: 2 });
  expect(await cli('apply', '-f', example)).toMatchObject({
    code: 0,
    output: '+ Site milan\n+ Farm pbx\nNo agent has joined milan yet.\n2 created, 0 updated. Revision 1.\n',
  });
  expect(await cli('apply', '-f', example)).toEqual({ code: 0, output: '= 2 unchanged\nNothing to do.\n' });
  expect(await cli('diff', '-f', example)).toMatchObject({ code: 0 });
  expect(await cli('delete', 'farm', 'pbx')).toMatchObject({ code: 0 });

  const pbx = await startPbx({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => pbx.close());
  const farm = (backend: number) => `kind: Farm
name: own
sites: [milan]
listeners: [{ transport: udp, port: ${pbx.port + 1 > 65535 ? 1024 : pbx.port + 1} }]
backends: [{ name: only, address: 127.0.0.1, port: ${backend} }]
checks: [{ name: ping, type: options, interval: 200ms, timeout: 200ms, rise: 1, fall: 1 }]
`;
  await writeFile(join(cwd, 'own.yaml'), farm(pbx.port));
  expect(await cli('apply', '-f', 'own.yaml')).toMatchObject({ code: 0 });

  const token = (await cli('join-token', 'milan')).output.trim();
  const agent = sipfleet(
    cwd,
    ...['agent', '--control-plane', url, '--join-token', token, '--data', 'agent', '--name', 'edge-1'],
    ...['--address', '127.0.0.1', '--workers', '1', '--admin', '127.0.0.1:0'],
  );
  await agent.sees(/"msg":"ready"/);
  await seesStatus(cli, /edge-1 +milan +connected +current[\s\S]*own +only +up/);
  expect(await cli('drain', 'own/only')).toMatchObject({ code: 0, output: expect.stringContaining('only drains') });
  await seesStatus(cli, /own +only +up, draining/);
  expect(await cli('undrain', 'own/only')).toMatchObject({ code: 0 });
  await seesStatus(cli, /own +only +up {2}/);
  await pbx.close();
  await seesStatus(cli, /own +only +down/);

  expect(await agent.end('SIGTERM')).toEqual({ code: 0, signal: null });
  await seesStatus(cli, /edge-1 +milan +away/);
  expect(await plane.end('SIGINT')).toEqual({ code: 0, signal: null });
  expect(await cli('status')).toMatchObject({ code: 1, output: expect.stringContaining('no control plane answers') });
});

type Cli = (...args: string[]) => Promise<{ code: number | null; output: string }>;

/** Asks for the status until it says so; the test's own deadline ends it. */
async function seesStatus(cli: Cli, pattern: RegExp): Promise<void> {
  let output = '';
  const deadline = performance.now() + 60_000;
  while (!pattern.test(output)) {
    if (performance.now() > deadline) throw new Error(`never saw ${pattern} in:\n${output}`);
    output = (await cli('status')).output;
  }
}

test('an agent that cannot start says why in one line, with exit code 1', async () => {
  const agent = sipfleet(await temporary(), 'agent');
  expect(await agent.exited).toEqual({ code: 1, signal: null });
  expect(agent.output).toMatch(/^sipfleet-agent: [^\n]+\n$/);
});

test('the launcher finds a Node that runs TypeScript, and passes on arguments and exit codes', async () => {
  const bin = path('control-plane/bin/sipfleet.js');
  const { version } = JSON.parse(await readFile(path('control-plane/package.json'), 'utf8')) as { version: string };
  // Whatever Node stands first on the PATH, be it too old.
  const good = new Process('node', [bin, 'version']);
  expect(await good.succeeds()).toBe(`sipfleet ${version}\n`);
  const bad = new Process('node', [bin, 'get', 'barns']);
  expect(await bad.exited).toEqual({ code: 1, signal: null });
});

test('reads standard input, and a pipe that closes early is no error', async () => {
  const cwd = await temporary();
  const diff = sipfleet(cwd, 'diff', '-f', '-', '--url', 'http://127.0.0.1:9');
  diff.write('kind: Site\nname: Bad\n');
  diff.closeInput();
  expect(await diff.exited).toEqual({ code: 1, signal: null });
  expect(diff.output).toMatch(/^standard input:2: name: found "Bad"/);
});

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { testCli } from './cli.fixture.ts';

/** A command line without anything in its environment but where its files are. */
async function bare() {
  const cli = await testCli();
  const token = await cli.control.token('viewer');
  const asked: string[] = [];
  const fetch = (async (url, init) => {
    asked.push(`${new URL(String(url)).host} ${new Headers(init?.headers).get('authorization') ?? 'without'}`);
    return cli.control.app.request(String(url), init);
  }) as typeof globalThis.fetch;
  const run = (args: string, env: Record<string, string> = {}) =>
    cli.sipfleet(args, { env: { SIPFLEET_CONFIG: 'conf/config.yaml', ...env }, fetch });
  return { ...cli, token, asked, run };
}

test('the context in use says where and with which token; --context chooses another for one command', async () => {
  const { run, asked, token } = await bare();
  await run(`context add prod --url http://prod.test --token ${token}`);
  await run('context add lab --url http://lab.test');
  expect((await run('context list')).out).toBe(
    '   NAME  URL               TOKEN\n*  prod  http://prod.test  in the file\n   lab   http://lab.test   none\n',
  );
  expect(JSON.parse((await run('context list -o json')).out)).toEqual([
    { name: 'prod', url: 'http://prod.test', current: true },
    { name: 'lab', url: 'http://lab.test', current: false },
  ]);
  expect((await run('get farms')).code).toBe(0);
  expect((await run('get farms --context lab')).code).toBe(1);
  expect((await run('get farms', { SIPFLEET_CONTEXT: 'lab' })).code).toBe(1);
  expect((await run('context use lab')).out).toBe('Working with lab: http://lab.test\n');
  await run('get farms');
  expect(asked).toEqual([`prod.test Bearer ${token}`, 'lab.test without', 'lab.test without', 'lab.test without']);
});

test('a token is never sent to another control plane than its own', async () => {
  const { run, asked, token } = await bare();
  await run(`context add prod --url http://prod.test --token ${token}`);
  await run('get farms --url http://other.test');
  await run('get farms', { SIPFLEET_URL: 'http://env.test' });
  await run('get farms --context prod', { SIPFLEET_TOKEN: 'sft_of_another', SIPFLEET_URL: 'http://env.test' });
  expect(asked).toEqual(['other.test without', 'env.test without', `prod.test Bearer ${token}`]);
});

test('the file is its owner’s only; a token file is found from anywhere', async () => {
  const { run, file, asked, token } = await bare();
  await file('t', `${token}\n`);
  await run('context add prod --url http://prod.test --token-file t');
  expect((await run('get farms')).code).toBe(0);
  expect(asked).toEqual([`prod.test Bearer ${token}`]);
  const cwd = (await run('context list')).out.match(/(\/\S+)\/t\n/)?.[1] as string;
  expect(((await stat(join(cwd, 'conf/config.yaml'))).mode & 0o777).toString(8)).toBe('600');
  expect(await readFile(join(cwd, 'conf/config.yaml'), 'utf8')).not.toContain(token);
});

test.each([
  ['context use nowhere', 'there is no context nowhere; add one: sipfleet context add'],
  ['get farms --context nowhere', 'there is no context nowhere'],
  ['context add prod --url prod.test', 'contexts.prod.url: an http or https URL'],
  ['context add a/b --url http://x.test', 'contexts'],
])('%s is refused', async (args, why) => {
  const { run } = await bare();
  const { code, err } = await run(args);
  expect([code, err]).toEqual([1, expect.stringContaining(why)]);
});

test('what is removed is in use no more', async () => {
  const { run } = await bare();
  await run('context add prod --url http://prod.test');
  expect((await run('context remove prod')).out).toBe('− context prod\n');
  expect((await run('context list')).out).toBe('  NAME  URL  TOKEN\n');
});

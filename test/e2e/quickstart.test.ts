import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startPbx } from '../demo-pbx/pbx.ts';
import { CallFailed, Phone } from '../demo-pbx/phone.ts';
import { audioTarget } from '../demo-pbx/sdp.ts';
import { PHONES } from '../demo-pbx/users.ts';
import { descendants, isAlive, sipfleet, startUp, temporary, type Up } from './sipfleet.fixture.ts';

async function phone({ sip }: Up, user: string, transport: 'udp' | 'tcp'): Promise<Phone> {
  const opened = await Phone.open({ transport, proxy: sip });
  onTestFinished(() => opened.close());
  expect(await opened.register({ user, password: PHONES[user] ?? '' })).toEqual([401, 200]);
  return opened;
}

/** Ends it as Ctrl-C does and sees that nothing of it is left. */
async function endsCleanly({ process: up }: Up): Promise<void> {
  const children = descendants(up.pid);
  expect(children.length).toBeGreaterThanOrEqual(2);
  expect(await up.end('SIGINT', 20_000)).toEqual({ code: 0, signal: null });
  expect(children.filter(isAlive)).toEqual([]);
}

test('one command, two phones on UDP and TCP, calls to each other and to echo', async () => {
  const cwd = await temporary();
  const up = await startUp(cwd);
  expect(up.process.output).toContain('Sipfleet is up: 2 of 2 backends up');
  const bonnie = await phone(up, 'bonnie', 'udp');
  const clyde = await phone(up, 'clyde', 'tcp');
  for (const [caller, callee, name] of [
    [bonnie, clyde, 'clyde'],
    [clyde, bonnie, 'bonnie'],
  ] as const) {
    const answered = once(callee.events, 'answered');
    const ended = once(callee.events, 'ended');
    const call = await caller.call(name);
    expect(call.statuses.slice(-2)).toEqual([180, 200]);
    expect(await answered).toEqual([call.callId]);
    expect(await call.hangUp()).toBe(200);
    expect(await ended).toEqual([call.callId]);
  }
  await expect(bonnie.call('nobody')).rejects.toThrow(CallFailed);

  const echo = await clyde.call('echo');
  const media = createSocket('udp4');
  onTestFinished(() => void media.close());
  const { host, port } = audioTarget(echo.sdp)!;
  media.send(Buffer.from('rtp'), port, host);
  expect(String((await once(media, 'message'))[0])).toBe('rtp');
  expect(await echo.hangUp()).toBe(200);

  const status = sipfleet(cwd, 'status', '--url', up.url, '--token-file', 'data/token');
  expect(await status.succeeds()).toMatch(
    /local +local +connected +current[\s\S]*quickstart +pbx1 +up[\s\S]*quickstart +pbx2 +up/,
  );
  // The echo test of each PBX is heard: by the schedule, and when asked for.
  const check = (...args: string[]) =>
    sipfleet(cwd, 'checks', ...args, '--url', up.url, '--token-file', 'data/token').succeeds();
  const heard = /up, success \(bye\): .* answered, [1-9]\d* packets sent, [1-9]\d* received/;
  for (const pbx of ['pbx1', 'pbx2'])
    await expect
      .poll(async () => (await check()).split('\n').find((line) => line.startsWith(`quickstart/${pbx}/audio`)), {
        timeout: 60_000,
        interval: 500,
      })
      .toMatch(heard);
  expect(await check('run', 'quickstart/pbx1/audio')).toMatch(/success .* [1-9]\d* received/);
  const metrics = await (await fetch(up.metrics)).text();
  expect(metrics).toMatch(/^sipfleet_backend_requests_sent_total\{[^}]*method="INVITE"[^}]*\} [1-9]/m);
  await endsCleanly(up);
});

test('starts again with the data of the first time: same token, same agent', async () => {
  const cwd = await temporary();
  const first = await startUp(cwd);
  const token = readFileSync(join(cwd, 'data/token'), 'utf8');
  await endsCleanly(first);
  const second = await startUp(cwd, '--workers', '2');
  expect(readFileSync(join(cwd, 'data/token'), 'utf8')).toBe(token);
  const agents = sipfleet(cwd, 'get', 'agents', '-o', 'json', '--url', second.url, '--token-file', 'data/token');
  expect(JSON.parse(await agents.succeeds())).toHaveLength(1);
  const bonnie = await phone(second, 'bonnie', 'tcp');
  expect(await (await bonnie.call('echo')).hangUp()).toBe(200);
  await endsCleanly(second);
});

test('Ctrl-C on a terminal reaches every process at once, in any order', async () => {
  const up = await startUp(await temporary());
  const children = descendants(up.process.pid);
  for (const pid of [...children, up.process.pid]) process.kill(pid, 'SIGINT');
  expect(await up.process.exited).toEqual({ code: 0, signal: null });
  expect(children.filter(isAlive)).toEqual([]);
});

test('simulated calls go through, and are counted', async () => {
  const up = await startUp(await temporary(), '--traffic', '10/s');
  const [, failed] = await up.process.sees(/traffic: \d+ calls started, [1-9]\d* completed, (\d+) failed/);
  expect(failed).toBe('0');
  await endsCleanly(up);
});

test('a part that dies takes the rest with it, and is named', async () => {
  const up = await startUp(await temporary());
  const children = descendants(up.process.pid);
  const pbx = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('demo-pbx'))!;
  process.kill(pbx, 'SIGKILL');
  expect(await up.process.exited).toEqual({ code: 1, signal: null });
  expect(up.process.output).toMatch(/\nsipfleet: the demo PBX process ended unexpectedly: signal SIGKILL\n$/);
  expect(children.filter(isAlive)).toEqual([]);
});

test('own farms instead of the quickstart', async () => {
  const cwd = await temporary();
  const pbx = await startPbx({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => pbx.close());
  const probe = createSocket('udp4').bind(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await writeFile(
    join(cwd, 'own.yaml'),
    `kind: Site
name: milan
---
kind: Farm
name: own
sites: [milan]
listeners: [{ transport: udp, port: ${port} }]
backends: [{ name: only, address: 127.0.0.1, port: ${pbx.port} }]
checks: [{ name: ping, type: options, interval: 1s, rise: 1 }]
`,
  );
  const up = await startUp(cwd, '-f', 'own.yaml');
  expect(up.process.output).toContain('1 of 1 backends up');
  expect(up.sip.port).toBe(port);
  const caller = await phone(up, 'bonnie', 'udp');
  expect(await (await caller.call('echo')).hangUp()).toBe(200);
  const farms = sipfleet(cwd, 'get', 'farms', '-o', 'json', '--url', up.url, '--token-file', 'data/token');
  expect(JSON.parse(await farms.succeeds()).map((f: { name: string }) => f.name)).toEqual(['own']);
  const quickstart = sipfleet(cwd, 'up', '--http', '127.0.0.1:0', '--sip', '127.0.0.1:0', '--data', 'data');
  await quickstart.exited;
  expect(quickstart.output).toMatch(/^sipfleet: the agent in \S+ belongs to site milan; [^\n]*\n$/);
});

/** What `up` printed and how it ended; nothing was started, so no data are there. */
async function refused(cwd: string, ...args: string[]): Promise<string> {
  const up = sipfleet(cwd, 'up', '--data', 'data', ...args);
  expect(await up.exited).toEqual({ code: 1, signal: null });
  expect(existsSync(join(cwd, 'data'))).toBe(false);
  return up.output;
}

test('a taken port is one line that names it', async () => {
  const cwd = await temporary();
  const udp = createSocket('udp4').bind(0, '127.0.0.1');
  onTestFinished(() => void udp.close());
  await once(udp, 'listening');
  const tcp = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void tcp.close());
  await once(tcp, 'listening');
  const udpAt = `127.0.0.1:${udp.address().port}`;
  const tcpAt = `127.0.0.1:${(tcp.address() as AddressInfo).port}`;
  const taken = 'another program has it; give another port, or end that program\n';
  expect(await refused(cwd, '--sip', udpAt, '--http', '127.0.0.1:0')).toBe(
    `sipfleet: cannot listen on udp ${udpAt} (--sip): ${taken}`,
  );
  expect(await refused(cwd, '--sip', tcpAt, '--http', '127.0.0.1:0')).toBe(
    `sipfleet: cannot listen on tcp ${tcpAt} (--sip): ${taken}`,
  );
  expect(await refused(cwd, '--sip', '127.0.0.1:0', '--http', tcpAt)).toBe(
    `sipfleet: cannot listen on tcp ${tcpAt} (--http): ${taken}`,
  );
  expect(await refused(cwd, '--sip', '127.0.0.1:0', '--http', '127.0.0.1:0', '--admin', tcpAt)).toContain('(--admin)');
  expect(await refused(cwd, '--sip', '203.0.113.9:0', '--http', '127.0.0.1:0')).toMatch(
    /^sipfleet: [^\n]*203\.0\.113\.9[^\n]*\n$/,
  );
});

test('a missing file is one line, a bad one has a line for each fault', async () => {
  const cwd = await temporary();
  expect(await refused(cwd, '-f', 'none.yaml')).toBe('sipfleet: none.yaml: no such file or directory\n');
  await writeFile(join(cwd, 'bad.yaml'), 'kind: Site\nname: A\n---\nkind: Farm\nname: b\nname: c\n');
  expect((await refused(cwd, '-f', 'bad.yaml')).split('\n').map((l) => l.split(' ')[0])).toEqual([
    'bad.yaml:2:',
    'bad.yaml:6:',
    '',
  ]);
  expect(await refused(cwd, '-f', 'bad.yaml', '--traffic', '1/s')).toContain('bad.yaml:2');
});

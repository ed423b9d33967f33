import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import type { CallSummary } from '../../edge-agent/src/telemetry/admin-calls.ts';
import { startPbx } from '../demo-pbx/pbx.ts';
import { Phone } from '../demo-pbx/phone.ts';
import { CALLERS, callerPassword, ECHOES } from '../demo-pbx/users.ts';
import { canUseLoopback, freePort } from './loopback.ts';
import { ScriptedUas } from './scripted-uas.ts';
import { commandLine, startUp, temporary } from './sipfleet.fixture.ts';

const A = '127.0.0.1';
const SOON = { timeout: 60_000, interval: 500 };

/** The commands of docs/troubleshooting.md, on a farm with one PBX that is well, one without audio, and one that lets nobody register. */
test.skipIf(!canUseLoopback)(
  'no audio, and no registrations: every command of docs/troubleshooting.md finds what the page says',
  { timeout: 180_000 },
  async () => {
    const cwd = await temporary();
    const [good, mute] = await Promise.all([
      startPbx({ host: A, port: 0 }),
      startPbx({ host: A, port: 0, mute: true }),
    ]);
    onTestFinished(() => Promise.all([good.close(), mute.close()]).then(() => {}));
    const strict = await ScriptedUas.start({
      OPTIONS: (r, from) => strict.reply(r, from, '200 OK'),
      REGISTER: (r, from) => strict.reply(r, from, '403 Forbidden'),
    });
    onTestFinished(() => strict.close());
    const sip = await freePort(A);
    const audio = 'check_sip -R - -T 2 --expect-audio sip:probe@example.test sip:echo@HOST:PORT';
    const farm = {
      kind: 'Farm',
      name: 'pbx',
      sites: ['milan'],
      listeners: [{ transport: 'udp', port: sip }],
      backends: [
        { name: 'pbx1', address: A, port: good.port },
        { name: 'pbx2', address: A, port: mute.port },
        { name: 'pbx3', address: A, port: strict.port },
      ],
      health: { maxConcurrentCalls: 4 },
      checks: [
        { name: 'ping', type: 'options', interval: '1s', timeout: '500ms' },
        { name: 'audio', type: 'call', command: audio, interval: '20s', timeout: '5s', fall: 10, agents: 2 },
      ],
    };
    const site = { kind: 'Site', name: 'milan' };
    await writeFile(join(cwd, 'farm.yaml'), [site, farm].map((document) => stringify(document)).join('---\n'));
    const up = await startUp(cwd, '-f', 'farm.yaml');
    const command = commandLine(cwd, {
      SIPFLEET_URL: up.url,
      SIPFLEET_TOKEN: readFileSync(join(cwd, 'data/token'), 'utf8').trim(),
      SIPFLEET_ADMIN: new URL(up.metrics).host,
    });
    const sipfleet = async (...args: string[]): Promise<string> => {
      const { code, out } = await command(...args);
      expect(`${code} ${out}`).toMatch(/^0 /);
      return out;
    };

    // No audio: the check says where and in which step.
    const probe = await command('checks', 'run', 'pbx/pbx2/audio');
    expect(probe).toMatchObject({ code: 1, out: expect.stringMatching(/failure \(media\)/) });

    // No registrations: the calls that are kept say who is refused by whom.
    const proxy = { host: A, port: sip };
    const phones = await Promise.all(CALLERS.map(() => Phone.open({ transport: 'udp', proxy, timeoutMs: 3000 })));
    onTestFinished(() => {
      for (const phone of phones) phone.close();
    });
    await Promise.all(
      phones.map((phone, i) =>
        phone.register({ user: CALLERS[i]!, password: callerPassword(CALLERS[i]!) }).catch(() => {}),
      ),
    );
    const kept = async (reason: string) => {
      const calls = JSON.parse(await sipfleet('calls', '--failed', '-o', 'json')) as CallSummary[];
      return calls.filter(({ reasons }) => reasons.includes(reason));
    };
    await expect.poll(async () => (await kept('failed')).length, SOON).toBeGreaterThan(0);
    const call = (await kept('failed')).find(({ method }) => method === 'REGISTER')!;
    expect(call).toMatchObject({ backends: ['pbx3'], results: ['REGISTER 403'], reasons: ['failed'] });
    const [unheard] = await kept('check');
    expect(unheard).toMatchObject({
      backends: ['pbx2'],
      results: [expect.stringMatching(/^check audio of pbx2: .*audio/)],
    });
    expect(await sipfleet('ladder', unheard!.callId)).toMatch(/INVITE[\s\S]*BYE/);
    const ladder = await sipfleet('ladder', call.callId);
    expect(ladder).toMatch(/403 Forbidden \(REGISTER\)/);
    const user = /sip:([^@]+)@/.exec(call.from)![1]!;
    const chosen = async (): Promise<string> => {
      const [, register] = JSON.parse(await sipfleet('explain', '--user', user, '-o', 'json'));
      return register.candidates.find((c: { chosen: boolean }) => c.chosen).backend;
    };
    expect(await chosen()).toBe('pbx3');
    expect(await sipfleet('history', 'farm', 'pbx')).toMatch(/\S/);

    // Both are taken out; who was there is served by the one that is well.
    for (const backend of ['pbx2', 'pbx3']) await sipfleet('drain', `pbx/${backend}`);
    await expect.poll(chosen, SOON).toBe('pbx1');
    await expect
      .poll(
        () => phones[CALLERS.indexOf(user)]!.register({ user, password: callerPassword(user) }).then(() => 200, String),
        SOON,
      )
      .toBe(200);
    const answered = await phones[0]!.call(ECHOES[0]!);
    expect(await answered.hangUp()).toBe(200);
    // The probes of its schedule said the same meanwhile.
    await expect.poll(() => sipfleet('checks', 'pbx'), SOON).toMatch(/pbx2\/audio.*failure \(media\)/);
    await sipfleet('undrain', 'pbx/pbx3');
  },
);

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type TestApp, testApp } from '../routes/app.fixture.ts';
import type { Io } from './io.ts';
import { type Launchers, run } from './program.ts';

export interface Ran {
  code: number;
  out: string;
  err: string;
}

export interface TestCli {
  control: TestApp;
  /** Runs a command line in the directory, against the control plane, with an admin's token unless told otherwise. */
  sipfleet(args: string, io?: Partial<Io>): Promise<Ran>;
  file(name: string, text: string): Promise<void>;
  /** What the launchers were asked for. */
  launched: unknown[];
}

/** The whole command line over a control plane in memory. */
export async function testCli(): Promise<TestCli> {
  const control = testApp();
  const token = await control.token('admin');
  const cwd = await mkdtemp(join(tmpdir(), 'sipfleet-cli-'));
  onTestFinished(() => rm(cwd, { recursive: true }));
  const launched: unknown[] = [];
  const launch = async (what: unknown) => launched.push(what) && 0;
  const launchers: Launchers = { up: launch, agent: launch, controlPlane: launch };
  return {
    control,
    launched,
    file: (name, text) => writeFile(join(cwd, name), text),
    async sipfleet(args, overrides = {}) {
      const ran = { code: -1, out: '', err: '' };
      const io: Io = {
        out: (text) => {
          ran.out += text;
        },
        err: (text) => {
          ran.err += text;
        },
        readInput: async () => '',
        ask: async () => undefined,
        env: { SIPFLEET_TOKEN: token, SIPFLEET_URL: 'http://control-plane.test' },
        terminal: false,
        cwd,
        sleep: async () => true,
        fetch: (async (url, init) => control.app.request(String(url), init)) as typeof fetch,
        ...overrides,
      };
      ran.code = await run(args.split(' ').filter(Boolean), io, launchers);
      return ran;
    },
  };
}

export const site = (name: string) => `kind: Site\nname: ${name}\n`;
export const farm = (name: string, port = 5060, backends = '[{ name: pbx1, address: 10.0.0.11 }]') =>
  `kind: Farm\nname: ${name}\nsites: [milan]\nlisteners: [{ transport: udp, port: ${port} }]\nbackends: ${backends}\n`;

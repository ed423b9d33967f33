import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { CATALOGUE as CONTROL_PLANE } from '../control-plane/src/telemetry/catalogue.ts';
import { CATALOGUE } from '../edge-agent/src/telemetry/catalogue.ts';

/** The rules of the house, as data: docs/architecture.md says why, this file holds them. */

const ROOT = join(import.meta.dirname, '..');

/** Everything a package's rooms may import beside npm packages, Node and themselves. A name is a room or one file of it; `type NAME`: only its types. */
interface House {
  root: string;
  /** Every room may import these. */
  common: string[];
  /** Wire rooms together; may import anything. */
  wiring: string[];
  rooms: Record<string, string[]>;
  /** Room or file → whether it may import `@sipfleet/contract`. */
  contract: string[];
}

const HOUSES: House[] = [
  {
    root: 'edge-agent/src',
    common: ['ports.ts', 'errors.ts', 'plan.ts'],
    wiring: [
      'main.ts',
      'options.ts',
      'push-options.ts',
      'recorder-options.ts',
      'hep-options.ts',
      'hep-thread.ts',
      'trace-options.ts',
      'decisions.ts',
      'reports.ts',
      'explain.ts',
      'agent.ts',
      'runtime.ts',
      'backend-signals.ts',
      'precedence.ts',
      'snapshot-file.ts',
      'workers.ts',
      'data-thread.ts',
      'worker.ts',
      'data-sockets.ts',
      'warm-up',
    ],
    rooms: {
      'ports.ts': ['type plan.ts'],
      'errors.ts': [],
      'plan.ts': ['ports.ts'],
      'compile.ts': ['balancer', 'compile-transport.ts', 'ports.ts', 'errors.ts', 'plan.ts'],
      'compile-transport.ts': ['transport/certificate.ts', 'ports.ts', 'errors.ts'],
      sip: [],
      media: [],
      transport: ['sip'],
      transaction: ['sip'],
      balancer: ['sip'],
      security: ['sip'],
      // The slab is the layout of the counters that the packet path writes, the ids are hashes: data, no telemetry behind them.
      proxy: ['sip', 'security', 'balancer', 'transaction', 'telemetry/slab.ts', 'telemetry/traces/ids.ts'],
      health: ['sip', 'media', 'transaction'],
      kernel: [],
      vip: [],
      telemetry: ['sip', 'transport/gather.ts'],
      link: [],
      cli: ['health', 'link'],
    },
    contract: ['compile.ts', 'compile-transport.ts', 'balancer', 'security', 'health', 'kernel', 'vip', 'link', 'cli'],
  },
  {
    root: 'control-plane/src',
    common: [],
    wiring: ['server.ts', 'app.ts', 'compose.ts', 'lambda'],
    rooms: {
      // The shapes of the HTTP API, shared by both of its ends.
      'api-access.ts': [],
      'api-rollouts.ts': [],
      'api-changes.ts': ['api.ts', 'api-rollouts.ts'],
      'api.ts': [],
      'client.ts': ['api.ts', 'api-access.ts', 'api-changes.ts', 'api-rollouts.ts'],
      // Hashes of the audit log: made by the store, verified by who reads it.
      'audit-chain.ts': [],
      // A token or key of its own that the server makes at its first start.
      'secret-file.ts': [],
      domain: [],
      store: ['domain', 'audit-chain.ts'],
      push: ['domain'],
      auth: ['domain', 'secret-file.ts'],
      // Keys and what is sealed with them.
      vault: ['domain', 'secret-file.ts'],
      telemetry: ['domain'],
      // Interfaces of what is handed to createApp; never an implementation.
      routes: [
        'domain',
        'auth',
        'api.ts',
        'api-changes.ts',
        'api-access.ts',
        'api-rollouts.ts',
        'audit-chain.ts',
        'type store',
        'type telemetry',
      ],
      // `up` and `control-plane` run the local server in their own process.
      cli: ['client.ts', 'api.ts', 'api-access.ts', 'api-changes.ts', 'api-rollouts.ts', 'audit-chain.ts', 'server.ts'],
    },
    contract: [
      'domain',
      'store',
      'push',
      'auth',
      'vault',
      'routes',
      'cli',
      'client.ts',
      'api.ts',
      'api-changes.ts',
      'api-access.ts',
      'api-rollouts.ts',
      'audit-chain.ts',
    ],
  },
];

/** Names that stand beside product code and are none. */
const NO_PRODUCT = /\.(test|fixture|suite|test-[a-z]+)\.ts$/;

function filesUnder(directory: string): string[] {
  try {
    return readdirSync(join(ROOT, directory), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
      .filter((path) => !/(^|\/)(node_modules|\.git|var|coverage)\//.test(path));
  } catch {
    return []; // A folder that is not built yet.
  }
}

interface Import {
  target: string;
  /** Erased before it runs. */
  type: boolean;
}

const IMPORT =
  /(?:\b(import|export)\s+(type\s+)?([^;'"]*?)\bfrom\s*|\bimport\s+|(await\s+)?\bimport\s*\(\s*)(['"])([^'"]+)\5/g;

/** Modules that a file imports: static, for their effect, dynamic, and in type position. */
const importsOf = (text: string): Import[] =>
  [...text.matchAll(IMPORT)].map(([all, statement, type, names = '', awaited, , target]) => {
    const braced = names
      .match(/^\{([^}]*)\}\s*$/)?.[1]
      ?.split(',')
      .map((n) => n.trim())
      .filter(Boolean);
    const erased = statement
      ? type !== undefined || (braced?.every((name) => name.startsWith('type ')) ?? false)
      : all.includes('(') && awaited === undefined;
    return { target: target as string, type: erased };
  });

const within = (path: string, rule: string): boolean => path === rule || path.startsWith(`${rule}/`);

/** Why the house does not allow this import; undefined where it does. */
function fault(house: House, file: string, { target, type }: Import): string | undefined {
  const inside = relative(house.root, file);
  if (house.wiring.some((rule) => within(inside, rule))) return undefined;
  const room = Object.keys(house.rooms).find((name) => within(inside, name));
  if (!room) return `${file}: stands in no room of test/house.test.ts`;
  if (target === '@sipfleet/contract')
    return house.contract.includes(room) ? undefined : `${file}: ${room} may not import ${target}`;
  if (!target.startsWith('.')) return undefined;
  const path = relative(house.root, join(dirname(file), target));
  const allowed = [room, ...(room.endsWith('.ts') ? [] : house.common), ...(house.rooms[room] as string[])];
  const permits = (rule: string) =>
    rule.startsWith('type ') ? type && within(path, rule.slice('type '.length)) : within(path, rule);
  if (allowed.some(permits)) return undefined;
  return `${file}: ${room} may not import ${path}; allowed: ${allowed.join(', ')}`;
}

test.each(HOUSES)('$root: rooms import only what the design lets them', (house) => {
  const files = filesUnder(house.root).filter((f) => f.endsWith('.ts') && !NO_PRODUCT.test(f));
  expect(files.length).toBeGreaterThan(0);
  const faults = files.flatMap((file) =>
    importsOf(readFileSync(join(ROOT, file), 'utf8')).map((found) => fault(house, file, found)),
  );
  expect(faults.filter(Boolean)).toEqual([]);
});

test('an import that the design forbids is found', () => {
  const [agent] = HOUSES as [House];
  const text = `import { a, type A } from '../x.ts';
import type { B } from '../b.ts';
import { type C } from '../c.ts';
export { d } from './d.ts';
import './effect.ts';
const t: import("./y.ts").T;
await import('z')`;
  expect(importsOf(text)).toEqual([
    { target: '../x.ts', type: false },
    { target: '../b.ts', type: true },
    { target: '../c.ts', type: true },
    { target: './d.ts', type: false },
    { target: './effect.ts', type: false },
    { target: './y.ts', type: true },
    { target: 'z', type: false },
  ]);
  const faultOf = (file: string, target: string, type = false) =>
    fault(agent, `edge-agent/src/${file}`, { target, type });
  expect(faultOf('sip/uri.ts', '../proxy/token.ts')).toMatch(/sip may not import proxy/);
  expect(faultOf('proxy/x.ts', '../telemetry/metrics.ts', true)).toMatch(/may not import/);
  expect(faultOf('proxy/x.ts', '../sip/uri.ts')).toBeUndefined();
  expect(faultOf('ports.ts', './plan.ts')).toMatch(/may not import/);
  expect(faultOf('ports.ts', './plan.ts', true)).toBeUndefined();
  expect(faultOf('tools/x.ts', './y.ts')).toMatch(/no room/);
});

test('the contract imports only zod and itself', () => {
  const files = filesUnder('control-plane/contract/src').filter((f) => f.endsWith('.ts') && !NO_PRODUCT.test(f));
  const foreign = files.flatMap((file) =>
    importsOf(readFileSync(join(ROOT, file), 'utf8')).filter(
      ({ target }) => target !== 'zod' && !target.startsWith('./'),
    ),
  );
  expect(foreign).toEqual([]);
});

test('metrics are named as Prometheus has it', () => {
  const entries = [...Object.values(CATALOGUE), ...Object.values(CONTROL_PLANE)];
  expect(new Set(entries.map((e) => e.name)).size).toBe(entries.length);
  for (const entry of entries) {
    expect(entry.name).toMatch(/^sipfleet_[a-z][a-z0-9_]*[a-z0-9]$/);
    expect(entry.name.endsWith('_total'), `${entry.name}: _total stands on counters and on nothing else`).toBe(
      entry.type === 'counter',
    );
    expect(entry.name, 'base units only').not.toMatch(
      /_(ms|milliseconds|microseconds|minutes|kb|kilobytes|percent)(_|$)/,
    );
    if (entry.unit !== '1') expect(entry.name).toContain(`_${entry.unit}`);
    expect(entry.help).toMatch(/\.$/);
  }
});

/** Product code, where the limits of size hold. */
const PRODUCT = ['edge-agent', 'control-plane', 'infra', 'dashboards'];
const ALL = [...PRODUCT, 'test', 'docs', '.ci'];

test('no file of product code is longer than 400 lines', () => {
  const long = PRODUCT.flatMap(filesUnder)
    .filter((f) => /\.(ts|js)$/.test(f) && !NO_PRODUCT.test(f))
    .map((f) => [f, readFileSync(join(ROOT, f), 'utf8').split('\n').length] as const)
    .filter(([, lines]) => lines > 400);
  expect(long).toEqual([]);
});

test('there is no drawer for odds and ends', () => {
  const drawers = ALL.flatMap(filesUnder).filter((f) =>
    /(^|\/)(utils?|helpers?|common|misc|tools)(\/|\.[jt]s$)/.test(f),
  );
  expect(drawers).toEqual([]);
});

test('nothing names the machine or the registry it was made on', () => {
  // Put together here, so that this file does not name them either. An npm mirror's URL in the lockfile breaks npm ci elsewhere.
  const forbidden = new RegExp([`/${'work'}/`, `/${'root'}/`, `/${'home'}/[a-z]`, `registry${'='}`].join('|'));
  const top = readdirSync(ROOT, { withFileTypes: true })
    // In a git worktree .git is a file with a path in it, and no part of the project.
    .filter((e) => e.isFile() && e.name !== '.git')
    .map((e) => e.name);
  const named = [...ALL.flatMap(filesUnder), ...top].filter((f) =>
    forbidden.test(readFileSync(join(ROOT, f), 'latin1')),
  );
  expect(named).toEqual([]);
  expect(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).not.toMatch(/"resolved": "https?:/);
});

function readme(): string {
  try {
    return readFileSync(join(ROOT, 'README.md'), 'utf8');
  } catch {
    return '';
  }
}

test('every command that the README names exists', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const text = readme();
  const runs = [...text.matchAll(/npm run ([a-z][\w:-]*)/g)].map((match) => match[1] as string);
  const short = [...text.matchAll(/npm (test|start)\b/g)].map((match) => match[1] as string);
  expect([...runs, ...short].filter((name) => !(name in scripts))).toEqual([]);

  const cli = filesUnder('control-plane/src/cli').map((f) => readFileSync(join(ROOT, f), 'utf8'));
  const commands = new Set(
    cli.flatMap((source) => [...source.matchAll(/\.command\(\s*['"`]([a-z-]+)/g)].map((match) => match[1] as string)),
  );
  const named = [...text.matchAll(/npx sipfleet ([a-z][a-z-]*)/g)].map((match) => match[1] as string);
  expect(named.filter((name) => !commands.has(name))).toEqual([]);
});

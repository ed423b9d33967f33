import type { Farm, Kind, SecretView, Site } from '@sipfleet/contract';
import { stringify } from 'yaml';
import type { AgentView, Stored } from '../api.ts';
import type { Client } from '../client.ts';
import { stateOf } from './drift.ts';
import { CliError, type Colors, EXIT, type Io, table } from './io.ts';
import { type Format, formatted } from './output.ts';

const KIND_NAMES: Record<string, Kind | 'Agent'> = {
  site: 'Site',
  sites: 'Site',
  farm: 'Farm',
  farms: 'Farm',
  secret: 'Secret',
  secrets: 'Secret',
  agent: 'Agent',
  agents: 'Agent',
};

/** `farms`, `farm`, `Farm` → `Farm`. */
export function kindOf(word: string): Kind | 'Agent' {
  const kind = KIND_NAMES[word.toLowerCase()];
  if (!kind) throw new CliError(`kind: found ${JSON.stringify(word)}; allowed: sites, farms, secrets, agents`);
  return kind;
}

/** `sipfleet get`: resources come out in the form in which `apply` takes them. */
export async function get(
  client: Client,
  word: string,
  name: string | undefined,
  format: Format,
  io: Io,
): Promise<number> {
  const kind = kindOf(word);
  const found = kind === 'Agent' ? await agents(client, name) : await resources(client, kind, name);
  if (format === 'table') io.out(found.table);
  else if (format === 'yaml') io.out(found.items.map((item) => stringify(item, { lineWidth: 0 })).join('---\n'));
  else io.out(`${JSON.stringify(name === undefined ? found.items : found.items[0], null, 2)}\n`);
  return EXIT.ok;
}

interface Found {
  items: readonly unknown[];
  table: string;
}

async function resources(client: Client, kind: Kind, name: string | undefined): Promise<Found> {
  const stored = (name === undefined ? await client.listResources(kind) : [await client.getResource(kind, name)]) as (
    | Stored<Site | Farm | SecretView>
    | undefined
  )[];
  const there = stored.filter((s) => s !== undefined);
  if (there.length < stored.length) throw new CliError(`there is no ${kind} ${name}`);
  const rows = there.map(({ spec, revision, updatedAt }) => [
    spec.name,
    ...columnsOf(spec),
    String(revision),
    updatedAt,
  ]);
  return {
    items: there.map((s) => s.spec),
    table: table([['NAME', ...COLUMNS[kind], 'REVISION', 'UPDATED'], ...rows]),
  };
}

const COLUMNS: Record<Kind, string[]> = {
  Site: ['DESCRIPTION'],
  Farm: ['SITES', 'LISTENERS', 'BACKENDS', 'BALANCING'],
  Secret: ['KEYS', 'DESCRIPTION'],
};

function columnsOf(spec: Site | Farm | SecretView): string[] {
  if (spec.kind === 'Farm') return farmColumns(spec);
  const keys = spec.kind === 'Secret' ? [Object.keys(spec.fingerprints).join(',')] : [];
  return [...keys, spec.description ?? ''];
}

function farmColumns(farm: Farm): string[] {
  const listeners = farm.listeners.map((l) =>
    [l.transport, l.address, l.port].filter((part) => part !== undefined).join(':'),
  );
  const { strategy, key } = farm.balancing;
  return [
    farm.sites.join(','),
    listeners.join(','),
    farm.backends.map((b) => b.name).join(','),
    strategy === 'hash' ? `hash by ${key}` : strategy,
  ];
}

async function agents(client: Client, name: string | undefined): Promise<Found> {
  const all = await client.listAgents();
  const items = name === undefined ? all : all.filter((a) => a.name === name || a.agentId === name);
  if (name !== undefined && items.length === 0) throw new CliError(`there is no agent ${name}`);
  const rows = items.map((a) => [a.name, a.site, a.agentId, a.version, a.connected ? 'yes' : 'no', a.firstSeenAt]);
  return { items, table: table([['NAME', 'SITE', 'ID', 'VERSION', 'CONNECTED', 'FIRST SEEN'], ...rows]) };
}

/** `sipfleet delete KIND NAME`; an agent is revoked: its key opens nothing any more. */
export async function remove(client: Client, word: string, name: string, format: Format, io: Io): Promise<number> {
  const kind = kindOf(word);
  let gone: Record<string, unknown>;
  if (kind === 'Agent') {
    const agent = (await client.listAgents()).find((a) => a.name === name || a.agentId === name);
    if (!agent) throw new CliError(`there is no agent ${name}`);
    await client.revokeAgent(agent.agentId);
    gone = { kind, name: agent.name, agentId: agent.agentId };
  } else {
    const stored = await client.getResource(kind, name);
    if (!stored) throw new CliError(`there is no ${kind} ${name}`);
    await client.deleteResource(kind, name, stored.revision);
    gone = { kind, name, revision: stored.revision };
  }
  io.out(format === 'table' ? `− ${kind} ${name}\n` : formatted(gone, format));
  return EXIT.ok;
}

/** `sipfleet status`: which agents run what they should, and what they think of their backends. */
export async function status(client: Client, format: Format, io: Io, colors: Colors): Promise<number> {
  const all = await client.listAgents();
  if (format !== 'table') io.out(formatted(all, format));
  else if (all.length === 0) io.out('No agent has joined yet: sipfleet join-token SITE\n');
  else io.out(`${agentTable(all, colors)}\n${backendTable(all, colors)}`);
  return EXIT.ok;
}

function agentTable(all: readonly AgentView[], colors: Colors): string {
  const rows = all.map((a) => [
    a.name,
    a.site,
    a.connected ? colors.green('connected') : colors.red('away'),
    stateOf(a, colors),
    a.lastReportAt ?? 'never',
  ]);
  return table([['AGENT', 'SITE', 'LINK', 'SNAPSHOT', 'LAST REPORT'], ...rows]);
}

function backendTable(all: readonly AgentView[], colors: Colors): string {
  const paint = { up: colors.green, down: colors.red, unknown: colors.yellow };
  const rows = all.flatMap((a) =>
    a.backends.map((b) => {
      const state = paint[b.state](b.state) + (b.draining ? colors.yellow(`, draining${callsLeft(b.calls)}`) : '');
      return [b.farm, b.backend, state, b.since, a.name, b.reason];
    }),
  );
  if (rows.length === 0) return 'No backends reported.\n';
  return table([['FARM', 'BACKEND', 'STATE', 'SINCE', 'SEEN BY', 'REASON'], ...rows]);
}

/** `, 3 calls`; an agent of before there was that says nothing. */
function callsLeft(calls: number | undefined): string {
  if (calls === undefined) return '';
  if (calls === 0) return ', empty';
  return calls === 1 ? ', 1 call' : `, ${calls} calls`;
}

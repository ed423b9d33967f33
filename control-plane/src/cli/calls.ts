import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { AgentHttp } from './agent-http.ts';
import { CliError, type Colors, EXIT, type Io, table } from './io.ts';
import { type Format, formatted } from './output.ts';

interface Call {
  callId: string;
  farm: string;
  from: string;
  to: string;
  backends: string[];
  reasons: string[];
  results: string[];
  startedAt: string;
  seconds: number;
}

interface Candidate {
  backend: string;
  rank: number | null;
  priority: number;
  weight: number;
  sessions: number;
  chosen: boolean;
  excluded: string | null;
}

interface Decision {
  farm: string;
  generation: number;
  request: string;
  went: string[];
  strategy: string;
  key: string | null;
  bucket: number | null;
  candidates: Candidate[];
  notes: string[];
}

/** @param as undefined: the whole call as JSON */
const path = (callId: string, as?: string): string =>
  `/v1/calls/${encodeURIComponent(callId)}${as === undefined ? '' : `/${as}`}`;

/** `sipfleet calls`: what the agent's flight recorder kept, the newest first. */
export async function calls(
  agent: AgentHttp,
  { failed, user, output }: { failed?: boolean; user?: string; output: Format },
  io: Io,
  colors: Colors,
): Promise<number> {
  const query = new URLSearchParams({ ...(failed && { failed: '1' }), ...(user !== undefined && { user }) });
  const found = await agent.json<{ recording: boolean; calls: Call[] }>(`/v1/calls?${query}`);
  if (output !== 'table') io.out(formatted(found.calls, output));
  else if (!found.recording) io.out('This agent records nothing (--recorder-memory 0).\n');
  else if (found.calls.length === 0) io.out('No such call is kept.\n');
  else
    io.out(
      table([
        ['STARTED', 'FARM', 'FROM', 'TO', 'BACKENDS', 'RESULT', 'KEPT', 'CALL-ID'],
        ...found.calls.map(rowOf(colors)),
      ]),
    );
  return EXIT.ok;
}

const rowOf =
  (colors: Colors) =>
  (c: Call): string[] => [
    c.startedAt,
    c.farm,
    c.from,
    c.to,
    c.backends.join(','),
    c.results.join(', '),
    c.reasons.includes('sampled') ? c.reasons.join(',') : colors.yellow(c.reasons.join(',')),
    c.callId,
  ];

/** `sipfleet ladder CALL-ID`: who said what to whom; with `full` the messages too, as JSON or YAML always; with `pcap` or `hep` as a file for Wireshark or a HEP server. */
export async function ladder(
  agent: AgentHttp,
  callId: string,
  { full, pcap, hep, output }: { full?: boolean; pcap?: string; hep?: string; output: Format },
  io: Io,
): Promise<number> {
  const files = { pcap, hep };
  const written: Record<string, string> = {};
  for (const kind of ['pcap', 'hep'] as const) {
    const name = files[kind];
    if (name === undefined) continue;
    const file = resolve(io.cwd, name);
    await writeFile(file, await agent.bytes(path(callId, kind)), { mode: 0o600 });
    written[kind] = file;
    if (output === 'table') io.out(`${file}\n`);
  }
  const toFile = Object.keys(written).length > 0;
  if (output !== 'table') io.out(formatted(toFile ? written : await agent.json(path(callId)), output));
  else if (!toFile) io.out(await agent.text(path(callId, full ? 'text' : 'ladder')));
  return EXIT.ok;
}

/** `sipfleet explain`: why this backend, for a kept call or for a user. */
export async function explain(
  agent: AgentHttp,
  callId: string | undefined,
  { user, farm, output }: { user?: string; farm?: string; output: Format },
  io: Io,
  colors: Colors,
): Promise<number> {
  if ((callId === undefined) === (user === undefined))
    throw new CliError('give a CALL-ID (see sipfleet calls), or --user USER');
  const query = new URLSearchParams({ user: user ?? '', ...(farm !== undefined && { farm }) });
  const decisions = await agent.json<Decision[]>(
    callId === undefined ? `/v1/explain?${query}` : path(callId, 'explain'),
  );
  if (output !== 'table') io.out(formatted(decisions, output));
  else if (decisions.length === 0) io.out('The agent has no farm for that.\n');
  else io.out(decisions.map((d) => explanation(d, colors)).join('\n'));
  return EXIT.ok;
}

function explanation(d: Decision, colors: Colors): string {
  const key = d.key === null ? '' : `, key ${d.key} (bucket ${d.bucket})`;
  const rows = d.candidates.map((c) => [
    c.chosen ? colors.green('→') : '',
    c.backend,
    c.rank === null ? '' : String(c.rank),
    String(c.priority),
    String(c.weight),
    String(c.sessions),
    c.excluded === null ? '' : colors.red(c.excluded),
  ]);
  return [
    `${d.request}\n`,
    `farm ${d.farm}, generation ${d.generation}, strategy ${d.strategy}${key}\n`,
    d.went.length > 0 ? `it went to ${d.went.join(', then ')}; by what the agent knows now:\n` : '',
    table([['', 'BACKEND', 'RANK', 'TIER', 'WEIGHT', 'SESSIONS', 'NOT BECAUSE'], ...rows]),
    ...d.notes.map((note) => `${note}\n`),
  ].join('');
}

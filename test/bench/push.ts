import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Time from a written change to the agent running it: `PUT /v1/farms/quickstart` → push hint → snapshot → compiled, committed on all data
 * threads, as the agent's own `/v1/status` tells. On one machine, one agent.
 *
 *   node test/bench/push.ts [changes]
 */
const changes = Number(process.argv[2] ?? 50);
const data = mkdtempSync(join(tmpdir(), 'sipfleet-push-'));
const up = spawn(
  process.execPath,
  [
    'control-plane/src/cli/main.ts',
    'up',
    '--sip',
    '127.0.0.1:0',
    '--http',
    '127.0.0.1:0',
    '--admin',
    '127.0.0.1:0',
    '--data',
    data,
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);

async function banner(): Promise<string> {
  let text = '';
  for await (const chunk of up.stdout) {
    text += String(chunk);
    if (text.includes('Ctrl-C ends it')) return text;
  }
  throw new Error(`sipfleet up ended: ${text}`);
}

async function json<T>(url: string, init: RequestInit = {}): Promise<T> {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`${init.method ?? 'GET'} ${url}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

const quantile = (sorted: readonly number[], q: number): string =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!.toFixed(0);

try {
  const text = await banner();
  const metrics = /http:\/\/\S+\/metrics/.exec(text)![0];
  const api = /(http:\/\/\S+\/v1)\s/.exec(text)![1]!;
  const status = metrics.replace('/metrics', '/v1/status');
  const authorization = `Bearer ${readFileSync(join(data, 'token'), 'utf8').trim()}`;
  const times: number[] = [];
  for (let i = 0; i < changes; i++) {
    const farm = await json<{ spec: { backends: { weight: number }[] }; revision: number }>(`${api}/farms/quickstart`, {
      headers: { authorization },
    });
    const before = (await json<{ snapshot: { etag: string } }>(status)).snapshot.etag;
    farm.spec.backends[0]!.weight = (farm.spec.backends[0]!.weight % 900) + 1;
    const t = performance.now();
    await json(`${api}/farms/quickstart`, {
      method: 'PUT',
      headers: { authorization, 'content-type': 'application/json', 'if-match': `"${farm.revision}"` },
      body: JSON.stringify(farm.spec),
    });
    while ((await json<{ snapshot: { etag: string } }>(status)).snapshot.etag === before) {
      if (performance.now() - t > 30_000) throw new Error('not applied within 30 s');
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    times.push(performance.now() - t);
  }
  times.sort((a, b) => a - b);
  console.log(
    `${changes} changes, PUT to applied: p50 ${quantile(times, 0.5)} ms, p99 ${quantile(times, 0.99)} ms, max ${quantile(times, 1)} ms`,
  );
} finally {
  up.kill('SIGINT');
  await new Promise((resolve) => up.once('exit', resolve));
  rmSync(data, { recursive: true, force: true });
}

import { expect, onTestFinished, test } from 'vitest';
import { encodeRemoteWrite, SentSeries } from '../../edge-agent/src/telemetry/push/remote-write.ts';
import { Agent } from '../interop/agent.ts';
import { Prometheus } from '../interop/prometheus.ts';
import { loopback } from '../netns/host.ts';
import { missingPeers } from '../setup/peers.ts';
import { canUseLoopback, freePort } from './loopback.ts';

const HOST = '127.0.11.1';
const SOON = { timeout: 60_000, interval: 200 };
const AHEAD_MS = 2 * 3_600_000;

/** What another agent has written meanwhile: Prometheus's newest sample is hours ahead of a backlog. */
async function writeAhead(url: string): Promise<void> {
  const family = {
    name: 'ahead',
    help: 'Newer.',
    unit: '1',
    type: 'gauge',
    points: [{ labels: { agent: 'other' }, value: 1 }],
  } as const;
  const body = encodeRemoteWrite([family], { job: 'sipfleet-agent' }, Date.now() + AHEAD_MS, new SentSeries());
  const headers = {
    'content-type': 'application/x-protobuf',
    'content-encoding': 'snappy',
    'x-prometheus-remote-write-version': '0.1.0',
  };
  const response = await fetch(`${url}/api/v1/write`, { method: 'POST', headers, body: Buffer.from(body) });
  expect(response.status, await response.text()).toBe(204);
}

test.skipIf(!canUseLoopback || missingPeers().includes('prometheus'))(
  'a Prometheus that was away, and is hours ahead when it is back, gets every sample that it missed',
  async () => {
    // The setting of infra/observability and docs/metrics.md.
    const config = { storage: { tsdb: { out_of_order_time_window: '6h' } } };
    const prometheus = await Prometheus.start({ config });
    onTestFinished(() => prometheus.close());
    const agent = await Agent.start({
      host: loopback(HOST),
      workers: 1,
      more: ['--remote-write', `${prometheus.url}/api/v1/write`, '--push-interval', '1s'],
      farm: {
        kind: 'Farm',
        name: 'pbx',
        sites: ['milan'],
        listeners: [{ transport: 'udp', address: HOST, port: await freePort(HOST) }],
        backends: [{ name: 'pbx1', address: '127.0.0.1', port: await freePort('127.0.0.1') }],
        checks: [],
      },
    });
    onTestFinished(() => agent.close());
    const spooled = () => agent.metric('sipfleet_push_spool_bytes', 'remote-write');
    const stored = () => prometheus.stored('sipfleet_push_spool_bytes{agent="edge",exporter="remote-write"}');
    await expect.poll(async () => (await stored()).length, SOON).toBeGreaterThan(1);

    await prometheus.stop();
    await expect.poll(spooled, SOON).toBeGreaterThan(0);
    const one = await spooled();
    // More than the steps asked for below: a sample may be read before the one before it is on disk, and the first ones are then alike.
    await expect.poll(spooled, SOON).toBeGreaterThan(8 * one);
    await prometheus.resume();
    await writeAhead(prometheus.url);
    await expect.poll(spooled, SOON).toBe(0);
    const after = (await stored()).length;
    await expect.poll(async () => (await stored()).length, SOON).toBeGreaterThan(after + 1);

    expect(await agent.metric('sipfleet_push_requests_total', 'remote-write', 'result="refused"')).toBe(0);
    expect(await agent.metric('sipfleet_push_dropped_samples_total', 'remote-write')).toBe(0);
    // Each sample says how much waited when it was read: in steps of one, so that a sample that lacked would be a step of two.
    const waiting = (await stored()).map(({ value }) => value);
    const peak = waiting.indexOf(Math.max(...waiting));
    const steps = waiting.slice(0, peak + 1).map((value, i) => value - (waiting[i - 1] ?? 0));
    const growing = steps.filter((step) => step !== 0);
    expect(growing.length).toBeGreaterThan(4);
    const least = Math.min(...growing);
    for (const step of growing) expect(Math.round(step / least), `${waiting}`).toBe(1);
    // Nothing of it is out of order by itself: it is older than what others have sent.
    const times = (await stored()).map(({ at }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  },
);

import type { CATALOGUE } from './catalogue.ts';
import type { HepView } from './hep/hep.ts';
import type { ExporterView } from './push/exporter.ts';

type Series = [Record<string, string>, number];
/** Fills a metric with absolute values. */
type Fill = (key: keyof typeof CATALOGUE, series: Iterable<Series>) => void;

/** What became of pushes, into the metrics. */
export function fillPushes(pushes: readonly ExporterView[], fill: Fill): void {
  const each = <T extends object>(label: string, of: (view: ExporterView) => T) =>
    pushes.flatMap((view) =>
      Object.entries(of(view)).map(([key, n]): Series => [{ exporter: view.name, [label]: key }, n as number]),
    );
  fill(
    'pushRequests',
    each('result', (view) => view.requests),
  );
  fill(
    'pushDropped',
    each('reason', (view) => view.droppedSamples),
  );
  fill(
    'pushSpool',
    pushes.map(({ name, spoolBytes }): Series => [{ exporter: name }, spoolBytes]),
  );
  fill(
    'pushLastTaken',
    pushes.flatMap(({ name, lastTaken }): Series[] =>
      lastTaken === undefined ? [] : [[{ exporter: name }, lastTaken / 1000]],
    ),
  );
}

/** What became of messages for a HEP server; nothing where there is none. */
export function fillHep(hep: HepView | undefined, fill: Fill): void {
  fill('hepSent', hep ? [[{}, hep.sent]] : []);
  fill('hepLost', hep ? Object.entries(hep.lost).map(([reason, n]): Series => [{ reason }, n]) : []);
}

/** What became of spans; nothing where no traces are pushed. */
export function fillTraces(traces: { sent: number; dropped: object } | undefined, fill: Fill): void {
  fill('spans', traces ? [[{}, traces.sent]] : []);
  fill('spansDropped', traces ? Object.entries(traces.dropped).map(([reason, n]): Series => [{ reason }, n]) : []);
}

import { Snapshot } from '@sipfleet/contract';
import { compilePlan } from '../compile.ts';
import type { Plan } from '../plan.ts';
import { ADDRESSES } from './play.ts';

/** What data threads run while they are warmed up: two farms as most are, one that keeps transactions and one that does not. Ports are given once they are known. */
export function warmUpPlan(): Plan {
  const farms = (['stateful', 'stateless'] as const).map((transactions, i) => ({
    spec: {
      kind: 'Farm',
      name: transactions,
      sites: ['stage'],
      transactions,
      listeners: [{ transport: 'udp', address: ADDRESSES.agent, port: i + 1 }],
      backends: ADDRESSES.pbxs.map((address, n) => ({ name: `pbx${n}`, address, port: 1 })),
    },
    revision: 1,
    tokenKeys: [{ id: 1, key: '000102030405060708090a0b0c0d0e0f' }],
  }));
  const snapshot = Snapshot.parse({ format: 1, site: 'stage', generation: 1, farms });
  return compilePlan(snapshot, 'warm-up', { number: 1, address: ADDRESSES.agent });
}

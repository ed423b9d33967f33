import type { TransportCounts } from '../ports.ts';

/** Counts at zero. One object may be shared by several transports of a worker. */
export function createCounts(): TransportCounts {
  return {
    received: 0,
    sent: 0,
    sendDropped: 0,
    overBudget: 0,
    oversized: 0,
    receiveDropped: 0,
    receivedBytes: 0,
    sentBytes: 0,
  };
}

import type { Endpoint } from '../ports.ts';

/** Makes `to` the same end of the same flow as `from`. */
export function copyEndpoint(to: Endpoint, from: Readonly<Endpoint>): Endpoint {
  to.transport = from.transport;
  to.ip0 = from.ip0;
  to.ip1 = from.ip1;
  to.ip2 = from.ip2;
  to.ip3 = from.ip3;
  to.port = from.port;
  to.connection = from.connection;
  return to;
}

/** The address is IPv4, written as ::ffff:a.b.c.d. */
export function isIPv4(e: Readonly<Endpoint>): boolean {
  return e.ip2 === 0xffff && e.ip0 === 0 && e.ip1 === 0;
}

/** Same transport, address and port. The connection is left out: it says how to get there, not where. */
export function sameEndpoint(a: Readonly<Endpoint>, b: Readonly<Endpoint>): boolean {
  return a.transport === b.transport && sameAddress(a, b);
}

/** Same address and port, whatever the transport. */
export function sameAddress(a: Readonly<Endpoint>, b: Readonly<Endpoint>): boolean {
  return a.port === b.port && a.ip3 === b.ip3 && a.ip2 === b.ip2 && a.ip1 === b.ip1 && a.ip0 === b.ip0;
}

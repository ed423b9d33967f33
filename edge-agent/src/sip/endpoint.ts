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

import { BlockList, isIP } from 'node:net';
import { formatIP, isIPv4, parseCidr } from '@sipfleet/contract';

/** Finds out from where a request came: `remote` is whoever holds the connection, `forwarded` its X-Forwarded-For. */
export type ClientAddress = (remote: string | undefined, forwarded: string | undefined) => string | undefined;

/**
 * @param proxies addresses and CIDR blocks of reverse proxies of one's own. What these say in X-Forwarded-For is believed, from the right up to the first that is
 * none of them; what anybody else says is not.
 */
export function clientAddress(proxies: readonly string[]): ClientAddress {
  const trusted = new BlockList();
  for (const text of proxies) {
    const block = parseCidr(text);
    if (block === undefined) throw new Error(`${text} is no address or CIDR block`);
    const v4 = isIPv4(block.ip) && block.bits >= 96;
    trusted.addSubnet(formatIP(block.ip), v4 ? block.bits - 96 : block.bits, v4 ? 'ipv4' : 'ipv6');
  }
  const isTrusted = (address: string): boolean => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return (remote, forwarded) => {
    if (remote === undefined || proxies.length === 0) return remote;
    let from = remote;
    const hops = (forwarded ?? '').split(',').map((hop) => hop.trim());
    while (isIP(from) !== 0 && isTrusted(from)) {
      const before = hops.pop();
      if (before === undefined || isIP(before) === 0) break;
      from = before;
    }
    return from;
  };
}

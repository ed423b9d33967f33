import { Namespace } from './namespace.ts';
import { endAll, Process, run } from './process.ts';
import { removeStale } from './stale.ts';

/**
 * The private network of one test file. Every link ends in a namespace, so the host's own network is not touched.
 *
 *   client1 ── nat ──┐
 *   client2 ─────────┤
 *   agentA  ─────────┼── bridge (in a namespace of its own), 10.77.0.0/24, fd77::/64
 *   agentB  ─────────┤
 *   pbx1    ─────────┤
 *   pbx2    ─────────┘
 */
export interface Topology {
  client1: Namespace;
  client2: Namespace;
  nat: Namespace;
  agentA: Namespace;
  agentB: Namespace;
  pbx1: Namespace;
  pbx2: Namespace;
  /** Every namespace, by the names above. */
  all: Namespace[];
  /** The service's own address, on no machine until {@link Topology.moveVip}. */
  vip: { ipv4: string; ipv6: string };
  moveVip(to: Namespace): Promise<void>;
  remove(): Promise<void>;
}

const HOSTS = { nat: 1, client2: 12, agentA: 21, agentB: 22, pbx1: 31, pbx2: 32 } as const;
const VIP = { ipv4: '10.77.0.20', ipv6: 'fd77::20' };
/** Hex digits of the IPv6 host part read as the decimal of the IPv4 one, so that captures are easy to follow. */
const onSegment = (host: number) => ({ ipv4: `10.77.0.${host}`, ipv6: `fd77::${host}` });

/**
 * Every machine's default route leads to the bridge's own address, which forwards nothing: what is sent to an address behind
 * the NAT is lost on the way, as it is on the Internet, instead of failing at the sender.
 */
const INTERNET = ['address add 10.77.0.254/24 dev br0', 'address add fd77::254/64 dev br0 nodad'];
const defaultRoute = ['route add default via 10.77.0.254', 'route add ::/0 via fd77::254'];

const NAT_RULES = `table inet nat {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "eth0" masquerade
  }
}`;

let made = 0;

/** Feeds commands to one `ip -batch` process: a topology takes a fraction of a second instead of several. */
async function batch(commands: string[], namespace?: string): Promise<void> {
  const ip = new Process('ip', [...(namespace ? ['-n', namespace] : []), '-batch', '-']);
  ip.write(`${commands.join('\n')}\n`);
  ip.closeInput();
  await ip.succeeds();
}

/** Builds the network. Needs root. */
export async function createTopology(): Promise<Topology> {
  await removeStale();
  const prefix = `sfl-${process.pid}-${made++}`;
  const named = (name: string) => `${prefix}-${name}`;
  const bridge = named('bridge');
  const hosts = Object.entries(HOSTS).map(([name, host]) => {
    const { ipv4, ipv6 } = onSegment(host);
    return new Namespace(named(name), ipv4, ipv6);
  });
  const client1 = new Namespace(named('client1'), '192.168.77.11', 'fd78::11');
  const find = (name: string) => hosts.find((n) => n.name === named(name)) as Namespace;
  const all = [client1, ...hosts];
  const names = [bridge, ...all.map((n) => n.name)];
  const remove = () => removeAll(names);
  try {
    await batch(names.map((name) => `netns add ${name}`));
    await batch(['link add br0 type bridge', 'link set br0 up', ...loopback, ...INTERNET], bridge);
    await batch(
      hosts.map((n, i) => `link add p${i} mtu 1500 netns ${bridge} type veth peer name eth0 mtu 1500 netns ${n.name}`),
    );
    await batch([`link add eth0 netns ${client1.name} type veth peer name lan netns ${named('nat')}`]);
    await batch(
      hosts.flatMap((_, i) => [`link set p${i} master br0`, `link set p${i} up`]),
      bridge,
    );
    await Promise.all(hosts.map((n) => batch([...loopback, ...address(n, 'eth0'), ...defaultRoute], n.name)));
    await batch(
      [...loopback, ...address(client1, 'eth0'), 'route add default via 192.168.77.1', 'route add ::/0 via fd78::1'],
      client1.name,
    );
    await natRouter(find('nat'));
  } catch (error) {
    await remove();
    throw error;
  }
  const topology = Object.fromEntries(Object.keys(HOSTS).map((name) => [name, find(name)]));
  return {
    ...(topology as Record<keyof typeof HOSTS, Namespace>),
    client1,
    all,
    vip: VIP,
    moveVip: (to) => moveVip(hosts, to),
    remove,
  };
}

const loopback = ['link set lo up'];

const address = (n: Namespace, device: string) => [
  `address add ${n.ipv4}/24 dev ${device}`,
  // nodad: a tentative address cannot be bound for a second or two.
  `address add ${n.ipv6}/64 dev ${device} nodad`,
  `link set ${device} up`,
];

async function natRouter(nat: Namespace): Promise<void> {
  await batch(
    [`address add 192.168.77.1/24 dev lan`, `address add fd78::1/64 dev lan nodad`, `link set lan up`],
    nat.name,
  );
  // The settings of the namespace that the shell runs in.
  await nat.run('bash', ['-c', 'echo 1 | tee /proc/sys/net/ipv4/ip_forward > /proc/sys/net/ipv6/conf/all/forwarding']);
  const nft = nat.spawn('nft', ['-f', '-']);
  nft.write(NAT_RULES);
  nft.closeInput();
  await nft.succeeds();
}

/** Takes the address off whoever has it, gives it to `to`, and makes the neighbours ask again who has it. */
async function moveVip(hosts: Namespace[], to: Namespace): Promise<void> {
  for (const host of hosts) {
    const held = await host.ip('-o', 'address', 'show', 'dev', 'eth0');
    if (held.includes(` ${VIP.ipv4}/`)) await host.ip('address', 'del', `${VIP.ipv4}/24`, 'dev', 'eth0');
    if (held.includes(` ${VIP.ipv6}/`)) await host.ip('address', 'del', `${VIP.ipv6}/64`, 'dev', 'eth0');
  }
  await to.ip('address', 'add', `${VIP.ipv4}/24`, 'dev', 'eth0');
  await to.ip('address', 'add', `${VIP.ipv6}/64`, 'dev', 'eth0', 'nodad');
  // Stands for the gratuitous ARP and unsolicited NA that keepalived sends.
  await Promise.all(hosts.filter((n) => n !== to).map((n) => n.ip('neighbour', 'flush', 'dev', 'eth0')));
}

/** Ends what runs inside and removes the namespaces; a link goes with its namespace. */
async function removeAll(names: string[]): Promise<void> {
  // Not those of another network, whose test may run beside this one.
  await endAll(({ command }) => names.some((name) => command.includes(` ${name} `)));
  for (const name of names) {
    await new Namespace(name, '', '').kill().catch(() => {});
    await run('ip', ['netns', 'del', name]).catch(() => {});
  }
}

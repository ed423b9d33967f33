import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A program that tests talk to, by the Debian package that brings it. */
interface Peer {
  package: string;
  /** Present if this command is found, or this file exists. */
  proof: string;
}

/** Everything that tests use and npm does not bring. */
export const PEERS: readonly Peer[] = [
  { package: 'iproute2', proof: 'ip' },
  { package: 'nftables', proof: 'nft' },
  { package: 'kamailio', proof: 'kamailio' },
  // Debian's other architectures keep the module under names of their own.
  {
    package: 'kamailio-tls-modules',
    proof: `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/kamailio/modules/tls.so`,
  },
  { package: 'sip-tester', proof: 'sipp' },
  { package: 'sipsak', proof: 'sipsak' },
  { package: 'baresip-core', proof: 'baresip' },
  { package: 'libnet-sip-perl', proof: '/usr/share/perl5/Net/SIP.pm' },
  { package: 'tshark', proof: 'tshark' },
  // With promtool.
  { package: 'prometheus', proof: 'promtool' },
  // Amazon's DynamoDB Local is a Java program.
  { package: 'default-jre-headless', proof: 'java' },
];

/** Debian puts servers where an ordinary user's PATH does not look. */
const PATH = `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;

function present(peer: Peer): boolean {
  if (peer.proof.startsWith('/')) return existsSync(peer.proof);
  return PATH.split(delimiter).some((directory) => directory !== '' && existsSync(join(directory, peer.proof)));
}

/** Packages that are not here. */
export const missingPeers = (): string[] => PEERS.filter((peer) => !present(peer)).map((peer) => peer.package);

export const isRoot = process.platform === 'linux' && process.getuid?.() === 0;

/** Tests that build networks of real peers can run. */
export const canUseNamespaces = (): boolean => isRoot && missingPeers().length === 0;

function isDebian(): boolean {
  try {
    return /^ID(_LIKE)?=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return false;
  }
}

function apt(...args: string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', args, { env, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}

const POLICY = '/usr/sbin/policy-rc.d';

/** Debian's packages start the servers they bring; 101 from this file forbids it (invoke-rc.d(8)). Leaves an existing policy alone. */
function withoutStartingServices<T>(install: () => T): T {
  if (existsSync(POLICY)) return install();
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(POLICY, { force: true });
  }
}

/** Installs what is missing where that is possible. Returns why it is not, or undefined when everything is here. */
export function installPeers(): string | undefined {
  const missing = missingPeers();
  if (missing.length === 0) return undefined;
  const names = missing.join(', ');
  if (!isRoot || !isDebian()) return `missing and only installed as root on Debian: ${names}`;
  console.log(`Installing test peers: ${names}`);
  const install = () => withoutStartingServices(() => apt('install', '-y', '--no-install-recommends', ...missing));
  // The package lists of a fresh machine are absent or old.
  if (!install() && !(apt('update') && install())) return `apt-get could not install ${names}`;
  const still = missingPeers();
  return still.length === 0 ? undefined : `still missing after their installation: ${still.join(', ')}`;
}

import type { BackendPlan } from '../plan.ts';
import type { Endpoint } from '../ports.ts';
import { wordsOf } from '../sip/host.ts';

/** Where packets come from, for the question "is this one of our PBXs?". Asked of every request. */
export class Sources {
  /** Exact addresses, by the last address word: almost all farms have nothing else. */
  readonly #exact = new Map<number, Rule[]>();
  readonly #blocks: Rule[] = [];

  constructor(backends: readonly BackendPlan[]) {
    for (const [backend, b] of backends.entries())
      for (const { ip, bits } of b.sources) {
        const rule: Rule = { backend, ip, bits, port: 0, backendPort: b.port };
        // One loopback address is shared by PBXs and phones of the same host: there the port must agree as well.
        if (bits === 128 && isLoopback(ip)) rule.port = b.port;
        if (bits === 128) this.#exact.set(ip[3], [...(this.#exact.get(ip[3]) ?? []), rule]);
        else this.#blocks.push(rule);
      }
  }

  /** Index of the backend that sends from here, -1 for anybody else. */
  find(from: Endpoint): number {
    const exact = this.#exact.get(from.ip3);
    let found = -1;
    if (exact !== undefined)
      for (let i = 0; i < exact.length; i++) {
        const rule = exact[i]!;
        if (!matches(rule, from)) continue;
        // Several PBXs on one host are told apart by the port that they send from, where it is theirs.
        if (rule.backendPort === from.port) return rule.backend;
        if (found < 0) found = rule.backend;
      }
    if (found >= 0) return found;
    for (let i = 0; i < this.#blocks.length; i++) if (matches(this.#blocks[i]!, from)) return this.#blocks[i]!.backend;
    return -1;
  }
}

interface Rule {
  backend: number;
  ip: readonly [number, number, number, number];
  bits: number;
  /** 0: any. */
  port: number;
  backendPort: number;
}

function matches(rule: Rule, from: Endpoint): boolean {
  if (rule.port !== 0 && rule.port !== from.port) return false;
  const { ip, bits } = rule;
  if (bits === 128) return ip[3] === from.ip3 && ip[2] === from.ip2 && ip[1] === from.ip1 && ip[0] === from.ip0;
  return (
    sameBits(ip[0], from.ip0, bits) &&
    sameBits(ip[1], from.ip1, bits - 32) &&
    sameBits(ip[2], from.ip2, bits - 64) &&
    sameBits(ip[3], from.ip3, bits - 96)
  );
}

function sameBits(a: number, b: number, bits: number): boolean {
  if (bits <= 0) return true;
  return bits >= 32 ? a === b : (a ^ b) >>> (32 - bits) === 0;
}

const LOOPBACK6 = wordsOf('::1')!;
/** 127.0.0.0/8 or ::1. */
function isLoopback(ip: readonly number[]): boolean {
  if (ip[0] === 0 && ip[1] === 0 && ip[2] === 0xffff) return ip[3]! >>> 24 === 127;
  return ip.every((word, i) => word === LOOPBACK6[i]);
}

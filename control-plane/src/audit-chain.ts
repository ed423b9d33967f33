import { createHash } from 'node:crypto';
import { canonicalJson, type Kind } from '@sipfleet/contract';

/** What one entry of the audit log did to one resource. */
export interface AuditChange {
  readonly action: 'create' | 'update' | 'delete';
  readonly kind: Kind;
  readonly name: string;
  /** The revision that the resource had before; null: it did not exist. */
  readonly from: number | null;
  /** SHA-256 of the canonical JSON of what was stored (of a Secret: of its view); null where it was deleted. */
  readonly sha256: string | null;
}

/** Something that was done, before it has its place in the log. */
export interface AuditEvent {
  /** Random: by it a writer that got no answer finds its entry again. */
  readonly id: string;
  /** RFC 3339. */
  readonly at: string;
  /** The name of the API token or agent behind it. */
  readonly actor: string;
  /** What it came through: the program, as it named itself. */
  readonly source: string;
  /** `change` of resources, else a word with a dot: `agent.revoke`. */
  readonly action: string;
  /** The revision that a change made; null where it made none. */
  readonly revision: number | null;
  readonly changes: readonly AuditChange[];
  /** What an action other than `change` was about. No secrets. */
  readonly details: Readonly<Record<string, string>>;
}

/** One entry of the log. `hash` covers everything else in it, and so, through `previous`, every entry before. */
export interface AuditEntry extends AuditEvent {
  /** 1, 2, 3, …: without gap. */
  readonly sequence: number;
  /** The hash of the entry before; {@link GENESIS} in the first. */
  readonly previous: string;
  readonly hash: string;
}

/** The last entry of a log; sequence 0 and {@link GENESIS} while it is empty. */
export interface AuditHead {
  readonly sequence: number;
  readonly hash: string;
}

/** What stands before the first entry. */
export const GENESIS = '0'.repeat(64);
export const EMPTY_LOG: AuditHead = { sequence: 0, hash: GENESIS };

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

function hashOf({ hash: _, ...rest }: AuditEntry): string {
  return sha256(canonicalJson(rest));
}

/** The event as the entry after `head`. */
export function chained(head: AuditHead, event: AuditEvent): AuditEntry {
  const entry = { ...event, sequence: head.sequence + 1, previous: head.hash, hash: '' };
  return { ...entry, hash: hashOf(entry) };
}

/** Where a log was tampered with. `sequence`: the entry at which it shows. */
export interface AuditFault {
  readonly sequence: number;
  readonly message: string;
}

/** Takes the entries of a log one after the other, oldest first, and says what is wrong with them. */
export interface ChainVerifier {
  take(entry: AuditEntry): void;
  /** @param head what the store holds for the last entry: tells an end that was cut off */
  end(head: AuditHead): { entries: number; head: AuditHead; faults: AuditFault[] };
}

/**
 * Verifies a log whose entries before `from` are known to be right. Who can write to the store can also make the whole chain anew from
 * where they changed it: against that helps only a head that was written down elsewhere, which `expected` is.
 */
export function verifyChain(from: AuditHead = EMPTY_LOG, expected?: AuditHead): ChainVerifier {
  let last = from;
  let entries = 0;
  const faults: AuditFault[] = [];
  const fault = (sequence: number, message: string) => faults.push({ sequence, message });
  return {
    take(entry) {
      entries++;
      const next = last.sequence + 1;
      if (entry.sequence > next) fault(next, `missing: entry ${entry.sequence} follows entry ${last.sequence}`);
      else if (entry.sequence < next) fault(entry.sequence, `out of order: it follows entry ${last.sequence}`);
      else if (entry.previous !== last.hash)
        fault(entry.sequence, 'it does not follow from the entry before: one of the two was replaced');
      if (hashOf(entry) !== entry.hash) fault(entry.sequence, 'changed: its content does not have its hash');
      if (entry.sequence === expected?.sequence && entry.hash !== expected.hash)
        fault(entry.sequence, 'it has another hash than expected: the log was made anew');
      last = { sequence: entry.sequence, hash: entry.hash };
    },
    end(head) {
      if (head.sequence > last.sequence)
        fault(last.sequence + 1, `missing: the log should end with entry ${head.sequence}`);
      else if (head.sequence < last.sequence || head.hash !== last.hash)
        fault(last.sequence, `the store says that the log ends with entry ${head.sequence} and hash ${head.hash}`);
      if (expected !== undefined && expected.sequence > last.sequence)
        fault(expected.sequence, 'missing: it is expected and not there');
      return { entries, head: last, faults };
    },
  };
}

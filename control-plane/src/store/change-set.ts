import { canonicalJson, type Kind } from '@sipfleet/contract';
import { type AuditChange, type AuditEvent, sha256 } from '../audit-chain.ts';
import { publicSpec } from '../domain/secrets.ts';
import type { ChangeSet, ResourceVersion, ResourceWrite } from './store.ts';

/** What both stores make of a change set, alike. */

export const targetOf = (write: ResourceWrite): { kind: Kind; name: string } =>
  write.action === 'put' ? write.spec : write;

export function actionOf(write: ResourceWrite): AuditChange['action'] {
  if (write.action === 'delete') return 'delete';
  return write.expected === null ? 'create' : 'update';
}

/** The entry of the audit log that a change set is stored with. */
export function eventOf(set: ChangeSet): AuditEvent {
  const { id, at, actor, source } = set;
  const changes = set.writes.map((write): AuditChange => {
    const { kind, name } = targetOf(write);
    const content = write.action === 'put' ? sha256(canonicalJson(publicSpec(write.spec))) : null;
    return { action: actionOf(write), kind, name, from: write.expected, sha256: content };
  });
  return { id, at, actor, source, action: 'change', revision: set.base + 1, changes, details: detailsOf(set) };
}

/** What history keeps of one write. */
export function versionOf(set: ChangeSet, write: ResourceWrite): ResourceVersion {
  const spec = write.action === 'put' ? publicSpec(write.spec) : null;
  return { revision: set.base + 1, at: set.at, actor: set.actor, action: actionOf(write), spec };
}

/** Of a rollout: which one, and what was said of this step. */
function detailsOf({ rollout }: ChangeSet): AuditEvent['details'] {
  if (rollout === undefined) return {};
  const { number, state, events } = rollout;
  return { rollout: String(number), state, event: events.at(-1)?.text ?? '' };
}

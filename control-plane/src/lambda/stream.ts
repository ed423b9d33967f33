import type { Change, Publisher } from '../push/publisher.ts';
import type { Log } from '../routes/deps.ts';

/** What is used of the event of a DynamoDB stream (view type NEW_IMAGE or NEW_AND_OLD_IMAGES). */
export interface StreamEvent {
  Records: readonly StreamRecord[];
}
export interface StreamRecord {
  eventName?: string | undefined;
  dynamodb?:
    | {
        Keys?: Record<string, { S?: string | undefined }> | undefined;
        NewImage?: Record<string, { S?: string | undefined; N?: string | undefined }> | undefined;
        SequenceNumber?: string | undefined;
      }
    | undefined;
}

/** Where a batch failed: Lambda delivers it again from there on (`ReportBatchItemFailures`). */
export interface StreamResult {
  batchItemFailures: { itemIdentifier: string }[];
}

/**
 * Sends the hints of what was committed: every item that appears in OUTBOX. In order, so it stops at the first that fails; those before it
 * are done. A record may come twice, or late: a hint says only that there may be something new.
 */
export function createStreamHandler({ publisher, log }: { publisher: Pick<Publisher, 'publish'>; log: Log }) {
  return async ({ Records }: StreamEvent): Promise<StreamResult> => {
    for (const record of Records) {
      const change = changeOf(record);
      if (change === undefined) continue;
      try {
        await publisher.publish(change);
      } catch (error) {
        log.error({ err: error, revision: change.revision }, 'hints are not out: the batch is tried again from here');
        return { batchItemFailures: [{ itemIdentifier: record.dynamodb?.SequenceNumber ?? '' }] };
      }
    }
    return { batchItemFailures: [] };
  };
}

/** Undefined: it is not a new entry of the outbox. */
function changeOf({ eventName, dynamodb }: StreamRecord): Change | undefined {
  if (eventName !== 'INSERT' || dynamodb?.Keys?.pk?.S !== 'OUTBOX') return undefined;
  const { revision, affects } = dynamodb.NewImage ?? {};
  return { revision: Number(revision?.N), affects: JSON.parse(affects?.S ?? '[]') as string[] };
}

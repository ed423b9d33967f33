import type { Readable } from 'node:stream';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';

/** What may become of one request to DynamoDB. `lost`: it is done, and its answer never comes. */
export type Fate = 'answered' | 'lost' | 'unsent' | 'throttled' | 'failed';

const ERRORS: Record<Exclude<Fate, 'answered'>, () => Error> = {
  lost: () => Object.assign(new Error('the answer timed out'), { name: 'TimeoutError' }),
  unsent: () => Object.assign(new Error('the connection was reset'), { code: 'ECONNRESET' }),
  throttled: () =>
    Object.assign(new Error('too many requests'), {
      name: 'ThrottlingException',
      $fault: 'client',
      $metadata: { httpStatusCode: 400 },
      $retryable: { throttling: true },
    }),
  failed: () =>
    Object.assign(new Error('internal'), {
      name: 'InternalServerError',
      $fault: 'server',
      $metadata: { httpStatusCode: 500 },
    }),
};

/**
 * Lets every request to a real server end as `fateOf` says; the SDK sees what it would see, and tries again as it does.
 *
 * @param fateOf asked before each sending, also before each of the SDK's own repetitions; `command` as `TransactWriteItems`,
 *   `request` the same object at each repetition
 */
export function withFates(client: DynamoDBClient, fateOf: (command: string, request: object) => Fate): DynamoDBClient {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const fate = fateOf(String(context.commandName).replace(/Command$/, ''), args.input);
      if (fate === 'answered') return next(args);
      // Read to its end, or the connection stays taken.
      if (fate === 'lost') ((await next(args)).response as { body?: Readable }).body?.resume();
      throw ERRORS[fate]();
    },
    { step: 'deserialize', priority: 'low', name: 'fates' },
  );
  return client;
}

/** Every fault again and again, at intervals without a common divisor; none twice for one request, so that the SDK does not give up. */
export function everySoOften(): (command: string, request: object) => Fate {
  let sent = 0;
  const struck = new WeakSet<object>();
  return (_command, request) => {
    sent++;
    if (struck.has(request)) return 'answered';
    const fate = FATES.find(([interval]) => sent % interval === 0)?.[1] ?? 'answered';
    if (fate !== 'answered') struck.add(request);
    return fate;
  };
}

const FATES: readonly [interval: number, fate: Fate][] = [
  [7, 'lost'],
  [17, 'unsent'],
  [29, 'failed'],
  [211, 'throttled'],
];

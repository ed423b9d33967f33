import type { LambdaEvent } from 'hono/aws-lambda';
import type { WebSocketEvent } from './websocket.ts';

/** A request as an HTTP API sends it to Lambda, payload format 2.0: header names are lower case, a body may be base64. */
export function httpEvent(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: unknown; query?: string; base64?: boolean } = {},
): LambdaEvent {
  const { headers = {}, body, query = '', base64 = false } = options;
  const text = body === undefined ? undefined : JSON.stringify(body);
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query,
    headers: {
      accept: '*/*',
      'content-length': String(text?.length ?? 0),
      ...(text === undefined ? {} : { 'content-type': 'application/json' }),
      host: 'abcdef1234.execute-api.eu-south-1.amazonaws.com',
      'user-agent': 'node',
      'x-amzn-trace-id': 'Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e',
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-port': '443',
      'x-forwarded-proto': 'https',
      ...headers,
    },
    requestContext: {
      accountId: '123456789012',
      apiId: 'abcdef1234',
      authentication: null,
      authorizer: {},
      domainName: 'abcdef1234.execute-api.eu-south-1.amazonaws.com',
      domainPrefix: 'abcdef1234',
      http: { method, path, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'node' },
      requestId: 'JKJaXmPLvHcESHA=',
      routeKey: '$default',
      stage: '$default',
      time: '10/Mar/2026:05:16:23 +0000',
      timeEpoch: 1773119783000,
    },
    ...(text === undefined ? {} : { body: base64 ? Buffer.from(text).toString('base64') : text }),
    isBase64Encoded: base64,
  } as unknown as LambdaEvent;
}

/** What a WebSocket API sends to Lambda for one of its three routes. */
export function webSocketEvent(
  routeKey: '$connect' | '$disconnect' | '$default',
  connectionId: string,
  headers?: Record<string, string>,
): WebSocketEvent {
  const EVENT_TYPES = { $connect: 'CONNECT', $disconnect: 'DISCONNECT', $default: 'MESSAGE' };
  const event = {
    ...(headers === undefined
      ? {}
      : {
          headers: { Host: 'wxyz.execute-api.eu-south-1.amazonaws.com', 'Sec-WebSocket-Version': '13', ...headers },
          multiValueHeaders: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
        }),
    requestContext: {
      routeKey,
      eventType: EVENT_TYPES[routeKey],
      extendedRequestId: 'XfGLwFTktjMFsLg=',
      requestTime: '13/Mar/2026:10:17:47 +0000',
      messageDirection: 'IN',
      stage: 'push',
      connectedAt: 1773396667185,
      requestTimeEpoch: 1773396667186,
      identity: { sourceIp: '203.0.113.7' },
      requestId: 'XfGLwFTktjMFsLg=',
      domainName: 'wxyz.execute-api.eu-south-1.amazonaws.com',
      connectionId,
      apiId: 'wxyz',
      ...(routeKey === '$disconnect' ? { disconnectStatusCode: 1006, disconnectReason: '' } : {}),
    },
    ...(routeKey === '$default' ? { body: 'hello' } : {}),
    isBase64Encoded: false,
  };
  return event;
}

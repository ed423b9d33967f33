import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ApiGatewayManagementApiClient } from '@aws-sdk/client-apigatewaymanagementapi';
import { afterEach, expect, test } from 'vitest';
import { GoneError } from '../push/fan-out.ts';
import { gatewayOf } from './gateway.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** The real client against a server that answers as API Gateway does. */
async function gateway(status: number, errorType?: string) {
  const seen: { method?: string | undefined; url?: string | undefined; body: string }[] = [];
  const server = createServer(async (req: IncomingMessage, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    seen.push({ method: req.method, url: req.url, body });
    res.writeHead(status, errorType ? { 'x-amzn-errortype': errorType } : {}).end(errorType ? '{"message":null}' : '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new ApiGatewayManagementApiClient({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/push`,
    region: 'eu-south-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
  });
  closers.push(() => {
    client.destroy();
    server.closeAllConnections();
    server.close();
  });
  return { gateway: gatewayOf(client), seen };
}

test('a post and a close are what API Gateway understands', async () => {
  const { gateway: api, seen } = await gateway(200);
  await api.post('L0SM9cOFvHcCIhw=', '{"type":"snapshot"}');
  await api.close('L0SM9cOFvHcCIhw=');
  const url = '/push/@connections/L0SM9cOFvHcCIhw%3D';
  expect(seen).toEqual([
    {
      method: 'POST',
      url: expect.stringMatching(/^\/push\/(@|%40)connections\/L0SM9cOFvHcCIhw%3D$/),
      body: '{"type":"snapshot"}',
    },
    { method: 'DELETE', url: expect.stringContaining(url.slice(-19)), body: '' },
  ]);
});

test('410 is gone; what is throttled is an error to try again, once per call', async () => {
  const gone = await gateway(410, 'GoneException');
  await expect(gone.gateway.post('a', 'x')).rejects.toBeInstanceOf(GoneError);
  await expect(gone.gateway.close('a')).resolves.toBeUndefined();
  const busy = await gateway(429, 'LimitExceededException');
  await expect(busy.gateway.post('a', 'x')).rejects.toMatchObject({ name: 'LimitExceededException' });
  expect(busy.seen).toHaveLength(1);
});

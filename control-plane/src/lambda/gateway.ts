import {
  ApiGatewayManagementApiClient,
  DeleteConnectionCommand,
  GoneException,
  PostToConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi';
import { type Gateway, GoneError } from '../push/fan-out.ts';

/** @param endpoint `https://API.execute-api.REGION.amazonaws.com/STAGE`: where a WebSocket API takes what is to be sent */
export function apiGateway(endpoint: string): Gateway {
  // Tries again are the fan-out's: with the SDK's they would multiply.
  return gatewayOf(new ApiGatewayManagementApiClient({ endpoint, maxAttempts: 1 }));
}

export function gatewayOf(client: Pick<ApiGatewayManagementApiClient, 'send'>): Gateway {
  return {
    async post(ConnectionId, text) {
      try {
        await client.send(new PostToConnectionCommand({ ConnectionId, Data: text }));
      } catch (error) {
        if (error instanceof GoneException) throw new GoneError(`connection ${ConnectionId} is gone`, { cause: error });
        throw error;
      }
    },
    async close(ConnectionId) {
      try {
        await client.send(new DeleteConnectionCommand({ ConnectionId }));
      } catch (error) {
        if (!(error instanceof GoneException)) throw error;
      }
    },
  };
}

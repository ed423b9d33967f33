import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Peer } from '../../edge-agent/src/sip/text-message.ts';

/** How a phone's messages travel. Requests go to the outbound proxy, responses over UDP where their Via says. */
export interface PhoneTransport {
  readonly local: Peer;
  onMessage: (bytes: Uint8Array) => void;
  send(bytes: Uint8Array, to?: Peer): void;
  close(): Promise<void>;
}

/** The local address towards `proxy` is the kernel's choice: found by connecting a socket that sends nothing. */
async function localAddressTowards(proxy: Peer, family: 'udp4' | 'udp6'): Promise<string> {
  const probe = createSocket(family);
  probe.connect(proxy.port, proxy.host);
  await once(probe, 'connect');
  const { address } = probe.address();
  probe.close();
  return address;
}

export async function openUdp(proxy: Peer): Promise<PhoneTransport> {
  const family = proxy.host.includes(':') ? 'udp6' : 'udp4';
  const host = await localAddressTowards(proxy, family);
  const socket = createSocket(family);
  socket.bind(0, host);
  await once(socket, 'listening');
  socket.on('error', () => {});
  socket.on('message', (bytes) => transport.onMessage(bytes));
  let open = true;
  const transport: PhoneTransport = {
    local: { host, port: socket.address().port },
    onMessage: () => {},
    send: (bytes, to = proxy) => {
      if (open) socket.send(bytes, to.port, to.host);
    },
    async close() {
      if (!open) return;
      open = false;
      socket.close();
      await once(socket, 'close');
    },
  };
  return transport;
}

export async function connectTcp(proxy: Peer): Promise<PhoneTransport> {
  const socket = connect(proxy.port, proxy.host);
  await once(socket, 'connect');
  let pending = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    for (let end = messageEnd(pending); end > 0; end = messageEnd(pending)) {
      const message = pending.subarray(0, end);
      pending = pending.subarray(end);
      transport.onMessage(message);
    }
  });
  const transport: PhoneTransport = {
    local: { host: socket.localAddress ?? '', port: socket.localPort ?? 0 },
    onMessage: () => {},
    send: (bytes) => {
      if (!socket.destroyed) socket.write(bytes);
    },
    async close() {
      if (socket.destroyed) return;
      socket.destroy();
      await once(socket, 'close');
    },
  };
  return transport;
}

/** Where the first whole message ends (RFC 3261 §18.3); 0 where it is not all there. */
function messageEnd(bytes: Buffer): number {
  const head = bytes.indexOf('\r\n\r\n');
  if (head < 0) return 0;
  const length = /^(?:content-length|l)\s*:\s*(\d+)/im.exec(bytes.toString('latin1', 0, head))?.[1];
  const end = head + 4 + Number(length ?? 0);
  return end <= bytes.length ? end : 0;
}

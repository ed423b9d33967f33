import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type Endpoint, type MessageHandler, type Segments, TRANSPORT, type TransportCode } from '../ports.ts';
import { createCounts } from './counts.ts';
import { copyEndpoint, createEndpoint, setAddress } from './endpoint.ts';
import { createStreamTransport, type StreamTransportOptions } from './streams.ts';

/** What tests of stream transports share: a transport that keeps what it receives, and remote ends that can be waited on. */

export const request = (id: number | string, body = ''): string =>
  `OPTIONS sip:${id} SIP/2.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

export const whole = (text: string | Uint8Array): Segments => {
  const bytes = Buffer.from(text as string);
  return { count: 1, bytes: [bytes], start: Int32Array.of(0), end: Int32Array.of(bytes.length), length: bytes.length };
};

export const endpoint = (address: string, port: number, transport: TransportCode = TRANSPORT.tcp): Endpoint => {
  const e = createEndpoint(transport);
  setAddress(e, address);
  e.port = port;
  return e;
};

/** Resolves as soon as `met()`, looked at whenever something happened. */
export function condition() {
  let wake: (() => void)[] = [];
  return {
    changed() {
      for (const w of wake.splice(0)) w();
    },
    async until(met: () => boolean) {
      while (!met())
        await new Promise<void>((resolve) => {
          wake = [...wake, resolve];
        });
    },
  };
}

/** Resolves when `met()`, looked at in every turn of the event loop: for what our side learns after the remote end did. */
export async function turnsUntil(met: () => boolean): Promise<void> {
  while (!met()) await new Promise((resolve) => setImmediate(resolve));
}

const closers: (() => unknown)[] = [];
/** Runs `close` when the test ends, the last one first. */
export const atEnd = (close: () => unknown): void => void closers.push(close);
/** For `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
}
/** Closes what was given to {@link atEnd} last. */
export const closeLast = async (): Promise<void> => void (await closers.pop()?.());

export function create(options: Partial<StreamTransportOptions> = {}) {
  const got: { text: string; from: Endpoint; listener: number }[] = [];
  const closed: number[] = [];
  const unreachable: { to: Endpoint; listener: number; refused: boolean }[] = [];
  const { changed, until } = condition();
  const keep: MessageHandler = (bytes, start, end, from, listener) => {
    const text = Buffer.from(bytes.subarray(start, end)).toString('latin1');
    got.push({ text, from: copyEndpoint(createEndpoint(TRANSPORT.udp), from), listener });
  };
  const counts = createCounts();
  const streams = createStreamTransport({
    ...options,
    counts,
    handler: (...message) => {
      (options.handler ?? keep)(...message);
      changed();
    },
    onClosed: (connection) => {
      closed.push(connection);
      changed();
    },
    onUnreachable: (to, listener, refused) => {
      unreachable.push({ to: copyEndpoint(createEndpoint(TRANSPORT.udp), to), listener, refused });
      changed();
    },
  });
  atEnd(() => streams.close());
  return { streams, counts, got, closed, unreachable, until };
}

/** A remote end: what it received as text, and when it was closed. */
export function watch<T extends Socket>(socket: T) {
  const { changed, until } = condition();
  let text = '';
  let ended = false;
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    changed();
  });
  socket.on('close', () => {
    ended = true;
    changed();
  });
  atEnd(() => socket.destroy());
  return {
    socket,
    port: socket.localPort as number,
    text: () => text,
    received: (wanted: string) => until(() => text.includes(wanted)),
    closed: () => until(() => ended),
  };
}
export type Watched<T extends Socket = Socket> = ReturnType<typeof watch<T>>;

export async function dial(port: number, host = '127.0.0.1'): Promise<Watched> {
  const socket = connect({ port, host });
  await once(socket, 'connect');
  return watch(socket);
}

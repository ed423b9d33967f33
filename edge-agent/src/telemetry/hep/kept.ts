import { endOf, type KeptCall } from '../recorder/kept-call.ts';
import type { HepEncoder } from './packet.ts';

/** A kept call as HEP packets, one after the other as they would go over TCP: to be played into a HEP server. What is too long for HEP is left out. */
export function hep(call: KeptCall, encoder: HepEncoder): Buffer {
  const packets = call.messages.flatMap(({ at, sent, transport, local, remote, bytes }) => {
    const [from, to] = (sent ? [local, remote] : [remote, local]).map(endOf) as [
      ReturnType<typeof endOf>,
      ReturnType<typeof endOf>,
    ];
    return (
      encoder.encode({ at, protocol: transport === 'udp' ? 17 : 6, from, to, callId: call.callId, payload: bytes }) ??
      []
    );
  });
  return Buffer.concat(packets);
}

import { endOf, type KeptCall, type KeptMessage } from './kept-call.ts';

/** Packets that begin with their IP header. */
const LINKTYPE_RAW = 101;
const UDP = 17;
const UDP_HEADER = 8;
/** What fits into the 16-bit length of a UDP datagram over IPv4. */
const LONGEST = 65_535 - 20 - UDP_HEADER;

/**
 * A call as a capture file (libpcap, microseconds) for Wireshark. Every message is one UDP datagram, also what came over TCP, TLS or WebSocket, where
 * it stands as it was in the clear: the frames on the wire are not known any more.
 */
export function pcap(call: KeptCall): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(0x40000, 16);
  header.writeUInt32LE(LINKTYPE_RAW, 20);
  return Buffer.concat([header, ...call.messages.map(packet)]);
}

function packet(message: KeptMessage): Buffer {
  const [from, to] = message.sent ? [message.local, message.remote] : [message.remote, message.local];
  const datagram = ipPacket(packetEnd(from), packetEnd(to), message.bytes.subarray(0, LONGEST));
  const record = Buffer.alloc(16);
  const micros = Math.round(message.at * 1000);
  record.writeUInt32LE(Math.floor(micros / 1e6), 0);
  record.writeUInt32LE(micros % 1e6, 4);
  record.writeUInt32LE(datagram.length, 8);
  record.writeUInt32LE(datagram.length, 12);
  return Buffer.concat([record, datagram]);
}

interface End {
  address: Buffer;
  port: number;
  v4: boolean;
}

function packetEnd(text: string): End {
  const { words, port } = endOf(text);
  const bytes = Buffer.alloc(16);
  for (const [i, word] of words.entries()) bytes.writeUInt32BE(word, i * 4);

  const v4 = words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
  return { address: v4 ? bytes.subarray(12) : bytes, port, v4 };
}

function ipPacket(from: End, to: End, payload: Buffer): Buffer {
  const udp = Buffer.alloc(UDP_HEADER);
  udp.writeUInt16BE(from.port, 0);
  udp.writeUInt16BE(to.port, 2);
  udp.writeUInt16BE(UDP_HEADER + payload.length, 4);
  if (from.v4 && to.v4) {
    // RFC 768: a checksum of 0 says that there is none.
    return Buffer.concat([ipv4(from, to, UDP_HEADER + payload.length), udp, payload]);
  }
  const ip = Buffer.alloc(40);
  ip[0] = 0x60;
  ip.writeUInt16BE(UDP_HEADER + payload.length, 4);
  ip[6] = UDP;
  ip[7] = 64;
  from.address.copy(ip, 8);
  to.address.copy(ip, 24);
  // RFC 8200 §8.1: not optional, over the pseudo-header too.
  const pseudo = Buffer.alloc(40);
  ip.copy(pseudo, 0, 8, 40);
  pseudo.writeUInt32BE(UDP_HEADER + payload.length, 32);
  pseudo[39] = UDP;
  udp.writeUInt16BE(checksum(Buffer.concat([pseudo, udp, payload])) || 0xffff, 6);
  return Buffer.concat([ip, udp, payload]);
}

function ipv4(from: End, to: End, length: number): Buffer {
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(20 + length, 2);
  ip[8] = 64;
  ip[9] = UDP;
  from.address.copy(ip, 12);
  to.address.copy(ip, 16);
  ip.writeUInt16BE(checksum(ip), 10);
  return ip;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  if (bytes.length % 2 === 1) sum += (bytes.at(-1) as number) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

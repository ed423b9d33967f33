import { type Codec, PCMA, PCMU } from './g711.ts';

/** Whether we may send, seen from us (RFC 3264 §5.1). */
export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

/** One end's audio, as its description tells the other end. */
export interface AudioDescription {
  /** Where the describing end wants audio; undefined where it wants none (port 0, or the old hold of c=0.0.0.0). */
  target?: { address: string; port: number };
  /** G.711 codecs in the order of preference. */
  codecs: Codec[];
  /** Seen from the describing end. */
  direction: Direction;
}

/** Descriptions longer than this are not read: nobody describes one audio stream in so many bytes. */
const MAX_BYTES = 16_384;
const MIRROR = { sendrecv: 'sendrecv', sendonly: 'recvonly', recvonly: 'sendonly', inactive: 'inactive' } as const;

/** The session and its one audio stream at `address:port`. `version` counts up with every change (RFC 3264 §8). */
export function describeAudio(own: {
  address: string;
  port: number;
  session: number;
  version: number;
  codecs: readonly Codec[];
  direction?: Direction;
}): string {
  const family = own.address.includes(':') ? 'IP6' : 'IP4';
  const names = { [PCMU]: 'PCMU', [PCMA]: 'PCMA' } as const;
  return [
    'v=0',
    `o=sipfleet ${own.session} ${own.version} IN ${family} ${own.address}`,
    's=check_sip',
    `c=IN ${family} ${own.address}`,
    't=0 0',
    `m=audio ${own.port} RTP/AVP ${own.codecs.join(' ')}`,
    ...own.codecs.map((codec) => `a=rtpmap:${codec} ${names[codec]}/8000`),
    'a=ptime:20',
    `a=${own.direction ?? 'sendrecv'}`,
    '',
  ].join('\r\n');
}

/**
 * The first audio stream of a description that is not refused; undefined where there is none that speaks plain RTP, or the
 * text is no description. Never throws: the text comes from the network. Lines that are odd, such as an empty `a=`, are
 * stepped over.
 */
export function parseAudio(text: string): AudioDescription | undefined {
  if (text.length > MAX_BYTES || !/^v=0\r?$/m.test(text)) return undefined;
  const [session = '', ...sections] = text.split(/\r?\n(?=m=)/);
  for (const section of sections) {
    const media = /^m=audio[ ](\d{1,5})(?:\/\d+)?[ ]RTP\/AVP[ ]([\d ]{1,200})(?:\r?\n|$)/.exec(section);
    if (!media) continue;
    const codecs = media[2]!.split(' ').map(Number).filter(isG711);
    const port = Number(media[1]);
    if (port === 0 || port > 65_535) continue;
    const address = connectionOf(section) ?? connectionOf(session);
    const held = address === undefined || address === '0.0.0.0' || address === '::';
    return {
      codecs,
      direction: directionOf(section) ?? directionOf(session) ?? 'sendrecv',
      ...(held ? {} : { target: { address, port } }),
    };
  }
  return undefined;
}

/** What the other end may do, given what this end said. */
export const mirror = (direction: Direction): Direction => MIRROR[direction];

const isG711 = (payloadType: number): payloadType is Codec => payloadType === PCMU || payloadType === PCMA;

const directionOf = (part: string): Direction | undefined =>
  /^a=(sendrecv|sendonly|recvonly|inactive)[ ]*\r?$/m.exec(part)?.[1] as Direction | undefined;

/** RFC 8866 §5.7; only a unicast literal can be sent to. */
const connectionOf = (part: string): string | undefined =>
  /^c=IN IP[46] ([0-9a-fA-F.:]{2,45})[ ]*\r?$/m.exec(part)?.[1];

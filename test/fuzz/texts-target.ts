import { parseRtp } from '../../edge-agent/src/media/rtp.ts';
import { parseAudio } from '../../edge-agent/src/media/sdp.ts';
import { endpoint } from '../../edge-agent/src/proxy/proxy.fixture.ts';
import { parseChallenges, parseCredentials } from '../../edge-agent/src/sip/digest.ts';
import { MAX_HEADERS } from '../../edge-agent/src/sip/message.ts';
import { parameter, responseTarget, SipMessage, splitList, uriOf } from '../../edge-agent/src/sip/text-message.ts';
import { readProxyHeader } from '../../edge-agent/src/transport/proxy-protocol.ts';
import { PROXY_HEADERS } from './messages.ts';
import { mutate } from './mutate.ts';
import { Finding, type Target } from './target.ts';

const latin1 = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

const RTP = '\x80\x00\x00\x01\0\0\0\xa0\0\0\0\x07' + '\xff'.repeat(160);

/** A message as the control thread reads it: written out again it is the same one. */
function checkText(message: string): void {
  const read = SipMessage.parse(latin1(message));
  if (read === undefined) return;
  for (const { value } of read.headers) {
    splitList(value);
    parameter(value, 'tag');
    uriOf(value);
    responseTarget(value);
    parseChallenges([value]);
    parseCredentials(value);
  }
  parseAudio(read.body);
  const { start, body } = read;
  const again = SipMessage.parse(read.toBytes());
  if (again === undefined && read.headers.length > MAX_HEADERS) return;
  if (again?.start !== start || again.body !== body) throw new Finding('written out again, it is another message');
  if (JSON.stringify(again.headers) !== JSON.stringify(read.headers))
    throw new Finding('written out again, its headers are others');
}

/** A header that is whole after n bytes is partial before, and never longer than what is there. */
function checkProxyHeader(text: string): void {
  const bytes = latin1(text);
  const read = (length: number) => readProxyHeader(bytes.subarray(0, length), endpoint('tcp 192.0.2.1:1'));
  const whole = read(bytes.length);
  if (whole > bytes.length) throw new Finding(`a header of ${whole} bytes in ${bytes.length}`);
  for (let length = 0; length < whole; length++)
    if (read(length) !== 0) throw new Finding(`${length} of ${whole} bytes of a header are not partial`);
}

/** The readers of the control thread and of streams' beginnings, which parse text from PBXs and from whoever connects. */
export function textsTarget(messages: readonly string[]): Target {
  const starts = [...PROXY_HEADERS, RTP];
  return {
    name: 'texts',
    input: (random) => ({ message: mutate(random, random.oneIn(4) ? starts : messages), choice: random.next() }),
    check({ message }) {
      checkText(message);
      checkProxyHeader(message.slice(0, 200));
      parseRtp(latin1(message));
      parseAudio(message);
    },
  };
}

import { expect, test } from 'vitest';
import { answerEcho } from './sdp.ts';

test('the echo answers the first audio stream and refuses the others', () => {
  const offer =
    'v=0\r\nc=IN IP4 1.2.3.4\r\nm=video 9 RTP/AVP 96\r\nm=audio 8 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\na=sendonly\r\n';
  const answer = answerEcho(offer, '127.0.0.1', 4000, 1);
  expect(answer?.split('\r\n').slice(5)).toEqual([
    'm=video 0 RTP/AVP 96',
    'm=audio 4000 RTP/AVP 8 0',
    'a=rtpmap:8 PCMA/8000',
    'a=recvonly',
    '',
  ]);
  expect(answerEcho('v=0\r\nm=audio 8 RTP/SAVPF 0\r\n', '127.0.0.1', 4000, 1)).toBeUndefined();
});

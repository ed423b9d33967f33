import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PCMA, PCMU } from './g711.ts';
import { describeAudio, mirror, parseAudio } from './sdp.ts';

const own = { address: '192.0.2.1', port: 4000, session: 5, version: 2, codecs: [PCMU, PCMA] as const };

test('what is described is read', () => {
  const text = describeAudio(own);
  expect(text).toContain('o=sipfleet 5 2 IN IP4 192.0.2.1\r\n');
  expect(parseAudio(text)).toEqual({
    codecs: [PCMU, PCMA],
    direction: 'sendrecv',
    target: { address: '192.0.2.1', port: 4000 },
  });
  const six = describeAudio({ ...own, address: '2001:db8::1', direction: 'recvonly' });
  expect(parseAudio(six)).toMatchObject({ direction: 'recvonly', target: { address: '2001:db8::1' } });
  expect([mirror('sendonly'), mirror('sendrecv')]).toEqual(['recvonly', 'sendrecv']);
});

const audio = (lines: string) => parseAudio(`v=0\r\no=- 1 1 IN IP4 x\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n${lines}`);

test('the stream’s own lines go before the session’s; odd ones are stepped over', () => {
  expect(audio('a=\r\na=:\r\na\r\nm=audio 9 RTP/AVP 18 8 0\r\nc=IN IP4 192.0.2.10\r\na=\r\na=inactive\r\n')).toEqual({
    codecs: [PCMA, PCMU],
    direction: 'inactive',
    target: { address: '192.0.2.10', port: 9 },
  });
  // Line ends of bare LF, as some stacks send.
  expect(parseAudio('v=0\nc=IN IP4 192.0.2.9\nm=audio 9 RTP/AVP 0\n')?.target?.port).toBe(9);
});

test('a refused, held or foreign stream', () => {
  expect(audio('m=audio 0 RTP/AVP 0\r\n')).toBeUndefined();
  expect(audio('m=video 9 RTP/AVP 0\r\n')).toBeUndefined();
  expect(audio('m=audio 9 RTP/SAVPF 0\r\n')).toBeUndefined();
  expect(audio('m=audio 70000 RTP/AVP 0\r\n')).toBeUndefined();
  expect(audio('m=audio 0 RTP/AVP 0\r\nm=audio 7 RTP/AVP 0\r\n')?.target?.port).toBe(7);
  expect(audio('m=audio 9 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n')).toEqual({ codecs: [PCMU], direction: 'sendrecv' });
  expect(audio('m=audio 9 RTP/AVP 18\r\n')?.codecs).toEqual([]);
  expect(parseAudio('--boundary\r\nContent-Type: application/sdp\r\n\r\nnothing')).toBeUndefined();
  expect(parseAudio(`v=0\r\n${'a=x\r\n'.repeat(10_000)}m=audio 9 RTP/AVP 0\r\n`)).toBeUndefined();
});

test('whatever comes from the network is read without harm', () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'a=',
      'v=0',
      'c=IN IP4 ',
      'm=audio 9 RTP/AVP 0',
      'm=audio',
      'a=sendonly',
      'm=audio 9/2 RTP/AVP 0 0 8',
    ),
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const found = parseAudio(`v=0\r\n${lines.join('\r\n')}`);
      if (found?.target) expect(found.target.port).toBeLessThan(65_536);
    }),
  );
});

import { once } from 'node:events';
import { Check } from '@sipfleet/contract';
import { expect, test } from 'vitest';
import { placeCall, register } from '../../edge-agent/src/health/call/call.ts';
import { createProber } from '../../edge-agent/src/health/probers.ts';
import { defaultTone, melody } from '../../edge-agent/src/media/tone.ts';
import { FlightRecorder } from '../../edge-agent/src/telemetry/recorder/flight-recorder.ts';
import { ladder } from '../../edge-agent/src/telemetry/recorder/ladder.ts';
import { checkSip, checkSipJson, ended, FROM, file, keep, start } from './check-sip.fixture.ts';
import { bound } from './loopback.ts';
import { AudioPeer, deaf, echo, type Script, ScriptedUas, sdp } from './scripted-uas.ts';

/** Every fault measured in the original, and more: what the peer does, and what check_sip says and leaves behind. */

const uas = async (scripts: (peer: () => ScriptedUas) => Record<string, Script>): Promise<ScriptedUas> => {
  const peer: ScriptedUas = keep(await ScriptedUas.start(scripts(() => peer)));
  return peer;
};
const audio = async (packet: (bytes: Buffer) => Buffer | undefined): Promise<AudioPeer> =>
  keep(await AudioPeer.start(packet));
const answering = async (media: number | string): Promise<ScriptedUas> =>
  uas((peer) => ({ INVITE: (r, from) => peer().reply(r, from, '200 OK', { sdp: media }) }));

test('a silent peer: -T bounds everything up to the answer', async () => {
  const peer = await uas(() => ({}));
  const { code, result } = await checkSipJson('-T', '2', FROM, peer.uri);
  expect([code, result.verdict, result.phase, result.reason]).toEqual([
    2,
    'critical',
    'invite',
    'no answer to INVITE in 2 s',
  ]);
  expect(result.ms).toBeLessThan(10_000);
  // Retransmitted by Timer A, and nothing to cancel (RFC 3261 §9.1).
  expect([peer.distinct('INVITE').length, peer.count('INVITE') > 1, peer.count('CANCEL')]).toEqual([1, true, 0]);
});

test('a peer that rings for ever is cancelled', async () => {
  const peer = await uas((p) => ({ INVITE: (r, from) => p().reply(r, from, '180 Ringing') }));
  const { code, result } = await checkSipJson('-T', '1', FROM, peer.uri);
  expect([code, result.phase, result.reason, result.clean]).toEqual([
    2,
    'answer',
    'rings, but is not answered in 1 s',
    true,
  ]);
  expect([peer.distinct('CANCEL').length, peer.count('ACK')]).toEqual([1, 1]);
});

test('an answer that crosses the CANCEL is acknowledged and hung up', async () => {
  const peer = await uas((p) => ({
    INVITE: (r, from) => p().reply(r, from, '180 Ringing'),
    CANCEL: (r, from) => {
      p().reply(r, from, '200 OK');
      p().reply(p().requests[0]!, from, '200 OK', { sdp: 9 });
    },
  }));
  const { code, result } = await checkSipJson('-T', '1', FROM, peer.uri);
  expect([code, result.phase, result.clean]).toEqual([2, 'answer', true]);
  expect([peer.count('ACK'), peer.distinct('BYE').length]).toEqual([1, 1]);
});

test.each(['486 Busy Here', '503 Service Unavailable', '487 Request Terminated', '603 Decline'])(
  '%s, asked for or not, ends it at once',
  async (status) => {
    const peer = await uas((p) => ({
      INVITE: (r, from) => {
        p().reply(r, from, '100 Trying');
        p().reply(r, from, status);
      },
    }));
    const { code, result } = await checkSipJson(FROM, peer.uri);
    expect([code, result.code, result.reason, result.clean]).toEqual([
      2,
      Number.parseInt(status, 10),
      `INVITE refused: ${status}`,
      true,
    ]);
    await peer.sees('ACK');
    expect(peer.count('CANCEL') + peer.count('BYE')).toBe(0);
  },
);

test('a password that is refused is a verdict, not a loop', async () => {
  const challenge = '401 Unauthorized';
  let nonce = 0;
  const ask: Script = (r, from) =>
    peer.reply(r, from, challenge, {
      headers: [['WWW-Authenticate', `Digest realm="x", nonce="${nonce++}", qop="auth"`]],
    });
  const peer = await uas(() => ({ REGISTER: ask }));
  const { code, result } = await checkSipJson(
    ...['-R', `127.0.0.1:${peer.port}`, '--username', 'bonnie', '--password', 'wrong', FROM, peer.uri],
  );
  expect([code, result.phase, result.code, result.clean]).toEqual([2, 'register', 401, true]);
  expect(result.reason).toBe('401 to REGISTER: password of bonnie refused (realm x)');
  expect([peer.distinct('REGISTER').length, peer.count('INVITE')]).toEqual([2, 0]);
});

test('an answer without audio: proven on demand', async () => {
  const listener = await audio(deaf);
  const peer = await answering(listener.port);
  const plain = await checkSip([FROM, peer.uri]);
  expect(plain.code).toBe(0);
  expect(plain.output).toMatch(
    /^SIP OK - sip:clyde@\S+ answered, 50 packets sent, 0 received \| total=[\d.]+s .*bye=.* received=0 /,
  );
  const { code, result } = await checkSipJson('--expect-audio', FROM, peer.uri);
  expect([code, result.phase, result.reason]).toEqual([2, 'media', 'one-way audio: 50 packets sent, none received']);
  // The audio did reach the peer: it is the way back that is missing.
  expect(listener.received).toBe(100);
  expect([peer.distinct('BYE').length, result.clean]).toEqual([2, true]);
});

test('a health check that hears nothing is kept with its messages, like a call that failed', async () => {
  const peer = await answering((await audio(deaf)).port);
  const port = Number(/:(\d+)$/.exec(peer.uri)?.[1]);
  const check = Check.parse({
    name: 'dummy',
    timeout: '8s',
    type: 'call',
    command: `check_sip --expect-audio ${FROM} sip:clyde@HOST:PORT`,
  });
  const own = { address: '127.0.0.1', port, localAddress: '127.0.0.1' };
  const target = { ...own, transport: 'udp' as const, timeoutMs: 9000, check };
  const outcome = await createProber(() => new Map())(target, new AbortController().signal);
  const evidence = 'one-way audio: 50 packets sent, none received';
  expect(outcome).toMatchObject({ result: 'failure', phase: 'media', evidence });
  const redact = (bytes: Uint8Array) => Buffer.from(bytes);
  const recorder = new FlightRecorder([], { bytes: 1 << 20, calls: 10, perSecond: 4, redact, epoch: 0 });
  const probe = { farm: 'pbx', backend: 'pbx1', check: 'dummy', ...outcome };
  const kept = recorder.keepProbe(probe);
  expect(kept).toMatchObject({ method: 'INVITE', reasons: ['check'], results: [`check dummy of pbx1: ${evidence}`] });
  expect(recorder.find(kept!.callId)).toBe(kept);
  expect(ladder(kept!)).toMatch(/INVITE[\s\S]*200 OK[\s\S]*ACK[\s\S]*BYE[\s\S]*200 OK/);
  // The budget of a second is one: what a storm of failing checks brings is counted, and not kept.
  expect(recorder.keepProbe({ ...probe, messages: outcome.messages?.slice(1) })).toBeUndefined();
});

test('a peer that only listens is sent to, one that only talks is not', async () => {
  const listener = await audio(deaf);
  const peer = await answering(sdp(listener.port, 'sendonly'));
  const { code, result } = await checkSipJson('--expect-audio', FROM, peer.uri);
  expect([code, result.phase, result.reason]).toEqual([2, 'media', 'no audio in either direction']);
  expect(listener.received).toBe(0);
});

test('audio that comes back is measured: level and loss have bounds', async () => {
  const loud = await audio(echo);
  const peer = await answering(loud.port);
  const good = await checkSipJson('--expect-audio', '--min-level=-30', '--max-loss', '20', FROM, peer.uri);
  expect([good.code, good.result.reason]).toEqual([0, `${peer.uri} answered, 50 packets sent, 50 received`]);
  expect(good.result.audio).toMatchObject({ sent: 50, received: 50, lost: 0, levelDb: expect.closeTo(-15, 0) });
  const silence = await audio((bytes) => Buffer.concat([bytes.subarray(0, 12), Buffer.alloc(160, 0xff)]));
  const quiet = await answering(silence.port);
  const { code, result } = await checkSipJson('--min-level=-50', FROM, quiet.uri);
  expect([code, result.reason]).toEqual([2, 'silence: -96.0 dBFS received, at least -50 dBFS asked for']);
  // Every second packet gets lost on the way back.
  const lossy = await audio((bytes) => (bytes[3]! % 2 ? bytes : undefined));
  const torn = await answering(lossy.port);
  const lost = await checkSipJson('--max-loss', '20', FROM, torn.uri);
  expect([lost.code, lost.result.reason]).toEqual([
    2,
    expect.stringMatching(/^4\d\.\d % of the packets lost, at most 20\.0 % allowed$/),
  ]);
});

test('a BYE that is never answered is a warning, in seconds', async () => {
  const media = await audio(echo);
  const peer = await uas((p) => ({
    INVITE: (r, from) => p().reply(r, from, '200 OK', { sdp: media.port }),
    BYE: () => {},
  }));
  const { code, result } = await checkSipJson('--expect-audio', FROM, peer.uri);
  expect([code, result.phase, result.reason, result.clean]).toEqual([1, 'bye', 'BYE not answered in 4 s', false]);
  expect(result.ms).toBeLessThan(15_000);
  expect(peer.count('BYE')).toBeGreaterThan(2);
});

test.each(['udp', 'tcp', 'tls', 'ws'])('a closed port is known at once over %s', async (transport) => {
  const socket = await bound('127.0.0.1');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  const { code, result } = await checkSipJson('--transport', transport, FROM, `sip:clyde@127.0.0.1:${port}`);
  expect([code, result.reason]).toEqual([2, `127.0.0.1:${port}: connection refused`]);
  expect(result.ms).toBeLessThan(10_000);
});

test('a name server that never answers hangs nothing', async () => {
  const server = keep(await bound('127.0.0.1'));
  const asked = once(server, 'message');
  const { port } = server.address();
  const { code, result } = await checkSipJson(
    '-T',
    '2',
    '--dns',
    `127.0.0.1:${port}`,
    FROM,
    'sip:clyde@pbx.example.com',
  );
  await asked;
  expect([code, result.phase, result.reason]).toEqual([2, 'resolve', 'name not resolved in 2 s']);
  expect(result.ms).toBeLessThan(10_000);
});

test('a flood of provisional responses ends the call', async () => {
  let flood: NodeJS.Timeout | undefined;
  const peer = await uas((p) => ({
    INVITE: (r, from) => {
      let tag = 0;
      // In portions that a receive buffer holds, for as long as the caller takes it.
      flood ??= setInterval(() => {
        for (let i = 0; i < 20; i++) p().reply(r, from, '183 Session Progress', { tag: `t${tag++}` });
      }, 10);
    },
  }));
  keep({ close: () => clearInterval(flood) });
  const { code, result } = await checkSipJson(FROM, peer.uri);
  expect([code, result.phase]).toEqual([2, 'answer']);
  expect(result.reason).toBe('flood: more than 200 provisional responses');
  expect([peer.distinct('CANCEL').length, result.clean]).toEqual([1, true]);
});

test('early media is taken, and does not count as the call’s audio', async () => {
  const media = await audio(deaf);
  const peer = await uas((p) => ({
    INVITE: (r, from) => {
      p().reply(r, from, '183 Session Progress', { sdp: media.port });
      media.play(20, r);
      setTimeout(() => p().reply(r, from, '200 OK'), 300);
    },
  }));
  const { code, result } = await checkSipJson('--expect-audio', FROM, peer.uri);
  expect([code, result.reason]).toEqual([2, 'one-way audio: 50 packets sent, none received']);
  // The answer's description came early; the 200 needs none.
  expect([result.audio?.early, media.received, result.clean]).toEqual([20, 50, true]);
});

test('of a forked call every answer is acknowledged, and all but the first hung up', async () => {
  const media = await audio(echo);
  const peer = await uas((p) => ({
    INVITE: (r, from) => {
      for (const tag of ['one', 'two', 'three']) p().reply(r, from, '200 OK', { tag, sdp: media.port });
      p().reply(r, from, '200 OK', { tag: 'two', sdp: media.port });
    },
  }));
  const { code, result } = await checkSipJson('--expect-audio', FROM, peer.uri);
  expect([code, result.clean]).toEqual([0, true]);
  const tags = (method: string) => peer.distinct(method).map((r) => r.tag('to'));
  // The repeated 200 has its ACK again.
  expect(tags('ACK').sort()).toEqual(['one', 'three', 'two', 'two']);
  expect(tags('BYE')).toEqual(['two', 'three', 'one']);
});

test('a reliable provisional response gets its PRACK, once', async () => {
  const media = await audio(echo);
  const peer = await uas((p) => ({
    INVITE: (r, from) => {
      for (let i = 0; i < 2; i++)
        p().reply(r, from, '180 Ringing', {
          headers: [
            ['Require', '100rel'],
            ['RSeq', '71'],
          ],
        });
    },
    PRACK: (r, from) => {
      p().reply(r, from, '200 OK');
      p().reply(p().requests[0]!, from, '200 OK', { sdp: media.port });
    },
  }));
  const { code } = await checkSipJson('--expect-audio', FROM, peer.uri);
  expect([code, peer.distinct('PRACK').map((r) => r.get('rack'))]).toEqual([0, ['71 1 INVITE']]);
});

test('a multipart body is not guessed at: the call is refused and hung up', async () => {
  const peer = await uas((p) => ({
    INVITE: (r, from) =>
      p().reply(r, from, '200 OK', {
        sdp: '--b\r\n\r\nv=0',
        headers: [['Content-Type', 'multipart/mixed;boundary=b']],
      }),
  }));
  const { code, result } = await checkSipJson(FROM, peer.uri);
  expect([code, result.phase, result.reason]).toEqual([
    2,
    'answer',
    'answered with a body of type multipart/mixed instead of a session description',
  ]);
  expect([peer.distinct('BYE').length, result.clean]).toEqual([1, true]);
});

test('15 s of audio to a peer that sends none come to their end', async () => {
  const listener = await audio(deaf);
  const peer = await answering(listener.port);
  const long = file('long.data', melody([{ hertz: [440], ms: 15_000 }]));
  const { code, result } = await checkSipJson('-S', long, FROM, peer.uri);
  expect([code, result.audio?.sent, listener.received, peer.distinct('BYE').length]).toEqual([0, 750, 750, 1]);
});

test('a deadline that is too short for the audio ends the call within it', async () => {
  const peer = await answering((await audio(echo)).port);
  const long = file('long.data', melody([{ hertz: [440], ms: 15_000 }]));
  const { code, result } = await checkSipJson('--deadline', '3', '-S', long, FROM, peer.uri);
  expect([code, result.phase, result.reason]).toEqual([2, 'media', 'deadline of 3 s passed']);
  expect([peer.distinct('BYE').length, result.clean]).toEqual([1, true]);
});

test('the next file is offered by a re-INVITE; one that is refused is told', async () => {
  const media = await audio(echo);
  const files = ['-S', file('a.data', defaultTone()), '-S', file('b.data', defaultTone())];
  const peer = await answering(media.port);
  const { code, result } = await checkSipJson('--expect-audio', ...files, FROM, peer.uri);
  expect([code, result.audio?.sent]).toEqual([0, 100]);
  const [first, second] = peer.distinct('INVITE');
  expect([first?.tag('to'), second?.tag('to'), peer.count('ACK')]).toEqual([undefined, 'peer', 2]);
  const version = (r = first) => Number(/^o=\S+ \d+ (\d+)/m.exec(r!.body)![1]);
  expect(version(second)).toBe(version(first) + 1);
  const stubborn = await uas((p) => ({
    INVITE: (r, from) =>
      r.tag('to') ? p().reply(r, from, '488 Not Acceptable Here') : p().reply(r, from, '200 OK', { sdp: media.port }),
  }));
  const refused = await checkSipJson(...files, FROM, stubborn.uri);
  expect([refused.code, refused.result.reason]).toEqual([2, 're-INVITE refused: 488 Not Acceptable Here']);
  expect([stubborn.distinct('BYE').length, refused.result.clean]).toEqual([1, true]);
});

test('a re-INVITE that meets the peer’s own (491) is tried again', async () => {
  const media = await audio(echo);
  const files = ['-S', file('a.data', defaultTone()), '-S', file('b.data', defaultTone())];
  const peer = await uas((p) => ({
    INVITE: (r, from) =>
      p().distinct('INVITE').length === 2
        ? p().reply(r, from, '491 Request Pending')
        : p().reply(r, from, '200 OK', { sdp: media.port }),
  }));
  const { code, result } = await checkSipJson(...files, FROM, peer.uri);
  expect([code, result.audio?.sent, peer.distinct('INVITE').map((r) => r.cseq)]).toEqual([0, 100, [1, 2, 3]]);
});

test('--debug shows every message, and nothing that proves the password', async () => {
  const peer = await uas((p) => ({
    INVITE: (r, from) =>
      r.get('authorization')
        ? p().reply(r, from, '486 Busy Here')
        : p().reply(r, from, '401 Unauthorized', { headers: [['WWW-Authenticate', 'Digest realm="x", nonce="n"']] }),
  }));
  const { code, output } = await checkSip(['-d', '--username', 'bonnie', '--password', 'parker', FROM, peer.uri]);
  expect(code).toBe(2);
  expect(output.match(/^[<>] 127\.0\.0\.1:\d+$/gm)).toHaveLength(6);
  expect(output).toMatch(/^Authorization: \*\*\*\r?$/m);
  expect(output).not.toMatch(/parker|response="/);
  const credentials = peer.distinct('INVITE')[1]?.get('authorization');
  expect(credentials).toMatch(/username="bonnie".*response="[0-9a-f]{32}"/);
});

test('requests of the peer are answered: OPTIONS, re-INVITE, BYE', async () => {
  const media = await audio(echo);
  const peer = await uas((p) => ({
    INVITE: (r, from) => p().reply(r, from, '200 OK', { sdp: media.port }),
    ACK: (r, from) => {
      if (r.cseq !== 1) return;
      const invite = p().requests[0]!;
      p().ask('OPTIONS', invite, from, '', 1);
      p().ask('INVITE', invite, from, sdp(media.port, 'sendonly'), 2);
    },
  }));
  const long = file('long.data', melody([{ hertz: [440], ms: 15_000 }]));
  const check = start(['--json', '-S', long, FROM, peer.uri]);
  expect((await peer.answered('OPTIONS')).status).toBe(200);
  const again = await peer.answered('INVITE');
  expect([again.status, again.body.includes('a=recvonly')]).toEqual([200, true]);
  const invite = peer.requests[0]!;
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(invite.get('contact')!)![1]);
  peer.ask('BYE', invite, { address: '127.0.0.1', port, family: 'IPv4', size: 0 }, '', 3);
  expect((await peer.answered('BYE')).status).toBe(200);
  const { code, output } = await ended(check);
  const result = JSON.parse(output);
  expect([code, result.phase, result.clean]).toEqual([1, 'media', true]);
  expect(result.reason).toMatch(/^hung up by the peer before all was said/);
  expect(peer.count('BYE')).toBe(0);
});

const registrar =
  (p: () => ScriptedUas): Script =>
  (r, from) =>
    p().reply(r, from, '200 OK', { headers: [['Contact', r.get('contact')!]] });
const expires = (peer: ScriptedUas) => peer.distinct('REGISTER').map((r) => Number(r.get('expires')) > 0);

test('SIGTERM while it rings: CANCEL, unregister, exit 3', async () => {
  const peer = await uas((p) => ({ INVITE: (r, from) => p().reply(r, from, '180 Ringing'), REGISTER: registrar(p) }));
  const check = start(['--json', '-P', `127.0.0.1:${peer.port}`, FROM, 'clyde']);
  await peer.sees('INVITE');
  check.signal('SIGTERM');
  const { code, output } = await ended(check);
  const result = JSON.parse(output);
  expect([code, result.verdict, result.reason, result.clean]).toEqual([3, 'unknown', 'stopped: SIGTERM', true]);
  expect([peer.distinct('CANCEL').length, peer.count('ACK'), expires(peer)]).toEqual([1, 1, [true, false]]);
});

test('SIGTERM during the call: BYE, unregister, exit 3', async () => {
  const media = await audio(echo);
  const peer = await uas((p) => ({
    INVITE: (r, from) => p().reply(r, from, '200 OK', { sdp: media.port }),
    REGISTER: registrar(p),
  }));
  const long = file('long.data', melody([{ hertz: [440], ms: 15_000 }]));
  const check = start(['--json', '-S', long, '-P', `127.0.0.1:${peer.port}`, FROM, 'clyde']);
  await peer.sees('ACK');
  check.signal('SIGTERM');
  const { code, output } = await ended(check);
  const result = JSON.parse(output);
  expect([code, result.phase, result.reason, result.clean]).toEqual([3, 'media', 'stopped: SIGTERM', true]);
  expect([peer.distinct('BYE').length, expires(peer)]).toEqual([1, [true, false]]);
});

test('unregisters also where the call fails, and says where that is refused', async () => {
  const peer = await uas((p) => ({
    INVITE: (r, from) => p().reply(r, from, '404 Not Found'),
    REGISTER: (r, from) =>
      Number(r.get('expires')) > 0 ? registrar(p)(r, from) : p().reply(r, from, '500 Server Error'),
  }));
  const { code, output } = await checkSip(['-P', `127.0.0.1:${peer.port}`, FROM, 'clyde']);
  expect([code, expires(peer)]).toEqual([2, [true, false]]);
  expect(output).toMatch(
    /^SIP CRITICAL - invite: INVITE refused: 404 Not Found \(something may be left behind at the peer\) \|/,
  );
});

test('a password does not stay in the process list', async () => {
  const { readFile } = await import('node:fs/promises');
  const peer = await uas((p) => ({ INVITE: (r, from) => p().reply(r, from, '180 Ringing') }));
  const check = start(['-R', '-', '--username', 'bonnie', '--password', 'parker-1934', FROM, peer.uri]);
  await peer.sees('INVITE');
  expect(await readFile(`/proc/${check.pid}/cmdline`, 'latin1')).not.toContain('parker');
  check.signal('SIGINT');
  expect((await ended(check)).code).toBe(3);
});

test.each([
  [['--transport', 'sctp', FROM, 'clyde'], '--transport: found sctp; allowed: udp, tcp, tls, ws'],
  [['-T', 'soon', FROM, 'clyde'], '--timeout: found soon; allowed: seconds, more than 0'],
  [['-S', '/nowhere.data', FROM, 'clyde'], '--send /nowhere.data: no such file'],
  [['--username', 'x', FROM, 'clyde'], 'password: found none; allowed: one beside --username'],
  [['--nonsense', FROM, 'clyde'], 'found --nonsense; allowed: --debug'],
  [['not a uri', 'clyde'], 'FROM: found "not a uri", allowed: a SIP URI'],
  [['-L', '192.0.2.1', FROM, 'sip:clyde@127.0.0.1'], 'own address 192.0.2.1:0: '],
])('a wrong command line is UNKNOWN: %j', async (args, says) => {
  const { code, output } = await checkSip(args);
  expect(code).toBe(3);
  expect(output).toContain(says);
  expect(output.trim().split('\n')).toHaveLength(1);
});

test('many probes side by side: one that hangs delays none of the others', async () => {
  const media = await audio(echo);
  const good = await answering(media.port);
  const silent = await uas(() => ({}));
  const none = new AbortController().signal;
  const options = { from: FROM, timeoutMs: 8000, expectAudio: {} };
  let waiting = true;
  const hung = placeCall({ ...options, to: silent.uri }, none).finally(() => {
    waiting = false;
  });
  const results = await Promise.all(Array.from({ length: 40 }, () => placeCall({ ...options, to: good.uri }, none)));
  expect(results.filter((r) => r.verdict !== 'ok' || !r.clean)).toEqual([]);
  expect([waiting, (await hung).phase]).toEqual([true, 'invite']);
  expect(good.distinct('BYE')).toHaveLength(40);
});

test('a final code that was asked for proves enough', async () => {
  const peer = await uas((p) => ({ INVITE: (r, from) => p().reply(r, from, '486 Busy Here') }));
  const result = await placeCall({ from: FROM, to: peer.uri, acceptedCodes: [486] }, new AbortController().signal);
  expect([result.verdict, result.reason, result.clean]).toEqual([
    'ok',
    `${peer.uri}: 486 Busy Here, which is accepted`,
    true,
  ]);
});

test('register alone: bound, and taken back', async () => {
  const peer = await uas((p) => ({ REGISTER: registrar(p) }));
  const signal = new AbortController().signal;
  const result = await register({ from: `sip:bonnie@127.0.0.1:${peer.port}` }, signal);
  expect([result.verdict, result.reason, result.clean, expires(peer)]).toEqual([
    'ok',
    'bonnie registered',
    true,
    [true, false],
  ]);
  const silent = await uas(() => ({}));
  const late = await register({ from: `sip:bonnie@127.0.0.1:${silent.port}`, timeoutMs: 1000 }, signal);
  expect([late.verdict, late.phase, late.reason]).toEqual([
    'critical',
    'register',
    'no final answer to REGISTER in 1 s',
  ]);
});

import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Agent } from '../interop/agent.ts';
import { OtlpReceiver } from '../interop/otlp-receiver.ts';
import { loopback } from '../netns/host.ts';
import { bound, Client, canUseLoopback, freePort, request } from './loopback.ts';
import { ScriptedUas } from './scripted-uas.ts';
import { commandLine } from './sipfleet.fixture.ts';

const AGENT = '127.0.8.1';
const PHONE = '127.0.8.2';
const SOON = { timeout: 15_000, interval: 200 };

describe.skipIf(!canUseLoopback)('the flight recorder, asked by the CLI', () => {
  let directory: string;
  let agent: Agent;
  let phone: Client;
  let pbxs: ScriptedUas[];
  let service: { address: string; port: number };

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sipfleet-recorder-'));
    phone = await Client.start(PHONE);
    // The first that is asked refuses, the second takes the call: which is which, the key decides.
    let asked = 0;
    const script = (): Promise<ScriptedUas> =>
      ScriptedUas.start({
        INVITE: (r, from) => {
          const uas = pbxs.find((p) => p.requests.includes(r))!;
          if (r.get('to')!.includes('clyde'))
            uas.reply(r, from, asked++ === 0 ? '503 Overloaded' : '200 OK', { sdp: 4000 });
          else uas.reply(r, from, r.get('to')!.includes('blanche') ? '500 Broken' : '486 Busy Here');
        },
      });
    pbxs = [await script(), await script()];
    service = { address: AGENT, port: await freePort(AGENT) };
  });
  afterEach(async () => {
    await agent.close();
    phone.close();
    for (const pbx of pbxs) pbx.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function start(...more: string[]): Promise<void> {
    agent = await Agent.start({
      host: loopback(AGENT),
      workers: 2,
      more: ['--recorder-sample', '0', ...more],
      farm: {
        kind: 'Farm',
        name: 'pbx',
        sites: ['milan'],
        listeners: [{ transport: 'udp', ...service }],
        backends: pbxs.map((pbx, i) => ({ name: `pbx${i + 1}`, address: '127.0.0.1', port: pbx.port })),
        checks: [],
      },
    });
  }

  /** A command as an operator types it: what it printed. */
  async function sipfleet(...args: string[]): Promise<string> {
    const { code, out } = await commandLine(directory, { SIPFLEET_ADMIN: agent.admin })(...args);
    expect(`${code} ${out}`).toMatch(/^0 /);
    return out;
  }

  test('a call that failed over is kept with all its messages and none of its secrets; an ordinary one is not', async () => {
    await start('--recorder-hide', 'P-Asserted-Identity');
    const secret =
      'Authorization: Digest username="bonnie", response="5ecre7"\r\nP-Asserted-Identity: <sip:+49555@x>\r\n';
    const invite = (callee: string, callId: string) =>
      request('INVITE', callee, callId, { address: PHONE, port: 5060 }).replace(
        'Content-Length',
        `${secret}Content-Length`,
      );
    phone.send(invite('buck', 'ordinary@phone'), service);
    phone.send(invite('clyde', 'moved@phone'), service);
    await expect.poll(() => sipfleet('calls', '--failed'), SOON).toContain('moved@phone');
    const list = await sipfleet('calls', '-o', 'json');
    expect(JSON.parse(list)).toMatchObject([
      {
        callId: 'moved@phone',
        farm: 'pbx',
        reasons: ['failover'],
        results: ['INVITE 200'],
        to: 'sip:clyde@example.test',
      },
    ]);

    const [line] = await agent.process.sees(/^.*"msg":"a call was kept".*$/m);
    expect(JSON.parse(line)).toMatchObject({
      callId: 'moved@phone',
      farm: 'pbx',
      reasons: ['failover'],
      results: ['INVITE 200'],
    });
    expect(JSON.parse(line).trace_id).toMatch(/^[0-9a-f]{32}$/);

    const ladder = await sipfleet('ladder', 'moved@phone');
    const arrows = ladder.split('\n').filter((line) => /^ +\d\.\d{3}/.test(line));
    // INVITE in, 100 back, to one PBX, 503 and its ACK, to the other, 200 in and on.
    expect(arrows.map((line) => /(INVITE sip|100|503|ACK|200)/.exec(line)?.[1]).sort()).toEqual(
      ['INVITE sip', '100', 'INVITE sip', '503', 'ACK', 'INVITE sip', '200', '200'].sort(),
    );
    const full = await sipfleet('ladder', 'moved@phone', '--full');
    expect(full).toMatch(/Authorization: Digest username="x+", response="x+"\n/);
    expect(full).not.toMatch(/5ecre7|49555/);

    const file = (await sipfleet('ladder', 'moved@phone', '--pcap', 'call.pcap')).trim();
    const decoded = execFileSync(
      'tshark',
      [
        '-r',
        file,
        '-d',
        `udp.port==${service.port},sip`,
        '-T',
        'fields',
        '-e',
        'sip.Method',
        '-e',
        'sip.Status-Code',
        '-e',
        'ip.src',
      ],
      { encoding: 'utf8' },
    );
    const rows = decoded
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'));
    expect(rows).toHaveLength(8);
    expect(rows[0]).toEqual(['INVITE', '', PHONE]);
    expect(rows.map(([method, status]) => method || status).sort()).toEqual(
      ['INVITE', 'INVITE', 'INVITE', '100', '503', 'ACK', '200', '200'].sort(),
    );

    const why = await sipfleet('explain', 'moved@phone');
    expect(why).toContain('INVITE sip:clyde@example.test');
    expect(why).toMatch(/it went to pbx\d, then pbx\d/);
    expect(await sipfleet('top', '--once', '--interval', '200ms')).toMatch(/pbx +1 +/);
  });

  test('explain names the candidates of a user in order, and what speaks against one', async () => {
    await start();
    const [invite, register] = JSON.parse(await sipfleet('explain', '--user', 'clyde', '-o', 'json'));
    expect(invite).toMatchObject({ strategy: 'hash', key: 'user', farm: 'pbx', generation: 1 });
    expect(register.bucket).toBe(invite.bucket);
    const chosen = invite.candidates.find((c: { chosen: boolean }) => c.chosen);
    expect(chosen).toMatchObject({ rank: 1, excluded: null });
    phone.send(request('INVITE', 'clyde', 'one@phone', { address: PHONE, port: 5060 }), service);
    await expect.poll(() => pbxs.map((pbx) => pbx.count('INVITE'))).toEqual([1, 1]);
    const [first] = pbxs
      .map((pbx, i) => ({ i, at: pbx.requests[0]! }))
      .filter(({ i }) => `pbx${i + 1}` === chosen.backend);
    expect(first!.at.get('call-id')).toBe('one@phone');
  });

  test('where users are hashed nobody is named, and no credentials leave: not in lists, ladders, files, HEP, spans or logs', async () => {
    const KEY = 'a key of the fleet';
    const homer = await bound('127.0.0.1');
    const sent: string[] = [];
    homer.on('message', (bytes) => sent.push(bytes.toString('latin1')));
    const receiver = await OtlpReceiver.start();
    onTestFinished(() => {
      homer.close();
      receiver.close();
    });
    await start(
      ...['--recorder-hash-users', '--recorder-key', KEY, '--hep', `udp://127.0.0.1:${homer.address().port}`],
      ...['--otlp-traces', receiver.url],
    );
    const more = [
      'Proxy-Authorization: Digest username="blanche", realm="example.test", response="5ecre7"',
      'Authorization: Digest username="blanche", response="5ecre7"',
      'P-Asserted-Identity: "Blanche Caldwell" <sip:blanche@example.test>, <tel:+4955512>',
      'Cookie: session=5ecre7',
      'Content-Type: application/sdp',
    ];
    const sdp = 'v=0\r\no=blanche 1 1 IN IP4 127.0.8.2\r\ns=-\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:5ecre7\r\n';
    const invite = request('INVITE', 'blanche', 'hashed@phone', { address: PHONE, port: 5060 }, more)
      .replace('From: <', 'From: "Blanche Caldwell" <')
      .replace('Content-Length: 0', `Content-Length: ${sdp.length}`);
    phone.send(invite + sdp, service);
    await expect.poll(() => sipfleet('calls', '--failed'), SOON).toContain('hashed@phone');
    const inHep = () => sent.filter((packet) => /^Call-ID: hashed@phone/im.test(packet)).length;
    phone.send(request('ACK', 'blanche', 'hashed@phone', { address: PHONE, port: 5060 }), service);
    // INVITE, 100, to a PBX, 500 and its ACK, 500, ACK.
    await expect.poll(inHep, SOON).toBeGreaterThanOrEqual(7);
    await expect.poll(() => receiver.trace('hashed@phone').map(({ name }) => name), SOON).toContain('call');
    await agent.process.sees(/"msg":"a call was kept"/);

    // As createHmac says it, so that a hash can be made anywhere.
    const hashed = `u${createHmac('sha256', KEY).update('blanche').digest('hex').slice(0, 16)}`;
    const file = async (kind: string) =>
      readFileSync((await sipfleet('ladder', 'hashed@phone', `--${kind}`, `call.${kind}`)).trim(), 'latin1');
    const seen: Record<string, string> = {
      list: await sipfleet('calls', '--failed'),
      'list as JSON': await sipfleet('calls', '-o', 'json'),
      ladder: await sipfleet('ladder', 'hashed@phone'),
      messages: await sipfleet('ladder', 'hashed@phone', '--full'),
      'messages as JSON': await sipfleet('ladder', 'hashed@phone', '-o', 'json'),
      pcap: await file('pcap'),
      'HEP of one call': await file('hep'),
      'HEP server': sent.join('\n'),
      spans: JSON.stringify(receiver.trace('hashed@phone'), (_, v) => (typeof v === 'bigint' ? String(v) : v)),
    };
    for (const [what, text] of Object.entries(seen)) expect(text, what).toContain(hashed);
    seen.explain = await sipfleet('explain', 'hashed@phone');
    seen.log = agent.process.output;
    for (const [what, text] of Object.entries(seen)) expect(text, what).not.toMatch(/blanche|caldwell|4955512|5ecre7/i);
    expect(seen.messages).toMatch(/^Proxy-Authorization: Digest username="x+", realm="x+", response="x+"/m);
    // Who knows the user finds the call, and the PBX was told who it is.
    expect(await sipfleet('calls', '--user', 'blanche')).toContain('hashed@phone');
    expect(await sipfleet('calls', '--user', 'bonnie')).not.toContain('hashed@phone');
    const [asked] = pbxs.flatMap((pbx) => pbx.requests);
    expect(asked?.start).toBe('INVITE sip:blanche@example.test SIP/2.0');
    expect(asked?.get('authorization')).toContain('5ecre7');
  });
});

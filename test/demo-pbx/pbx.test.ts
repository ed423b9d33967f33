import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { SipMessage } from '../../edge-agent/src/sip/text-message.ts';
import { type Pbx, startPbx } from './pbx.ts';
import { Phone } from './phone.ts';
import { audioTarget } from './sdp.ts';
import { PHONES } from './users.ts';

async function pbx(): Promise<Pbx> {
  const started = await startPbx({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => started.close());
  return started;
}

async function phone(proxy: Pbx): Promise<Phone> {
  const opened = await Phone.open({ transport: 'udp', proxy, timeoutMs: 5000 });
  onTestFinished(() => opened.close());
  return opened;
}

const account = (user: string, password = PHONES[user] ?? '') => ({ user, password });

test('registers with a challenge, refuses a wrong password and a stranger', async () => {
  const at = await pbx();
  expect(await (await phone(at)).register(account('bonnie'))).toEqual([401, 200]);
  await expect((await phone(at)).register(account('bonnie', 'wrong'))).rejects.toThrow('403');
  await expect((await phone(at)).register(account('stranger', 'x'))).rejects.toThrow('403');
  await expect((await phone(at)).register(account('clyde'), 3)).rejects.toThrow('423');
});

test('a call from user to user and its end from the caller', async () => {
  const at = await pbx();
  const [bonnie, clyde] = [await phone(at), await phone(at)];
  await bonnie.register(account('bonnie'));
  await expect(bonnie.call('clyde')).rejects.toThrow('480');
  await expect(bonnie.call('nobody')).rejects.toThrow('404');
  await clyde.register(account('clyde'));
  const answered = once(clyde.events, 'answered');
  const ended = once(clyde.events, 'ended');
  const call = await bonnie.call('clyde');
  expect(call.statuses).toEqual([180, 200]);
  expect(await answered).toEqual([call.callId]);
  expect(await call.hangUp()).toBe(200);
  expect(await ended).toEqual([call.callId]);
  expect(await call.hangUp()).toBe(481);
});

test('a registration that was taken back is gone', async () => {
  const at = await pbx();
  const [bonnie, clyde] = [await phone(at), await phone(at)];
  await clyde.register(account('clyde'));
  await clyde.register(account('clyde'), 0);
  await expect(bonnie.call('clyde')).rejects.toThrow('480');
});

test('echo sends RTP back to where it came from', async () => {
  const at = await pbx();
  const caller = await phone(at);
  const call = await caller.call('echo');
  expect(at.calls).toBe(1);
  const media = createSocket('udp4');
  onTestFinished(() => void media.close());
  media.bind(0, '127.0.0.1');
  await once(media, 'listening');
  const { host, port } = audioTarget(call.sdp)!;
  media.send(Buffer.from('packet'), port, host);
  const [echoed] = (await once(media, 'message')) as [Buffer];
  expect(echoed.toString()).toBe('packet');
  expect(await call.hangUp()).toBe(200);
  expect(at.calls).toBe(0);
});

test('an INVITE that comes twice is one call, and the 200 comes again until its ACK', async () => {
  const at = await pbx();
  const socket = createSocket('udp4');
  onTestFinished(() => void socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const via = `SIP/2.0/UDP 127.0.0.1:${socket.address().port};branch=z9hG4bK1`;
  const send = (method: string, to = '') =>
    socket.send(
      new SipMessage(`${method} sip:echo@127.0.0.1:${at.port} SIP/2.0`, [
        ['Via', via],
        ['From', '<sip:a@x>;tag=1'],
        ['To', `<sip:echo@x>${to}`],
        ['Call-ID', 'c'],
        ['CSeq', `1 ${method}`],
        ['Contact', `<sip:a@127.0.0.1:${socket.address().port}>`],
      ]).toBytes(),
      at.port,
      '127.0.0.1',
    );
  const seen: SipMessage[] = [];
  const next = async (wanted: (m: SipMessage) => boolean) => {
    for (;;) {
      const [bytes] = (await once(socket, 'message')) as [Buffer];
      const message = SipMessage.parse(bytes)!;
      seen.push(message);
      if (wanted(message)) return message;
    }
  };
  send('INVITE');
  send('INVITE');
  const ok = await next((m) => m.status === 200);
  const again = await next((m) => m.status === 200);
  expect(again.tag('to')).toBe(ok.tag('to'));
  expect(at.calls).toBe(1);
  send('ACK', `;tag=${ok.tag('to')}`);
  send('BYE', `;tag=${ok.tag('to')}`);
  await next((m) => m.method === 'BYE' && m.status === 200);
  expect(at.calls).toBe(0);
});

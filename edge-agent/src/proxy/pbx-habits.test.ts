import { expect, test } from 'vitest';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

/** What PBXs make of the URIs that we give them, and what must find its way all the same. */

const PHONE = 'udp 203.0.113.9:40000';
const uriOf = (value: string) => /<([^>]+)>/.exec(value)![1]!;
const pbxOf = (to: { ip3: number }, transport = 'udp') => `${transport} 10.0.0.${to.ip3 & 255}:5060`;
const PBX_VIA = { via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKp', to: '<sip:bonnie@example.com>;tag=b1' };

const registered = (farm: Parameters<typeof agent>[0] = {}) => {
  const a = agent(farm);
  const out = a.receive(request({ method: 'REGISTER', to: '<sip:bonnie@example.com>' }), PHONE)!;
  return { a, out, pbx: pbxOf(out.to, out.how === 'dial' ? 'tcp' : 'udp') };
};

test('Asterisk with rewrite_contact over TCP: the port of our Record-Route becomes that of our connection', () => {
  const a = agent({ backends: [{ name: 'pbx1', address: '10.0.0.11', transport: 'tcp' }] });
  const out = a.receive(request(), PHONE)!;
  const [own] = header(out.text, 'Record-Route');
  const rewritten = own!.replace(/:5060;transport=tcp/, ':49152;transport=TCP');
  expect(rewritten).not.toBe(own);
  const bye = request({
    ...PBX_VIA,
    method: 'BYE',
    from: '<sip:clyde@example.com>;tag=t1',
    more: [`Route: ${rewritten}`],
  });
  expect(a.receive(bye, 'tcp 10.0.0.11:5060 #9', 1)!.to).toMatchObject(endpoint(PHONE));
});

test('Asterisk with rewrite_contact over TCP: the port and parameters of a Contact of ours', () => {
  const { a, out, pbx } = registered({
    registration: { mode: 'contact' },
    backends: [{ name: 'pbx1', address: '10.0.0.11', transport: 'tcp' }],
  });
  const uri = uriOf(header(out.text, 'Contact')[0]!).replace(/:5060.*/, ':49152;transport=TCP');
  const call = request({ ...PBX_VIA, uri, to: '<sip:bonnie@example.com>' });
  expect(a.receive(call, `${pbx} #9`, 1)).toMatchObject({ to: endpoint(PHONE) });
});

test('FreeSWITCH: the lr of a Route behind its brackets', () => {
  const { a, out, pbx } = registered();
  const route = header(out.text, 'Path')[0]!.replace(';lr>', '>;lr');
  const sent = a.receive(request({ ...PBX_VIA, to: '<sip:bonnie@example.com>', more: [`Route: ${route}`] }), pbx)!;
  expect(sent.to).toMatchObject(endpoint(PHONE));
  expect(header(sent.text, 'Route')).toEqual([]);
});

test('FreeSWITCH: a MESSAGE with our Path as its Request-URI and To', () => {
  const { a, out, pbx } = registered();
  const path = uriOf(header(out.text, 'Path')[0]!);
  const sent = a.receive(request({ ...PBX_VIA, method: 'MESSAGE', uri: path, to: `<${path}>` }), pbx)!;
  expect(sent.to).toMatchObject(endpoint(PHONE));
});

test('FreeSWITCH: only the topmost of two Record-Routes in a NOTIFY', () => {
  const a = agent();
  const client = 'tcp 203.0.113.9:40000 #7';
  const via = 'SIP/2.0/TCP 203.0.113.9:40000;branch=z9hG4bKs';
  const out = a.receive(request({ method: 'SUBSCRIBE', via }), client, 1)!;
  const routes = header(out.text, 'Record-Route');
  expect(routes).toHaveLength(2);
  const notify = { ...PBX_VIA, method: 'NOTIFY', from: '<sip:clyde@example.com>;tag=t1' };
  const sent = a.receive(request({ ...notify, more: [`Route: ${routes[0]}`] }), pbxOf(out.to))!;
  expect(sent).toMatchObject({ how: 'stream', to: { connection: 7 } });
  expect(header(sent.text, 'Route')).toEqual([]);
});

test('OpenSIPS: received and q behind the Contacts of its answer', () => {
  const { a, out, pbx } = registered({ registration: { mode: 'contact' } });
  const [contact] = header(out.text, 'Contact');
  const more = [`Contact: ${contact};q=;expires=60;received="sip:192.0.2.10:5060"`];
  const back = a.receive(answer(out.text, '200 OK', 't', more), pbx)!;
  expect(header(back.text, 'Contact')).toEqual([
    '<sip:bonnie@198.51.100.7:5060>;q=;expires=60;received="sip:192.0.2.10:5060"',
  ]);
});

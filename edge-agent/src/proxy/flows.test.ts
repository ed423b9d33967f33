import { expect, test } from 'vitest';
import { createClientKeys } from './client-key.ts';
import { type ClientFlow, createClientFlow, createFlows, Flows } from './flows.ts';
import { agent, answer, endpoint, header, request } from './proxy.fixture.ts';

const FARM = 5;
const keys = (check: number, ...all: number[]) => {
  const made = createClientKeys();
  made.keys.set(all);
  return { ...made, check, count: all.length };
};
const flow = (connection: number, worker = 0): ClientFlow => ({
  client: endpoint(`tcp 203.0.113.9:4000 #${connection}`),
  worker,
  listener: 1,
});

test('a client is found by each of its keys, in its farm only, and by its latest flow', () => {
  const memory = createFlows(64);
  new Flows(memory, () => true).learn(FARM, keys(1, 0xfffffffe, 77), flow(9, 2), 100);
  const flows = new Flows(memory, () => true);
  const read = createClientFlow();
  for (const key of [0xfffffffe, 77]) {
    expect(flows.find(FARM, key, read)).toBe(true);
    expect(read).toEqual(flow(9, 2));
  }
  expect([flows.find(FARM + 1, 77, read), flows.find(FARM, 78, read), flows.find(FARM, 0, read)]).toEqual([
    false,
    false,
    false,
  ]);
  flows.learn(FARM, keys(1, 77), flow(10, 1), 101);
  expect(flows.find(FARM, 77, read)).toBe(true);
  expect(read).toEqual(flow(10, 1));
});

test('a connection that is gone is not given out', () => {
  const flows = new Flows(createFlows(64), (worker, connection) => worker === 0 && connection === 9);
  flows.learn(FARM, keys(1, 77), flow(9), 100);
  flows.learn(FARM, keys(1, 78), flow(10), 100);
  expect([flows.find(FARM, 77, createClientFlow()), flows.find(FARM, 78, createClientFlow())]).toEqual([true, false]);
});

test('two clients under one key are both not found, until the first one is gone', () => {
  let first = true;
  const flows = new Flows(createFlows(64), (_, connection) => connection !== 9 || first);
  flows.learn(FARM, keys(1, 77), flow(9), 100);
  flows.learn(FARM, keys(2, 77), flow(10), 101);
  expect(flows.find(FARM, 77, createClientFlow())).toBe(false);
  const later = new Flows(createFlows(64), (_, connection) => connection !== 9 || first);
  later.learn(FARM, keys(1, 77), flow(9), 100);
  first = false;
  later.learn(FARM, keys(2, 77), flow(10), 101);
  expect(later.find(FARM, 77, createClientFlow())).toBe(true);
});

test('it is bounded: where no place is left, who registered longest ago gives way', () => {
  const flows = new Flows(createFlows(8), () => true);
  for (let i = 1; i <= 9; i++) flows.learn(FARM, keys(i, i), flow(i), 100 + i);
  const found = Array.from({ length: 9 }, (_, i) => flows.find(FARM, i + 1, createClientFlow()));
  expect(found).toEqual([false, ...new Array(8).fill(true)]);
});

const BONNIE = '<sip:bonnie@example.com>';
const PBX = ['udp 10.0.0.11:5060', 'udp 10.0.0.12:5060'];
const pbxOf = (to: { ip3: number }) => PBX[(to.ip3 & 255) - 11]!;
const INSTANCE = ';+sip.instance="<urn:uuid:1>"';

const register = (port: number, o: { user?: string; contact?: string } = {}) => {
  const user = o.user ?? 'bonnie';
  return request({
    method: 'REGISTER',
    uri: 'sip:example.com',
    via: `SIP/2.0/TCP 198.51.100.7:${port};branch=z9hG4bK${user}${port}`,
    from: `<sip:${user}@example.com>;tag=r`,
    to: `<sip:${user}@example.com>`,
    callId: `reg-${user}`,
  }).replace(/^Contact: .*$/m, `Contact: ${o.contact ?? `<sip:${user}@198.51.100.7:${port};transport=tcp>`}`);
};

/** An agent with a client that registered over connection 7, and its Path. */
function registered(o: { contact?: string; transactions?: number } = {}) {
  const a = agent(
    o.transactions ? { transactions: 'stateful' } : {},
    o.transactions ? { transactions: o.transactions } : {},
  );
  const log = (port: number, connection: number, more: { user?: string; contact?: string } = {}, status = '200 OK') => {
    const out = a.receive(register(port, { ...o, ...more }), `tcp 198.51.100.7:${port} #${connection}`, 1)!;
    a.receive(answer(out.text, status), pbxOf(out.to));
    return { out, path: header(out.text, 'Path')[0]! };
  };
  const first = log(40_001, 7);
  const pbx = pbxOf(first.out.to);
  const invite = (path: string, callId = 'c9') => {
    const before = a.sent.length;
    a.receive(
      request({
        uri: 'sip:bonnie@198.51.100.7:40001',
        via: `SIP/2.0/UDP ${pbx.slice(4)};branch=z9hG4bK${callId}`,
        from: '<sip:clyde@example.com>;tag=p1',
        to: BONNIE,
        callId,
        more: [`Route: ${path}`],
      }),
      pbx,
    );
    return a.sent.slice(before).find((m) => /^INVITE|^SIP\/2\.0 4/.test(m.text))!;
  };
  return { a, log, first, pbx, invite };
}

test.each([0, 100])('a client that reconnected and registered anew is found by its old Path, %i transactions', (n) => {
  const { a, log, first, invite } = registered({ transactions: n });
  expect(invite(first.path, 'c1')).toMatchObject({ how: 'stream', to: endpoint('tcp 198.51.100.7:40001 #7') });
  a.closed.add('0#7');
  expect(invite(first.path, 'c2').text).toMatch(/^SIP\/2\.0 430 /);
  log(40_002, 8);
  const out = invite(first.path, 'c3');
  expect(out).toMatchObject({ how: 'stream', listener: 1, to: endpoint('tcp 198.51.100.7:40002 #8') });
  // The new dialog is on the new connection.
  expect(header(out.text, 'Record-Route')).toHaveLength(2);
});

test('a dialog of before the reconnection goes on: the BYE of the PBX comes by the new connection', () => {
  const { a, log, pbx } = registered();
  const out = a.receive(
    request({ via: 'SIP/2.0/TCP 198.51.100.7:40001;branch=z9hG4bKi', from: `${BONNIE};tag=b1` }).replace(
      /^Contact: .*$/m,
      'Contact: <sip:bonnie@198.51.100.7:40001;transport=tcp>',
    ),
    'tcp 198.51.100.7:40001 #7',
    1,
  )!;
  const routes = header(out.text, 'Record-Route').map((rr) => `Route: ${rr}`);
  a.closed.add('0#7');
  log(40_002, 8);
  const bye = a.receive(
    request({
      method: 'BYE',
      uri: 'sip:bonnie@198.51.100.7:40001',
      via: 'SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKbye',
      from: '<sip:clyde@example.com>;tag=t1',
      to: `${BONNIE};tag=b1`,
      more: routes,
    }),
    pbx,
  )!;
  expect(bye).toMatchObject({ how: 'stream', to: endpoint('tcp 198.51.100.7:40002 #8') });
});

test('an instance is found whatever its Contact has become, and two of one user are told apart', () => {
  const contact = (host: string, id = 1) => `<sip:x@${host}>;expires=60;+sip.instance="<urn:uuid:${id}>"`;
  const { a, log, first, invite } = registered({ contact: contact('192.168.1.2') });
  a.closed.add('0#7');
  log(40_003, 9, { contact: contact('192.168.1.3', 2) });
  expect(invite(first.path, 'c2').text).toMatch(/^SIP\/2\.0 430 /);
  log(40_002, 8, { contact: contact('172.16.0.1') });
  expect(invite(first.path, 'c3').to).toMatchObject({ connection: 8 });
});

test('only what the PBX accepted counts, and only for the address-of-record that it accepted', () => {
  const { a, log, first, invite } = registered();
  a.closed.add('0#7');
  log(40_004, 10, {}, '401 Unauthorized');
  expect(invite(first.path, 'c1').text).toMatch(/^SIP\/2\.0 430 /);
  // Mallory has an account of her own and copies bonnie's Contact.
  log(40_005, 11, { user: 'mallory', contact: `<sip:bonnie@198.51.100.7:40001;transport=tcp>${INSTANCE}` });
  expect(invite(first.path, 'c2').text).toMatch(/^SIP\/2\.0 430 /);
  // An answer that no PBX gave, and one with another connection written into our Via.
  const out = a.receive(register(40_006), 'tcp 198.51.100.7:40006 #12', 1)!;
  a.receive(answer(out.text), 'udp 203.0.113.66:5060');
  expect(invite(first.path, 'c3').text).toMatch(/^SIP\/2\.0 430 /);
  const via = header(out.text, 'Via')[0]!;
  const w = /;w=([\w-]+)/.exec(via)![1]!;
  const changed = `${w.slice(0, 7)}${w[7] === 'A' ? 'B' : 'A'}${w.slice(8)}`;
  a.receive(answer(out.text).replace(w, changed), pbxOf(out.to));
  expect(invite(first.path, 'c4').text).toMatch(/^SIP\/2\.0 430 /);
  a.receive(answer(out.text), pbxOf(out.to));
  expect(invite(first.path, 'c5').to).toMatchObject({ connection: 12 });
});

test('a connection that is still there is used, though its client has registered over another one since', () => {
  const { log, first, invite } = registered();
  log(40_002, 8);
  expect(invite(first.path).to).toMatchObject({ connection: 7 });
});

test('a device is reached where it has registered last, though nobody closed the connection of before: a phone that left the WiFi', () => {
  const contact = `<sip:bonnie@198.51.100.7;transport=tcp>${INSTANCE}`;
  const { a, log, first, invite } = registered({ contact });
  expect(invite(first.path, 'c1').to).toMatchObject({ connection: 7 });
  log(40_002, 8);
  expect(invite(first.path, 'c2').to).toMatchObject({ connection: 8 });
  // It is back, and the one in between is dead.
  a.closed.add('0#8');
  expect(invite(first.path, 'c3').to).toMatchObject({ connection: 7 });
  // Another device of hers changes nothing.
  log(40_003, 9, { contact: contact.replace('uuid:1', 'uuid:2') });
  expect(invite(first.path, 'c4').to).toMatchObject({ connection: 7 });
});

test('a client that came from another agent is found at this one once it has registered here', () => {
  const { first } = registered();
  const other = agent({}, { number: 2 });
  const out = other.receive(register(40_002), 'tcp 198.51.100.7:40002 #3', 1)!;
  other.receive(answer(out.text), pbxOf(out.to));
  const invite = other.receive(
    request({ uri: 'sip:bonnie@198.51.100.7', to: BONNIE, more: [`Route: ${first.path}`] }),
    PBX[0]!,
  )!;
  expect(invite).toMatchObject({ how: 'stream', to: endpoint('tcp 198.51.100.7:40002 #3') });
});

test.each([
  ['a phone that speaks Outbound', ';reg-id=1', 1, true],
  ['one that does not', '', 1, false],
  ['one behind a proxy of its own', ';reg-id=1', 2, false],
])('Path says ob for %s (RFC 5626 §5.1)', (_who, regId, vias, ob) => {
  const a = agent();
  const via = ['SIP/2.0/TCP 198.51.100.7:40001;branch=z9hG4bKr', 'SIP/2.0/UDP 10.1.1.1;branch=z9hG4bKq'];
  const text = register(40_001, { contact: `<sip:bonnie@198.51.100.7:40001;ob>${INSTANCE}${regId}` });
  const asked = text.replace(/^Via: .*$/m, `Via: ${via.slice(0, vias).join(', ')}`);
  const out = a.receive(asked, 'tcp 198.51.100.7:40001 #7', 1)!;
  const [path] = header(out.text, 'Path');
  expect(path).toMatch(ob ? /^<sip:[\w-]{48}@192\.0\.2\.10:5060;lr;ob>$/ : /^<sip:[\w-]{48}@192\.0\.2\.10:5060;lr>$/);
  // And leads back as it does without.
  const invite = request({
    uri: 'sip:bonnie@198.51.100.7:40001',
    via: 'SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKi',
    from: '<sip:clyde@example.com>;tag=p1',
    to: BONNIE,
    callId: 'c9',
    more: [`Route: ${path}`],
  });
  expect(a.receive(invite, pbxOf(out.to))).toMatchObject({ how: 'stream', to: { connection: 7 } });
});

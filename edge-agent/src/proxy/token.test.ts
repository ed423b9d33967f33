import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hashKey } from '../sip/hash.ts';
import { createRegistered, prepareFlow, putFlow, readFlow } from './flow.ts';
import { createToken, putToken, readToken, type Token } from './token.ts';

const key = { id: 3, key: hashKey(new Uint8Array(16).fill(1)) };
const other = { id: 4, key: hashKey(new Uint8Array(16).fill(2)) };
const u = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });
const v4 = fc.constant({ ip0: 0, ip1: 0, ip2: 0xffff });
const v6 = fc.record({ ip0: u(32), ip1: u(32), ip2: u(32) });

const anyToken: fc.Arbitrary<Token> = fc
  .record({
    path: fc.boolean(),
    initiatorIsBackend: fc.boolean(),
    backend: u(24),
    agent: u(16),
    worker: u(4),
    listener: u(4),
    clientKey: u(32),
    fromTag: u(32),
    start: u(24),
    words: fc.oneof(v4, v6),
    ip3: u(32),
    port: u(16),
    transport: fc.integer({ min: 0, max: 4 }),
    connection: u(24),
  })
  .map(({ words, ip3, port, transport, connection, ...rest }) => ({
    ...rest,
    keyId: key.id,
    client: { ...words, ip3, port, transport: transport as 0, connection },
  }));

test('what is written is read back, in at most 64 characters', () => {
  fc.assert(
    fc.property(anyToken, (token) => {
      const to = new Uint8Array(100);
      const end = putToken(to, 5, token, key.key);
      expect([48, 64]).toContain(end - 5);
      const back = createToken();
      expect(readToken(back, [other, key], to, 5, end)).toBe(true);
      expect(back).toEqual(token);
      expect(readToken(back, [other], to, 5, end)).toBe(false);
      expect(readToken(back, [{ id: key.id, key: other.key }], to, 5, end)).toBe(false);
    }),
  );
});

test('a token with any one character changed is refused', () => {
  fc.assert(
    fc.property(anyToken, u(6), fc.constantFrom(...'ABYZabyz0189-_'), (token, at, c) => {
      const to = new Uint8Array(100);
      const end = putToken(to, 0, token, key.key);
      const i = at % end;
      fc.pre(to[i] !== c.charCodeAt(0));
      to[i] = c.charCodeAt(0);
      expect(readToken(createToken(), [key], to, 0, end)).toBe(false);
    }),
  );
});

test('any bytes of a token’s length are refused without harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 48, maxLength: 64 }), (bytes) => {
      expect(readToken(createToken(), [key], bytes, 0, bytes.length)).toBe(false);
    }),
  );
});

const registered = fc.record({
  check: u(32),
  keys: fc.array(u(32), { maxLength: 4 }),
  client: fc.record({ ip0: u(32), ip1: u(32), ip2: u(32), ip3: u(32), port: u(16) }),
});

test('the flow in our Via is read back, with no address, and with the client that registers over it', () => {
  fc.assert(
    fc.property(u(16), u(8), u(24), registered, (agent, worker, connection, who) => {
      const target = { ip0: 0, ip1: 0, ip2: 0, ip3: 0, port: 0, agent, worker, connection, brought: 0 };
      const client = { ...createRegistered(), ...who, keys: Uint32Array.from(who.keys), count: who.keys.length };
      const to = new Uint8Array(80);
      const length = prepareFlow(target, client);
      const end = putFlow(to, 0, length);
      const back = { ip0: 1, ip1: 2, ip2: 3, ip3: 4, port: 5, agent: 0, worker: 0, connection: 0, brought: 9 };
      const read = createRegistered();
      expect(readFlow(back, read, to, 0, end)).toBe(true);
      expect(back).toEqual(target);
      expect([...read.keys.subarray(0, read.count)]).toEqual(who.keys);
      if (read.count > 0) expect(read).toMatchObject({ check: who.check, client: who.client });
      expect(readFlow(back, read, to, 0, end - 1)).toBe(false);
    }),
  );
});

/**
 * SipHash-2-4 (Aumasson, Bernstein 2012) as a WebAssembly function, put together here: in JavaScript its 64-bit additions and rotations are made of
 * 32-bit halves, which takes four times as long, and every message is hashed several times.
 */

const OP = {
  block: [0x02, 0x40],
  loop: [0x03, 0x40],
  end: [0x0b],
  i64Load: [0x29, 0, 0],
  i64Store: [0x37, 0, 0],
  i32LtU: [0x49],
  i32Add: [0x6a],
  i32Sub: [0x6b],
  i32Shl: [0x74],
  i64Add: [0x7c],
  i64Sub: [0x7d],
  i64And: [0x83],
  i64Or: [0x84],
  i64Xor: [0x85],
  i64Shl: [0x86],
  i64Rotl: [0x89],
  i32WrapI64: [0xa7],
  i64ExtendI32U: [0xad],
} as const;
const I32 = 0x7f;
const I64 = 0x7e;

type Code = readonly number[];
const seq = (...parts: Code[]): number[] => parts.flat();
const get = (local: number): Code => [0x20, local];
const set = (local: number, ...value: Code[]): number[] => seq(...value, [0x21, local]);
const br = (depth: number): Code => [0x0c, depth];
const brIf = (depth: number): Code => [0x0d, depth];
const i32 = (value: number): Code => [0x41, ...signed(BigInt(value))];
const i64 = (value: bigint): Code => [0x42, ...signed(BigInt.asIntN(64, value))];

/** LEB128, signed. */
function signed(value: bigint): number[] {
  const byte = Number(value & 0x7fn);
  const rest = value >> 7n;
  const last = (rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0);
  return last ? [byte] : [byte | 0x80, ...signed(rest)];
}

/** LEB128, unsigned. */
const unsigned = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
const sized = (bytes: Code): number[] => [...unsigned(bytes.length), ...bytes];
const list = (...items: Code[]): number[] => [...unsigned(items.length), ...items.flat()];
const name = (text: string): number[] => sized([...new TextEncoder().encode(text)]);

// Parameters, then locals: the four words of the key, where the input starts and ends; v0 to v3, the block at hand, the length.
const [K0, K1, K2, K3, AT, END, A, B, C, D, M, LENGTH] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] as const;

const wide = (low: number, high: number): Code =>
  seq(get(low), OP.i64ExtendI32U, get(high), OP.i64ExtendI32U, i64(32n), OP.i64Shl, OP.i64Or);
const start = (v: number, low: number, high: number, constant: bigint): Code =>
  set(v, wide(low, high), i64(constant), OP.i64Xor);
const add = (to: number, from: number): Code => set(to, get(to), get(from), OP.i64Add);
const xor = (to: number, ...from: Code[]): Code => set(to, get(to), ...from, OP.i64Xor);
const rotate = (v: number, by: bigint): Code => set(v, get(v), i64(by), OP.i64Rotl);
const half = (to: number, from: number, by: bigint): Code => seq(add(to, from), rotate(from, by), xor(from, get(to)));
const round: Code = seq(
  seq(half(A, B, 13n), rotate(A, 32n), half(C, D, 16n)),
  seq(half(A, D, 21n), half(C, B, 17n), rotate(C, 32n)),
);
const compress: Code = seq(xor(D, get(M)), round, round, xor(A, get(M)));
const left: Code = seq(get(END), get(AT), OP.i32Sub);

const body: Code = seq(
  start(A, K0, K1, 0x736f6d6570736575n),
  start(B, K2, K3, 0x646f72616e646f6dn),
  start(C, K0, K1, 0x6c7967656e657261n),
  start(D, K2, K3, 0x7465646279746573n),
  set(LENGTH, left),
  seq(OP.block, OP.loop, left, i32(8), OP.i32LtU, brIf(1)),
  seq(set(M, get(AT), OP.i64Load), compress, set(AT, get(AT), i32(8), OP.i32Add)),
  seq(br(0), OP.end, OP.end),
  // The last block: what is left, whatever stands behind it, and the length on top.
  seq(get(AT), OP.i64Load, i64(1n), left, i32(3), OP.i32Shl, OP.i64ExtendI32U, OP.i64Shl, i64(1n), OP.i64Sub),
  seq(OP.i64And, get(LENGTH), OP.i64ExtendI32U, i64(56n), OP.i64Shl, OP.i64Or, [0x21, M]),
  seq(compress, xor(C, i64(0xffn)), round, round, round, round),
  set(A, get(A), get(B), OP.i64Xor, get(C), OP.i64Xor, get(D), OP.i64Xor),
  seq(i32(0), get(A), OP.i64Store, get(A), OP.i32WrapI64, OP.end),
);

/** Pages of 64 KiB: the longest message, and the buffers that others keep in here. */
const PAGES = 3;
const section = (id: number, content: Code): number[] => [id, ...sized(content)];
const program = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, list([0x60, ...list([I32], [I32], [I32], [I32], [I32], [I32]), ...list([I32])])),
  ...section(3, list([0])),
  ...section(5, list([0, PAGES])),
  ...section(7, list([...name('memory'), 2, 0], [...name('siphash'), 0, 0])),
  ...section(10, list(sized([...list([5, I64], [1, I32]), ...body]))),
]);

/** What is used of it; its types belong to browsers'. */
interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: Record<string, unknown> };
}
const { Instance, Module } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
const { exports } = new Instance(new Module(program));

/** Its memory; the eight bytes at 0 are the result of the last call. */
export const memory = (exports.memory as { buffer: ArrayBuffer }).buffer;

/** Hash of the bytes from `at` to before `end` of {@link memory}, under a key of four 32-bit words. Returns the low word; both stand at 0. */
export const siphash = exports.siphash as (
  key0: number,
  key1: number,
  key2: number,
  key3: number,
  at: number,
  end: number,
) => number;

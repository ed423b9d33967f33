import type { Libc } from '../libc.ts';

const FOUR_GIB = 2 ** 32;

/**
 * Zeroed memory outside of V8's heap that both libc and JavaScript see. It never crosses a 4 GiB boundary:
 * all pointers into it share their high half, so that changing one is a single 32-bit write.
 */
export class Block {
  /** Offset 0 as a C address. */
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly #libc: Libc;
  readonly #low: number;
  readonly #high: number;
  #freed = false;

  constructor(libc: Libc, size: number) {
    this.#libc = libc;
    this.address = allocate(libc, size);
    this.#low = Number(this.address & 0xffffffffn);
    this.#high = Number(this.address >> 32n);
    const buffer = libc.view(this.address, size);
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
  }

  /** Writes a C pointer to offset `offset` of `target` at offset `at` (a multiple of 8) of this block. */
  writePointer(at: number, target: Block, offset: number): void {
    this.words[at >>> 2] = target.low(offset);
    this.words[(at >>> 2) + 1] = target.#high;
  }

  /** The low half of a pointer to `offset`. */
  low(offset: number): number {
    return this.#low + offset;
  }

  /** Gives the memory back. The views are detached first: whoever kept one sees no bytes rather than someone else's. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    (this.bytes.buffer as ArrayBuffer).transfer(0);
    this.#libc.free(this.address);
  }
}

function allocate(libc: Libc, size: number): bigint {
  const unfit: bigint[] = [];
  try {
    for (;;) {
      const address = libc.calloc(1, size);
      if (!address) throw new Error(`calloc of ${size} bytes failed: ${libc.errorName()}`);
      if (Number(address & 0xffffffffn) + size <= FOUR_GIB) return address;
      // Kept until a good one is found, or calloc would give the same again.
      unfit.push(address);
    }
  } finally {
    for (const address of unfit) libc.free(address);
  }
}

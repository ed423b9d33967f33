/**
 * Keeps the one key that opens everything else (envelope encryption): it makes a key for each thing that is sealed, and hands it out
 * in the clear and wrapped. What is stored is the wrapped one.
 *
 * `context` says what the key is for. It is authenticated, not secret: a wrapped key that was moved to another thing opens nothing.
 */
export interface KeyWrapper {
  /** 32 random bytes, and the same wrapped. */
  generate(context: string): Promise<DataKey>;
  /** Rejects where the wrapped key is of another wrapper or context. */
  unwrap(wrapped: string, context: string): Promise<Uint8Array>;
}

export interface DataKey {
  readonly plain: Uint8Array;
  readonly wrapped: string;
}

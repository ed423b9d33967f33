const PLACES = 4096;

/**
 * A Map by the hashes of calls that knows most of those that are not in it by twelve bits. To hash a key that is no small integer takes V8
 * a tenth of a microsecond, and it is asked for with every message on the tapes.
 */
export class CallMap<Value> extends Map<number, Value> {
  /** Keys by their last bits. */
  readonly #counts = new Uint16Array(PLACES);

  override get(call: number): Value | undefined {
    return this.#counts[call & (PLACES - 1)] === 0 ? undefined : super.get(call);
  }

  override has(call: number): boolean {
    return this.#counts[call & (PLACES - 1)] !== 0 && super.has(call);
  }

  override set(call: number, value: Value): this {
    if (!super.has(call)) this.#count(call, 1);
    return super.set(call, value);
  }

  override delete(call: number): boolean {
    const was = super.delete(call);
    if (was) this.#count(call, -1);
    return was;
  }

  #count(call: number, by: 1 | -1): void {
    const place = call & (PLACES - 1);
    this.#counts[place] = this.#counts[place]! + by;
  }
}

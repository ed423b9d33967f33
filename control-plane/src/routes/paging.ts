import { show, ValidationError } from '@sipfleet/contract';
import type { PageOf, PageRequest } from '../store/store.ts';

/** What a client sends to get a page. */
interface Asked {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/**
 * Cursors as clients see them: opaque, and good for the list that they come from alone. What a store orders by stands inside.
 *
 * @param list names the list, with everything that selects it
 */
export function pagingOf(list: string) {
  const prefix = `${list}\n`;
  return {
    /** @throws ValidationError where the cursor is not one of this list */
    request({ limit, cursor }: Asked): PageRequest {
      if (cursor === undefined) return { limit };
      const text = Buffer.from(cursor, 'base64url').toString();
      if (!text.startsWith(prefix) || !/^[\w#.-]{1,200}$/.test(text.slice(prefix.length)))
        throw new ValidationError([
          { field: 'cursor', found: show(cursor), allowed: 'the cursor of the page before of this same list' },
        ]);
      return { limit, cursor: text.slice(prefix.length) };
    },
    answer<T, V>({ items, cursor }: PageOf<T>, view: (item: T) => V): { items: V[]; cursor?: string } {
      const seen = { items: items.map(view) };
      return cursor === undefined ? seen : { ...seen, cursor: Buffer.from(prefix + cursor).toString('base64url') };
    },
  };
}

import { expect, test } from 'vitest';
import { fanOut, type Gateway, GoneError } from './fan-out.ts';

const ids = (count: number) => Array.from({ length: count }, (_, i) => `c${i}`);
const posts = (count: number) => ids(count).map((connectionId) => ({ connectionId, text: 'x' }));
const deps = (post: Gateway['post'], forgotten: string[] = []) => ({
  gateway: { post, close: async () => {} },
  forget: async (id: string) => void forgotten.push(id),
  random: () => 0,
});

test('everybody gets it once, at most fifty posts under way', async () => {
  const posted: string[] = [];
  let [under, most] = [0, 0];
  const post = async (id: string) => {
    most = Math.max(most, ++under);
    await new Promise((resolve) => setImmediate(resolve));
    under--;
    posted.push(id);
  };
  expect(await fanOut(deps(post), posts(500))).toEqual([]);
  expect([...posted].sort()).toEqual(ids(500).sort());
  expect(most).toBe(50);
});

test('gone is forgotten and no fault, also where forgetting fails; who stays away after five tries is named', async () => {
  const forgotten: string[] = [];
  let tries = 0;
  const post = async (id: string) => {
    if (id === 'c1') throw new GoneError('gone');
    if (id === 'c2') {
      tries++;
      throw new Error('Rate exceeded');
    }
  };
  expect(await fanOut(deps(post, forgotten), posts(4))).toEqual(['c2']);
  expect([forgotten, tries]).toEqual([['c1'], 5]);
  const forget = () => Promise.reject(new Error('the store is away'));
  expect(await fanOut({ ...deps(post), forget }, [{ connectionId: 'c1', text: 'x' }])).toEqual([]);
});

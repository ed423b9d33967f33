import { createHash } from 'node:crypto';
import { canonicalJson, parseWith, Snapshot } from '@sipfleet/contract';
import { describe, expect, test } from 'vitest';
import { affectedSites, compileSnapshot, departuresAfter } from './compile.ts';
import { configuration, farm, KEY, site } from './configuration.fixture.ts';

const sites = [site('milan'), site('turin')];

describe('compileSnapshot', () => {
  test('is a contract Snapshot in canonical JSON with its SHA-256 as ETag', () => {
    const compiled = compileSnapshot(configuration([...sites, farm('pbx', ['milan'])]), 'milan');
    const snapshot = parseWith(Snapshot, JSON.parse(compiled.body));
    expect(snapshot).toEqual({
      format: 1,
      site: 'milan',
      generation: 3,
      farms: [{ spec: farm('pbx', ['milan']), revision: 3, tokenKeys: [KEY] }],
    });
    expect(compiled.body).toBe(canonicalJson(snapshot));
    expect(compiled.etag).toBe(createHash('sha256').update(compiled.body).digest('hex'));
    expect(compiled.generation).toBe(3);
  });

  test('an unrelated change keeps every byte', () => {
    const before = configuration([...sites, farm('pbx', ['milan'])]);
    const after = configuration([...sites, farm('pbx', ['milan']), farm('other', ['turin']), site('rome')]);
    expect(compileSnapshot(after, 'milan')).toEqual(compileSnapshot(before, 'milan'));
    expect(compileSnapshot(after, 'turin')).not.toEqual(compileSnapshot(before, 'turin'));
  });

  test('farms stand by name, whatever the order they were stored in', () => {
    const compiled = compileSnapshot(
      configuration([...sites, farm('b', ['milan']), farm('a', ['milan', 'turin'])]),
      'milan',
    );
    const names = (JSON.parse(compiled.body) as Snapshot).farms.map(({ spec }) => spec.name);
    expect(names).toEqual(['a', 'b']);
    expect(compiled.generation).toBe(4);
  });

  test('the generation rises when a farm leaves or goes, although less is left', () => {
    const left = configuration([...sites, farm('old', ['milan'])], { gone: { milan: 9 }, moved: { turin: 7 } });
    expect(compileSnapshot(left, 'milan').generation).toBe(9);
    expect(compileSnapshot(left, 'turin').generation).toBe(7);
    expect(compileSnapshot(left, 'constructor').generation).toBe(0);
  });
});

test('a change affects the sites before and after', () => {
  expect(affectedSites(undefined, farm('f', ['b', 'a']))).toEqual(['a', 'b']);
  expect(affectedSites(farm('f', ['a', 'b']), farm('f', ['b', 'c']))).toEqual(['a', 'b', 'c']);
  expect(affectedSites(farm('f', ['a']), undefined)).toEqual(['a']);
});

test('departures add up, and are untouched where no site is left', () => {
  expect(departuresAfter(undefined, undefined, farm('f', ['a']), 1)).toBeUndefined();
  expect(departuresAfter({ x: 1 }, farm('f', ['a', 'b']), farm('f', ['b']), 5)).toEqual({ x: 1, a: 5 });
  expect(departuresAfter({ a: 5 }, farm('f', ['a', 'b']), undefined, 8)).toEqual({ a: 8, b: 8 });
});

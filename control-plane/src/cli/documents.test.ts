import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Fault, formatFault, ValidationError } from '@sipfleet/contract';
import { expect, onTestFinished, test } from 'vitest';
import { parseDocuments, readDocuments } from './documents.ts';
import { CliError, type Io } from './io.ts';

const farm = `kind: Farm
name: pbx
sites: [milan]
listeners:
  - transport: udp
    port: 5060
backends:
  - name: pbx1
    address: 10.0.0.11
  - name: pbx2
    address: 10.0.0.12
    port: 5060
`;

function faultsOf(...texts: string[]): Fault[] {
  try {
    parseDocuments(texts.map((text, i) => ({ file: `f${i + 1}.yaml`, text })));
  } catch (error) {
    if (error instanceof ValidationError) return [...error.faults];
    throw error;
  }
  return [];
}
const at = (fault: Fault) => `${fault.file}:${fault.line} ${fault.field}`;

test('reads several documents of one file and steps over empty ones', () => {
  const documents = parseDocuments([
    { file: 'f.yaml', text: `---\n# nothing\n---\nkind: Site\nname: milan\n---\n${farm}` },
  ]);
  expect(documents.map((d) => [d.resource.kind, d.resource.name, d.line])).toEqual([
    ['Site', 'milan', 4],
    ['Farm', 'pbx', 7],
  ]);
  expect(documents[1]?.lineOf('backends[1].port')).toBe(18);
});

test('reads JSON, alone and as a list', () => {
  const site = JSON.stringify({ kind: 'Site', name: 'rome' }, null, '\t');
  expect(parseDocuments([{ file: 'a.json', text: site }])[0]?.resource).toEqual({ kind: 'Site', name: 'rome' });
  const list = parseDocuments([{ file: 'l.json', text: `[\n${site},\n{"kind":"Site","name":"oslo"}]` }]);
  expect(list.map((d) => [d.resource.name, d.line])).toEqual([
    ['rome', 2],
    ['oslo', 6],
  ]);
});

test.each([
  ['a wrong value', farm.replace('port: 5060\nbackends', 'port: 70000\nbackends'), 'f1.yaml:6 listeners[0].port'],
  ['an unknown field', `${farm}    wieght: 3\n`, 'f1.yaml:13 backends[1].wieght'],
  ['an unknown field with dots', `${farm}a.b: 1\n`, 'f1.yaml:13 a.b'],
  [
    'a missing field, at its parent',
    farm.replace('  - name: pbx2\n    address: 10.0.0.12', '  - name: pbx2'),
    'f1.yaml:10 backends[1].address',
  ],
  ['a missing field, at the document', farm.replace('sites: [milan]\n', ''), 'f1.yaml:1 sites'],
  ['a field that is not supported yet', `${farm}vip: { address: 10.0.0.1/24 }\n`, 'f1.yaml:13 vip'],
  ['a duplicate backend', farm.replace('pbx2', 'pbx1'), 'f1.yaml:10 backends[1].name'],
  ['an unknown kind', `# a comment\n${farm.replace('Farm', 'Barn')}`, 'f1.yaml:2 kind'],
  ['a scalar', 'hello\n', 'f1.yaml:1 '],
  ['a list item that is no mapping', '[]\n---\n- 5\n', 'f1.yaml:3 '],
  ['a value behind an alias', `${farm.replace('sites: [milan]', 'sites: &s [milan, 7]')}`, 'f1.yaml:3 sites[1]'],
])('names file, line and field of %s', (_, text, expected) => {
  expect(faultsOf(text).map(at)).toContain(expected);
});

test.each([
  ['a duplicate key', 'kind: Site\nname: a\nname: b\n', 3],
  ['bad indentation', '---\nkind: Site\n name: a\n', 2],
  ['an open bracket', 'kind: Farm\nsites: [milan\n', 3],
  ['a tab', 'kind: Site\n\tname: a\n', 2],
  ['an unknown tag', 'kind: Site\nname: !secret a\n', 2],
  ['an alias of nothing', 'kind: Site\nname: *a\n', 2],
  ['a key that is no text', 'kind: Site\n? [a]\n: b\n', 2],
  ['a duplicate key of JSON', '{"kind": "Site",\n"name": "a",\n"name": "b"}', 3],
])('%s is one fault with its line', (_, text, line) => {
  const faults = faultsOf(text);
  expect(faults.map((f) => f.line)).toEqual([line]);
  expect(formatFault(faults[0] as Fault)).not.toContain('\n');
});

test('a billion laughs is refused, not expanded', () => {
  let text = 'kind: Site\nname: a\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n';
  for (let i = 1; i < 10; i++) text += `x${i}: &x${i} [${`*x${i - 1}, `.repeat(9)}]\n`;
  expect(faultsOf(text).map((f) => f.allowed)).toEqual(['at most 100 uses of aliases']);
});

test('all faults of all files come at once', () => {
  const faults = faultsOf(
    farm.replace('5060', '0'),
    'kind: Site\nname: Milan\n',
    'a: [\n',
    farm.replace('udp', 'sctp'),
  );
  expect(new Set(faults.map((f) => f.file))).toEqual(new Set(['f1.yaml', 'f2.yaml', 'f3.yaml', 'f4.yaml']));
});

test('the same kind and name twice is a fault that names the first', () => {
  const [fault] = faultsOf('kind: Site\nname: a\n', '---\nkind: Site\nname: b\n---\nkind: Site\nname: a\n');
  expect(at(fault!)).toBe('f2.yaml:6 name');
  expect(fault?.message).toBe('Site a already stands at f1.yaml:1');
});

test('an empty file is a fault', () => {
  expect(faultsOf('# nothing here\n').map(formatFault)).toEqual([
    'f1.yaml: (document): found nothing; allowed: at least one Site, Farm or Secret',
  ]);
});

test('reads directories by name and standard input', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'documents-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  await writeFile(join(dir, 'b.yml'), 'kind: Site\nname: b\n');
  await writeFile(join(dir, 'a.json'), '{"kind":"Site","name":"a"}');
  await writeFile(join(dir, 'notes.txt'), 'not read');
  await writeFile(join(dir, 'latin.yaml.bak'), Buffer.from([0xe9]));
  const io = { cwd: dir, readInput: async () => 'kind: Site\nname: typed\n' } as Io;
  const documents = await readDocuments(['.', '-'], io);
  expect(documents.map((d) => [d.file, d.resource.name])).toEqual([
    ['a.json', 'a'],
    ['b.yml', 'b'],
    ['standard input', 'typed'],
  ]);
  await expect(readDocuments(['c.yaml'], io)).rejects.toThrow(new CliError('c.yaml: no such file or directory'));
  await writeFile(join(dir, 'latin.yaml'), Buffer.from('name: \xe9', 'latin1'));
  await expect(readDocuments(['latin.yaml'], io)).rejects.toThrow('latin.yaml: not UTF-8 text');
});

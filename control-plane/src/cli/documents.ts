import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Fault, HIDDEN, parseResource, type Resource, ValidationError } from '@sipfleet/contract';
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
} from 'yaml';
import { CliError, type Io } from './io.ts';
import { withFiles } from './secret-files.ts';

/** One resource as it stands in a file. */
export interface SourceDocument {
  resource: Resource;
  file: string;
  line: number;
  /** Line of a field in the form of {@link Fault.field}, or of the nearest thing around it that is there. */
  lineOf(field: string): number;
}

interface Source {
  file: string;
  text: string;
  /** What `{ file: … }` in a Secret is relative to; left out: such values are refused. */
  directory?: string | undefined;
}

/** A configuration of ten thousand farms is 10 MB; what is larger is no configuration. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Uses of YAML aliases per document: enough for shared blocks, too few for a "billion laughs". */
const MAX_ALIASES = 100;

/**
 * Reads files, directories (their *.yaml, *.yml and *.json, by name) and standard input (`-`).
 * Throws {@link ValidationError} with every fault of every file at once, {@link CliError} where a file cannot be read.
 */
export async function readDocuments(paths: readonly string[], io: Io): Promise<SourceDocument[]> {
  const sources: Source[] = [];
  for (const path of paths) sources.push(...(await readSources(path, io)));
  return parseDocuments(sources);
}

async function readSources(path: string, io: Io): Promise<Source[]> {
  if (path === '-') return [{ file: 'standard input', text: await io.readInput(), directory: io.cwd }];
  const full = resolve(io.cwd, path);
  try {
    if (!(await stat(full)).isDirectory()) return [await readSource(full, path)];
    const names = (await readdir(full)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
    if (names.length === 0) throw new CliError(`${path}: no *.yaml, *.yml or *.json file in this directory`);
    return await Promise.all(names.map((name) => readSource(join(full, name), join(path, name))));
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const reasons: Record<string, string> = { ENOENT: 'no such file or directory', EACCES: 'permission denied' };
    throw new CliError(`${path}: ${reasons[code ?? ''] ?? message}`, { cause: error });
  }
}

async function readSource(full: string, file: string): Promise<Source> {
  const { size } = await stat(full);
  if (size > MAX_BYTES) throw new CliError(`${file}: ${size} bytes; allowed: at most ${MAX_BYTES}`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(full));
    return { file, text, directory: dirname(full) };
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(`${file}: not UTF-8 text`, { cause: error });
    throw error;
  }
}

/** Texts → resources, in order. Throws {@link ValidationError} with every fault of every text. */
export function parseDocuments(sources: readonly Source[]): SourceDocument[] {
  const documents: SourceDocument[] = [];
  const faults: Fault[] = [];
  for (const source of sources) {
    const before = documents.length + faults.length;
    for (const item of parseSource(source))
      if ('resource' in item) documents.push(item);
      else faults.push(item);
    if (documents.length + faults.length === before)
      faults.push({ file: source.file, field: '', found: 'nothing', allowed: 'at least one Site, Farm or Secret' });
  }
  faults.push(...duplicates(documents));
  if (faults.length > 0) throw new ValidationError(faults);
  return documents;
}

function* parseSource({ file, text, directory }: Source): Generator<SourceDocument | Fault> {
  const lines = new LineCounter();
  // JSON is YAML 1.2: one reader for both, with the same positions.
  const parsed = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    strict: true,
    stringKeys: true,
  });
  for (const document of parsed) {
    // A tag that nobody knows is a mere warning to the parser; here it would silently change what a value means.
    const broken = [...document.errors, ...document.warnings];
    // One slip often raises several errors on its line: the first says it.
    const byLine = new Map(broken.toReversed().map((e) => [lines.linePos(e.pos[0]).line, e.message]));
    for (const [line, message] of [...byLine].sort(([a], [b]) => a - b)) yield syntaxFault(file, text, line, message);
    if (broken.length === 0 && !isEmpty(document)) yield* readDocument({ file, directory }, document, lines);
  }
}

/** Nothing but comments between two `---`. */
const isEmpty = ({ contents }: Document): boolean =>
  contents === null || (isScalar(contents) && contents.value === null && contents.source === '');

function syntaxFault(file: string, text: string, line: number, message: string): Fault {
  // A line of a file with Secrets may be one of theirs.
  const found = /\bSecret\b/.test(text) ? HIDDEN : quoted((text.split('\n')[line - 1] ?? '').trim());
  return {
    file,
    line,
    field: '',
    message: message.replace(/\s*\n[\s\S]*$/, ''),
    found,
    allowed: 'well-formed YAML or JSON, each key once',
  };
}

const quoted = (line: string): string => JSON.stringify(line.length > 60 ? `${line.slice(0, 57)}...` : line);

/** One document holds one resource, or a list of them (what `get -o json` prints). */
function* readDocument(
  { file, directory }: Omit<Source, 'text'>,
  document: Document,
  lines: LineCounter,
): Generator<SourceDocument | Fault> {
  let value: unknown;
  const root = document.contents as Node;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    const alias = danglingAlias(document);
    const line = lines.linePos((alias ?? root).range?.[0] ?? 0).line;
    const { message } = error as Error;
    yield alias
      ? { file, line, field: '', found: `*${alias.source}`, allowed: 'the name of an anchor that stands before it' }
      : { file, line, field: '', message, found: 'aliases', allowed: `at most ${MAX_ALIASES} uses of aliases` };
    return;
  }
  const items = isSeq(root)
    ? root.items.map((node, i) => ({ node: node as Node, input: (value as unknown[])[i] }))
    : [{ node: root, input: value }];
  for (const { node, input } of items) {
    const lineOf = (field: string) => lines.linePos(positionOf(document, node, field)).line;
    try {
      yield { resource: parseResource(withFiles(input, directory)), file, line: lineOf(''), lineOf };
    } catch (error) {
      if (!(error instanceof ValidationError)) throw error;
      for (const fault of error.faults) yield { ...fault, file, line: lineOf(fault.field) };
    }
  }
}

function danglingAlias(document: Document): Alias | undefined {
  let found: Alias | undefined;
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document)) return;
      found = alias;
      return visit.BREAK;
    },
  });
  return found;
}

/** Walks `backends[1].port` down the tree as far as it goes; the offset of the key, or list item, that was reached last. */
function positionOf(document: Document, start: Node, field: string): number {
  let position = start.range?.[0] ?? 0;
  let node: unknown = start;
  let rest = field;
  while (rest !== '') {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      // Keys may hold dots themselves: the longest that fits is the one that is meant.
      const pair = node.items
        .filter(({ key }) => startsWithKey(rest, keyText(key)))
        .sort((a, b) => keyText(b.key).length - keyText(a.key).length)[0];
      if (!pair) return position;
      position = (pair.key as Node).range?.[0] ?? position;
      rest = rest.slice(keyText(pair.key).length).replace(/^\./, '');
      node = pair.value;
      continue;
    }
    const index = /^\[(\d+)\]\.?/.exec(rest);
    const item = isSeq(node) && index ? node.items[Number(index[1])] : undefined;
    if (!item || !index) return position;
    position = (item as Node).range?.[0] ?? position;
    rest = rest.slice(index[0].length);
    node = item;
  }
  return position;
}

const keyText = (key: unknown): string => (isScalar(key) ? String(key.value) : '');

function startsWithKey(field: string, key: string): boolean {
  return key !== '' && field.startsWith(key) && ['', '.', '['].includes(field.charAt(key.length));
}

function duplicates(documents: readonly SourceDocument[]): Fault[] {
  const first = new Map<string, SourceDocument>();
  const faults: Fault[] = [];
  for (const document of documents) {
    const { kind, name } = document.resource;
    const other = first.get(`${kind} ${name}`);
    if (other)
      faults.push({
        file: document.file,
        line: document.lineOf('name'),
        field: 'name',
        message: `${kind} ${name} already stands at ${other.file}:${other.line}`,
        found: JSON.stringify(name),
        allowed: `a name of its own for each ${kind}`,
      });
    else first.set(`${kind} ${name}`, document);
  }
  return faults;
}

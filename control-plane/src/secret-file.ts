import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';

/**
 * What a file holds, without the white space around it; a file that is not there is written with `fresh`, readable by its owner only. It is there whole
 * or not at all: whoever is killed in the middle leaves a draft beside it, and of two that make it at once the first one's stays.
 */
export async function readOrMake(file: string, fresh: string): Promise<{ text: string; made: boolean }> {
  const present = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (present !== undefined) return { text: present.trim(), made: false };
  const draft = `${file}.${randomUUID()}`;
  try {
    await writeFile(draft, `${fresh}\n`, { mode: 0o600, flag: 'wx', flush: true });
    // Unlike rename(2) it does not replace.
    await link(draft, file);
    return { text: fresh, made: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return { text: (await readFile(file, 'utf8')).trim(), made: false };
  } finally {
    await rm(draft, { force: true });
  }
}

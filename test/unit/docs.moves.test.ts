/** The table of moves in the documents names tests that exist, so that none of its rows can lose its proof unseen. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { readStartsTable } from '../helpers/starts.table.ts';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const rows = read('../../docs/moves.md')
  .split('\n')
  .filter((line) => /^\| (`|adopted)/.test(line))
  .map((line) => line.split(' | '));
const shownBy = (row: string[]) =>
  [...(row[3] ?? '').matchAll(/`([\w./-]+)`: \*(.+?)\*(?=<br>| \|$)/g)].map(([, where, name]) => ({
    where: where!,
    name: name!,
  }));

it('every row of docs/moves.md names at least one test, in full', () => {
  expect(rows.length).toBeGreaterThan(20);
  for (const row of rows) {
    const named = shownBy(row);
    expect(named, row[1]).not.toEqual([]);
    expect(named.length, row[1]).toBe((row[3] ?? '').split('<br>').length);
  }
});

it.each(rows.flatMap(shownBy))('$where has a case called: $name', ({ where, name }) => {
  if (where === 'starts.md') return expect([...readStartsTable().keys()]).toContain(name);
  const file = `../${where}.test.ts`;
  expect(existsSync(new URL(file, import.meta.url)), file).toBe(true);
  // Quoted as a name, not merely mentioned.
  const quoted = [`'${name}'`, `"${name}"`, `\`${name}\``];
  expect(quoted.some((text) => read(file).includes(text))).toBe(true);
});

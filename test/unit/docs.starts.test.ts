/** The table of starts in the documents, compared with what is played: no row without a test, no test without a row. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { KILLS } from '../helpers/starts.kills.ts';
import * as byTheHost from '../helpers/starts.moments.ts';
import { COLUMNS, readStartsTable } from '../helpers/starts.table.ts';

it('docs/starts.md has a row for every moment that is played, and a cell for every agent', () => {
  const played = [...Object.values(byTheHost), KILLS].flatMap((moments) => Object.keys(moments));
  const table = readStartsTable();
  expect([...table.keys()].sort()).toEqual(played.map((moment) => moment.replaceAll('`', '')).sort());
  for (const cells of table.values()) {
    expect(Object.keys(cells)).toEqual([...COLUMNS]);
    for (const cell of Object.values(cells)) expect(cell).toMatch(/^([a-z]+ → )*[a-z]+, \d+$/);
  }
});

it('every group of moments is played by a test file', () => {
  const files = ['integration', 'e2e'].flatMap((folder) => {
    const dir = new URL(`../${folder}/`, import.meta.url);
    const starts = readdirSync(dir).filter((file) => file.includes('starts.'));
    return starts.map((file) => readFileSync(new URL(file, dir), 'utf8'));
  });
  for (const group of [...Object.keys(byTheHost), 'KILLS']) {
    const uses = files.filter((text) => text.includes(`import { ${group} }`));
    expect(uses, group).toHaveLength(1);
  }
});

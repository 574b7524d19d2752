/**
 * The table of `docs/starts.md`: what becomes of a job, by the agent on its host and by the moment of the fault. The
 * document is what the tests hold the product to; a cell that no test knows, and a test without a cell, both fail.
 */
import { readFileSync } from 'node:fs';

/** Agents, as the columns name them. */
export const COLUMNS = [
  'Full',
  'A, launcher',
  'B, launcher',
  'C, launcher',
  'A, plain',
  'B, plain',
  'C, plain',
] as const;
export type Column = (typeof COLUMNS)[number];

/** The cells of each row, by its moment and the column's name: `` `lost` → `succeeded`, 1 `` without the marks. */
export function readStartsTable(): Map<string, Record<string, string>> {
  const text = readFileSync(new URL('../../docs/starts.md', import.meta.url), 'utf8');
  const lines = text.split('\n').filter((line) => line.startsWith('| '));
  const cellsOf = (line: string) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim().replaceAll('`', ''));
  const head = lines.findIndex((line) => cellsOf(line)[0] === 'moment of the fault');
  const names = cellsOf(lines[head] ?? '').slice(1);
  const rows = new Map<string, Record<string, string>>();
  for (const line of lines.slice(head + 1)) {
    const [moment = '', ...cells] = cellsOf(line);
    if (cells.length !== names.length) break;
    rows.set(moment, Object.fromEntries(cells.map((cell, i) => [names[i], cell])));
  }
  return rows;
}

/** How commands speak: tables and progress for a terminal, plain lines in a pipe, JSON where it is asked for. */

/** For what a program may read. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Columns as wide as their widest cell; the last one as long as it likes. */
export function printTable(rows: string[][]): void {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  for (const row of rows) {
    const cells = row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)));
    process.stdout.write(`${cells.join('  ')}\n`);
  }
}

/** Of a text that may be long, such as a command in a table. */
export function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

export interface Progress {
  say(text: string): void;
  /** A line that stays, above what is said. */
  note(text: string): void;
  /** Takes the last line away, so that what follows stands alone. */
  clear(): void;
}

/** One line that is written over on a terminal; a line for each change elsewhere. Both on stderr. */
export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  const erase = '\r\x1b[K';
  let last = '';
  return {
    say(text) {
      if (text === last) return;
      last = text;
      stream.write(stream.isTTY ? `${erase}${text}` : `${text}\n`);
    },
    note(text) {
      stream.write(stream.isTTY ? `${erase}${text}\n${last}` : `${text}\n`);
    },
    clear() {
      if (stream.isTTY && last !== '') stream.write(erase);
      last = '';
    },
  };
}

/** For a script whose every word is mailed to somebody. */
export function createSilence(): Progress {
  return { say: () => {}, note: () => {}, clear: () => {} };
}

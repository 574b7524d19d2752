/**
 * A program on a terminal of its own (util-linux' `script`), as somebody sits before it: keys in, and what is drawn out.
 *
 *     const run = startOnTerminal(['bin/sluice', 'run', ...], env);
 *     await until(() => run.screen().includes('running'));
 *     run.type(CTRL_C);
 *     await run.ended   // its exit code
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export const CTRL_C = '\x03';

export interface OnTerminal {
  /** All that was written, with the sequences that move the cursor. */
  raw(): string;
  /** The same as plain lines, those that were drawn over too. */
  screen(): string;
  type(keys: string): void;
  ended: Promise<number>;
}

/** @param size columns and rows; 0 for a terminal that does not know them */
export function startOnTerminal(
  words: string[],
  env: Record<string, string>,
  size: { columns: number; rows: number } = { columns: 120, rows: 30 },
): OnTerminal {
  const command = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const line = `stty cols ${size.columns} rows ${size.rows}; exec ${command}`;
  const child = spawn('script', ['-qefc', line, '/dev/null'], {
    env: { ...env, SHELL: '/bin/sh', TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  return {
    raw: () => output,
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it is about
    screen: () => output.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r\n', '\n'),
    type: (keys) => void child.stdin.write(keys),
    ended: once(child, 'close').then(([code]) => code as number),
  };
}

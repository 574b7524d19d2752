/** How the demonstration speaks: what is done with `$` before it, what comes of it indented. */

const began = Date.now();
const bold = (text: string) => (process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text);

export function heading(text: string): void {
  console.log(`\n${bold(`== ${text}`)}`);
}

/** One thing that happened, with the seconds since the start. */
export function say(text: string): void {
  const seconds = ((Date.now() - began) / 1_000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${text}`);
}

export function showOutput(text: string): void {
  const lines = text.trimEnd().split('\n');
  for (const line of lines.slice(0, 12)) console.log(`         | ${line}`);
  if (lines.length > 12) console.log(`         | ... ${lines.length - 12} more lines`);
}

/** How the person who reads a message can call this program: `sluice`, or the script of the checkout it runs from. */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';

export function commandName(): string {
  const root = join(import.meta.dirname, '../..');
  if (!existsSync(join(root, 'src/cli/main.ts'))) return 'sluice';
  const script = relative(process.cwd(), join(root, 'bin/sluice'));
  return script.startsWith('../..') ? join(root, 'bin/sluice') : script;
}

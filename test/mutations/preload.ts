/**
 * Preloaded into a program (`node --import`): changes the one source file of the mutation that SLUICE_TEST_MUTATION
 * names. Without a name, with an unknown one, or where the text to change is not there once, the program does not start:
 * a mutation that changed nothing would pass for one that nobody noticed.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MUTATIONS, type Mutation } from './mutations.ts';

const name = process.env.SLUICE_TEST_MUTATION ?? '';
if (!Object.hasOwn(MUTATIONS, name)) throw new Error(`there is no mutation "${name}"`);
const { file, find, replace }: Mutation = MUTATIONS[name as keyof typeof MUTATIONS];
const mutated = new URL(`../../${file}`, import.meta.url);
change(readFileSync(mutated, 'utf8'));

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (pathToFileURL(fileURLToPath(mutated)).href !== url) return loaded;
    return { ...loaded, source: change(String(loaded.source)) };
  },
});

function change(source: string): string {
  const times = source.split(find).length - 1;
  if (times !== 1) throw new Error(`${file}: what "${name}" changes occurs ${times} times: ${find}`);
  return source.replace(find, () => replace);
}

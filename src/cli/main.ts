/**
 * The command line's first file. It loads little before it turns the compile cache on, so that everything after it
 * starts from compiled code. The cache is the checkout's or package's own: one in a shared /tmp could be anybody's.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

enableCompileCache(join(import.meta.dirname, '../../.cache/compile'));
const { run } = await import('./program.ts');
await run(process.argv);

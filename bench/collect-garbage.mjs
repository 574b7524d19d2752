/**
 * Loaded into a worker before its program (`--import`, with `--expose-gc`): when told to by SIGUSR2 it collects garbage
 * and writes to the file of BENCH_MEMORY what is left, so that what is measured is what the process keeps, and not when
 * V8 last found time to collect.
 */
import { writeFileSync } from 'node:fs';

process.on('SIGUSR2', () => {
  globalThis.gc?.();
  writeFileSync(process.env.BENCH_MEMORY ?? '', JSON.stringify(process.memoryUsage()));
});

/**
 * `npm run bench [-- --short] [SCENARIO...]`: measures what the documents claim, side by side in one run, because machines
 * are noisy: trust the ratios. Everything runs on loopback, is bounded in time, and is stopped at the end.
 */
import { cpus } from 'node:os';
import type { Scenario } from './scenario.ts';
import { table } from './table.ts';

const SCENARIOS: Record<string, () => Promise<Scenario>> = {
  accept: () => import('./accept.ts'),
  batch: () => import('./batch.ts'),
  clush: () => import('./clush.ts'),
  'end-to-end': () => import('./end-to-end.ts'),
  fairness: () => import('./fairness.ts'),
  fleet: () => import('./fleet.ts'),
  folding: () => import('./folding.ts'),
  latency: () => import('./latency.ts'),
  recovery: () => import('./recovery.ts'),
  waiting: () => import('./waiting.ts'),
};

const short = process.argv.includes('--short');
const wanted = process.argv.slice(2).filter((word) => word !== '--short');
const unknown = wanted.filter((name) => !(name in SCENARIOS));
if (unknown.length > 0) {
  console.error(`no scenario ${unknown.join(', ')}; there are: ${Object.keys(SCENARIOS).join(', ')}`);
  process.exit(2);
}
console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model.trim()})`);
for (const [name, load] of Object.entries(SCENARIOS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const { run } = await load();
  console.log(`\n## ${name}\n`);
  console.log(table(await run({ short })));
}

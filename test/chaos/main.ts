/**
 * `npm run chaos -- [--minutes N] [--seed S] [--short] [--sentinel]`: all promises about jobs, on real processes, while everything is
 * killed, frozen, cut off and filled up. docs/reliability.md says what is promised and what is not covered.
 *
 * The same seed makes the same faults at the same times. Ends with 1 if any promise broke, and says which, with evidence.
 */
import { parseArgs } from 'node:util';
import { MUTATIONS, type MutationName } from '../mutations/mutations.ts';
import { writeCiReport } from './ci.ts';
import { plansOf, WORLDS } from './plans.ts';
import { keepEvidence, tables, tellBreaches } from './report.ts';
import { type RunResult, run } from './run.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '15' },
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    short: { type: 'boolean', default: false },
    // The second world alone.
    sentinel: { type: 'boolean', default: false },
    // One of test/mutations: a promise is broken on purpose, and this has to say which.
    mutation: { type: 'string', default: '' },
    rate: { type: 'string', default: '16' },
    every: { type: 'string', default: '1.6' },
  },
});

if (values.mutation !== '' && !Object.hasOwn(MUTATIONS, values.mutation)) {
  console.error(`no mutation "${values.mutation}"; there are: ${Object.keys(MUTATIONS).join(', ')}`);
  process.exit(2);
}
const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    console.error(`${signal}: ending what was started`);
    abort.abort();
  });
}

const minutes = values.short ? 1.5 : Number(values.minutes);
const seed = Number(values.seed);
console.log(
  `seed ${seed}; again: npm run chaos -- ${values.short ? '--short' : `--minutes ${minutes}`} --seed ${seed}`,
);

const results: RunResult[] = [];
const said: string[] = [];
const plans = plansOf({
  ...{ seed, minutes, worlds: values.sentinel ? ['sentinels'] : WORLDS },
  ...{ perSecond: Number(values.rate), everyMs: Number(values.every) * 1_000 },
  mutation: Object.hasOwn(MUTATIONS, values.mutation) ? (values.mutation as MutationName) : null,
});
for (const plan of plans) {
  if (abort.signal.aborted) break;
  const judged = run(plan, abort.signal, async (result) => {
    results.push(result);
    said.push(...result.world.missing.map((what) => `left out in "${plan.name}": ${what}`));
    if (result.breaches.length === 0) return;
    said.push(
      `"${plan.name}", seed ${seed}:`,
      ...tellBreaches(result),
      `evidence: ${await keepEvidence(result)}`,
    );
  });
  // What fails because all of it is being ended says nothing.
  await judged.catch((error) => {
    if (!abort.signal.aborted) throw error;
  });
}
if (results.length > 0) console.log(`\n${tables(results)}\n`);
// Last, where whoever reads the end of a log finds it.
for (const line of said) console.log(line);
if (process.env.SLUICE_CI_REPORTS) writeCiReport(process.env.SLUICE_CI_REPORTS, results);
const isBroken = results.some(({ breaches }) => breaches.length > 0);
// Not by waiting for every socket of a peer that was killed.
process.exit(abort.signal.aborted ? 130 : isBroken ? 1 : 0);

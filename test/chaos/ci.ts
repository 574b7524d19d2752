/** The verdict for `.ci/run`: each promise of each world counts as one test, in the words of script/ci-summary.ts. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../../script/ci-reporter.ts';
import { tellBreach } from './report.ts';
import type { RunResult } from './run.ts';
import { PROMISES } from './verdict.ts';

const MAX_LINES = 12;

/** @param directory where the report goes */
export function writeCiReport(directory: string, results: readonly RunResult[]): void {
  const report: Report = { passed: 0, failures: [], repeated: [], running: [] };
  for (const result of results) {
    for (const promise of PROMISES) {
      const found = result.breaches.filter((breach) => breach.promise === promise);
      const name = `chaos, "${result.plan.name}", seed ${result.plan.seed} > ${promise}`;
      const lines = found.flatMap((breach) => tellBreach(result, breach)).slice(0, MAX_LINES);
      if (found.length === 0) report.passed++;
      else report.failures.push({ name, lines });
    }
  }
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${process.pid}.json`), JSON.stringify(report));
}

/**
 * The end of a run of `.ci/run`, for whoever sees only the end: which step broke, what failed and why, and the last
 * line `N passed, N failed`. Ends with 1 if anything failed.
 *
 *   node script/ci-summary.ts DIRECTORY STEP=PARTS...
 *
 * DIRECTORY/STEP/*.json are the reports of script/ci-reporter.ts, DIRECTORY/STEP.log is what the step wrote. PARTS says
 * what broke in it, separated by commas, or nothing. A part that broke without a failed test is one failure: a check, a
 * file that does not load, a time that ran out.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Report } from './ci-reporter.ts';

/** So many failures are told with their reasons, the rest by name only: the whole must fit into a log's end. */
const TOLD_IN_FULL = 12;

const [directory = '', ...steps] = process.argv.slice(2);
let passed = 0;
const failures: Report['failures'] = [];
const repeated: string[] = [];
const broken: string[] = [];

for (const argument of steps) {
  const [step = '', parts = ''] = argument.split('=');
  const reports = readReports(join(directory, step));
  const found = reports.flatMap((report) => report.failures);
  passed += reports.reduce((sum, report) => sum + report.passed, 0);
  failures.push(...found);
  repeated.push(...reports.flatMap((report) => report.repeated));
  if (parts !== '') broken.push(`${step}: ${parts.replaceAll(',', ', ')}`);
  for (const part of parts.split(',').filter((name) => name !== '')) {
    const isTold = /^(vitest|agent-bundle|unit-|test_|exit code)/.test(part) && found.length > 0;
    if (!isTold) failures.push({ name: `${step}: ${part}`, lines: whatIsKnown(step, part, reports) });
  }
}

if (repeated.length > 0) {
  console.log('\nWhat failed once, and passed when it was tried again:');
  for (const name of repeated) console.log(`- ${name}`);
}
if (failures.length > 0) {
  console.log(`\nWhat failed, in ${broken.join('; ') || 'tests'}:`);
  for (const [i, { name, lines }] of failures.entries()) {
    console.log(`- ${name}`);
    if (i < TOLD_IN_FULL) for (const line of lines) console.log(`    ${line.slice(0, 300)}`);
  }
}
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;

function readReports(folder: string): Report[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Report);
}

/** For a part that broke without a failed test: the files that never ended, and the end of its part of the log. */
function whatIsKnown(step: string, part: string, reports: Report[]): string[] {
  const running = reports.flatMap((report) => report.running).map((file) => `still running: ${file}`);
  const text = stripVTControlCharacters(readFileSync(join(directory, `${step}.log`), 'utf8'));
  const lines = writtenBy(part, text)
    .split('\n')
    .filter((line) => line.trim() !== '');
  return [...running, ...lines.slice(-15)];
}

function writtenBy(part: string, log: string): string {
  // script/test begins with the checks: what vitest begins with is their end.
  if (part === 'check') return log.split(/^ RUN /m)[0] ?? '';
  // script/test-airflow names each part before it begins.
  const parts = log.split(/^test-airflow: /m);
  return parts.find((written) => written.startsWith(`${part}\n`)) ?? log;
}

/**
 * A vitest reporter for `.ci/run`: writes what passed, what failed and why to a file of this process in the directory
 * SLUICE_CI_REPORTS, for script/ci-summary.ts.
 *
 * vitest's own JSON report tells neither what failed in a hook of a suite nor an error outside of all tests, and
 * nothing at all where the run was killed. This one is written anew after every file, with the files still running.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestCase, TestModule, TestSuite } from 'vitest/node';

/** What script/ci-summary.ts reads. */
export interface Report {
  passed: number;
  /** A suite that failed in its hooks is one of them, however many tests it kept from running. */
  failures: { name: string; lines: string[] }[];
  /** Tests that failed, and passed when they were tried again. */
  repeated: string[];
  /** Files that had begun and not ended. */
  running: string[];
}

const MAX_LINES = 8;

export default class CiReporter implements Reporter {
  #passed = 0;
  #failures: Report['failures'] = [];
  #repeated: string[] = [];
  #running = new Set<string>();

  onTestModuleStart(module: TestModule): void {
    this.#running.add(module.relativeModuleId);
    this.#write();
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result();
    if (state === 'passed') this.#passed++;
    if (test.diagnostic()?.flaky) this.#repeated.push(`${test.module.relativeModuleId} > ${test.fullName}`);
    if (state === 'failed') this.#fail(`${test.module.relativeModuleId} > ${test.fullName}`, errors);
  }

  onTestSuiteResult(suite: TestSuite): void {
    const errors = suite.errors();
    if (errors.length > 0)
      this.#fail(`${suite.module.relativeModuleId} > ${suite.fullName} (the suite)`, errors);
  }

  onTestModuleEnd(module: TestModule): void {
    const errors = module.errors();
    if (errors.length > 0) this.#fail(`${module.relativeModuleId} (the file)`, errors);
    this.#running.delete(module.relativeModuleId);
    this.#write();
  }

  onTestRunEnd(_modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    for (const error of unhandled) this.#fail('an error outside of all tests', [error]);
    this.#write();
  }

  #fail(name: string, errors: readonly SerializedError[]): void {
    this.#failures.push({ name, lines: errors.slice(0, 2).flatMap(firstLines) });
    this.#write();
  }

  #write(): void {
    const directory = process.env.SLUICE_CI_REPORTS;
    if (!directory) return;
    mkdirSync(directory, { recursive: true });
    const report: Report = {
      passed: this.#passed,
      failures: this.#failures,
      repeated: this.#repeated,
      running: [...this.#running],
    };
    writeFileSync(join(directory, `${process.pid}.json`), JSON.stringify(report));
  }
}

/** The message, what was compared, the cause, and the first line of ours that it came through. */
function firstLines(error: SerializedError): string[] {
  const cause = error.cause ? [`caused by ${error.cause.message ?? JSON.stringify(error.cause)}`] : [];
  const ours = (error.stack ?? '').split('\n').find((line) => /^\s*at .*(test|src)\//.test(line));
  const message = linesOf(`${error.name ?? 'Error'}: ${error.message}`);
  const differences = linesOf(typeof error.diff === 'string' ? error.diff : '').filter((line) =>
    /^[-+]/.test(line),
  );
  const told = [
    ...message.slice(0, MAX_LINES),
    ...differences.slice(0, MAX_LINES),
    ...cause.flatMap(linesOf),
  ];
  return [...told.slice(0, 2 * MAX_LINES), ...(ours ? [ours.trim()] : [])];
}

function linesOf(text: string): string[] {
  return stripVTControlCharacters(text)
    .split('\n')
    .filter((line) => line.trim() !== '');
}

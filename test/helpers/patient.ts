/**
 * A command that counts its starts in a file of its own and runs until it is let go, so that a test decides what
 * happens to its host meanwhile.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.ts';

export type Patient = Awaited<ReturnType<typeof createPatient>>;

/** @param code what it ends with, in a way that a plain Base agent's script outlives */
export async function createPatient(code: number) {
  const dir = await mkdtemp(join(tmpdir(), 'patient-'));
  const [begun, goOn] = [join(dir, 'begun'), join(dir, 'go-on')];
  const starts = () => (existsSync(begun) ? readFileSync(begun, 'utf8').split('\n').length - 1 : 0);
  return {
    command: `echo $$ >> ${begun}; until [ -e ${goOn} ]; do sleep 0.05; done; (exit ${code})`,
    starts,
    begun: () => until(() => starts() > 0, { what: 'the command to begin' }),
    letGo: () => writeFileSync(goOn, ''),
    /** The process of its last start. */
    pid: () => Number(readFileSync(begun, 'utf8').trim().split('\n').at(-1)),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

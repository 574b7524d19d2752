/** What a run shows: its faults by kind, the counts, and for each broken promise the evidence that a person needs. */
import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Row, table } from '../../bench/table.ts';
import { isOver } from '../../src/job/states.ts';
import type { RunResult } from './run.ts';
import type { Breach, PromiseName } from './verdict.ts';

/** The counts of one world, one row of the table at the end. */
export function countsOf({ plan, world, faults, ended, breaches, settleSeconds }: RunResult): Row {
  const jobsWith = (...promises: PromiseName[]) => {
    const found = breaches.filter(({ promise }) => promises.includes(promise));
    return new Set(found.map(({ job, what }) => job ?? what)).size;
  };
  const lostTruly = ended.filter(({ job }) => job?.state === 'lost').length;
  const shown: PromiseName[] = [
    'nothing lost',
    'started at most once',
    'every end is true',
    'every end is told',
  ];
  return {
    world: plan.name,
    seed: plan.seed,
    faults: faults.length,
    jobs: ended.length,
    starts: ended.reduce((sum, { ran }) => sum + ran.starts.length, 0),
    'asked again': world.ledger.repeated(),
    lost: jobsWith('nothing lost'),
    doubled: jobsWith('started at most once'),
    'false failures': jobsWith('every end is true'),
    undelivered: jobsWith('every end is told'),
    other: breaches.filter(({ promise }) => !shown.includes(promise)).length,
    '`lost` in truth': lostTruly,
    'settled in s': settleSeconds,
  };
}

export function faultsOf(results: RunResult[]): Row[] {
  const counts = new Map<string, Row>();
  for (const { plan, faults } of results) {
    for (const { kind, group } of faults) {
      const name = `${group}: ${kind}`;
      const row = counts.get(name) ?? {
        fault: name,
        ...Object.fromEntries(results.map((one) => [one.plan.name, 0])),
      };
      row[plan.name] = Number(row[plan.name]) + 1;
      counts.set(name, row);
    }
  }
  return [...counts.values()].toSorted((a, b) => String(a.fault).localeCompare(String(b.fault)));
}

export function tables(results: RunResult[]): string {
  return `${table(faultsOf(results))}\n\n${table(results.map(countsOf))}`;
}

const TOLD = 5;

/** Writes all of it to files that stay, and a little of it to people. @returns where the files are */
export async function keepEvidence(result: RunResult): Promise<string> {
  const { plan, world, faults, ended, breaches } = result;
  const dir = await mkdtemp(join(tmpdir(), `sluice-chaos-evidence-`));
  const write = (name: string, lines: string[]) => writeFile(join(dir, name), `${lines.join('\n')}\n`);
  await write(
    'faults',
    faults.map((fault) => JSON.stringify(fault)),
  );
  await write(
    'breaches',
    breaches.map((breach) => JSON.stringify(breach)),
  );
  for (const { name, log } of world.gateway.processes.values()) await write(`${name}.log`, [...log]);
  const jobs = new Set(breaches.flatMap(({ job }) => job ?? []));
  for (const id of jobs) {
    await write(`${id}`, timeline(result, id));
    await copyOfHost(result, id, dir);
  }
  await write(
    'jobs',
    ended.map(({ id, entry, job }) => [id, entry.key, entry.host, job?.state].join(' ')),
  );
  await write('plan', [JSON.stringify({ seed: plan.seed, world: plan.name, forMs: plan.forMs })]);
  return dir;
}

/** What its host has on its disk of its first attempt. */
async function copyOfHost({ ended, world }: RunResult, id: string, dir: string): Promise<void> {
  const entry = ended.find((one) => one.id === id)?.entry;
  const host = world.hosts.find(({ name }) => name === entry?.host);
  if (!host) return;
  const token = `${id}-1`;
  await cp(join(host.jobsDir, token), join(dir, token), { recursive: true }).catch(() => undefined);
}

/** The broken promises, a few breaches of each, and of each job what happened to it. */
export function tellBreaches(result: RunResult): string[] {
  const { breaches } = result;
  const promises = [...new Set(breaches.map(({ promise }) => promise))];
  return promises.flatMap((promise) => {
    const found = breaches.filter((breach) => breach.promise === promise);
    const lines = found.slice(0, TOLD).flatMap((breach) => tellBreach(result, breach));
    return [`BROKEN: ${promise} (${found.length})`, ...lines, ...(found.length > TOLD ? ['  ...'] : [])];
  });
}

export function tellBreach(result: RunResult, { job, what }: Breach): string[] {
  return job ? [`  ${job} ${what}`, `    ${historyOf(result, job)}`] : [`  ${what}`];
}

function historyOf({ ended }: RunResult, id: string): string {
  const one = ended.find((candidate) => candidate.id === id);
  const events = (one?.events ?? []).map(({ state, at, why }) => `${at?.slice(11, 23)} ${state} (${why})`);
  const starts = (one?.ran.starts ?? []).map((at) => new Date(at * 1_000).toISOString().slice(11, 23));
  return `${events.join(', ')}; started on its host: ${starts.join(', ') || 'never'}`;
}

/** All that is known of a job, in the order of time where there is one. */
function timeline({ world, ended, faults }: RunResult, id: string): string[] {
  const one = ended.find((candidate) => candidate.id === id);
  const lines = [...world.gateway.processes.values()].flatMap(({ log }) =>
    log.filter((line) => line.includes(id)),
  );
  const host = faults.filter(({ target }) => one && target.startsWith(one.entry.host));
  return [
    JSON.stringify(one?.job),
    ...(one?.events ?? []).map((event) => JSON.stringify(event)),
    `host: ${JSON.stringify(one?.ran)}`,
    `told: ${JSON.stringify(world.ledger.tellings.get(id))}`,
    `asked: ${JSON.stringify(one?.entry)}`,
    ...lines,
    'faults to its host:',
    ...host.map((fault) => JSON.stringify(fault)),
    ...(one?.job && isOver(one.job.state) ? [] : ['it has no end']),
  ];
}

/**
 * One cell of the table of starts, played: a host behind a door, a job whose command adds a line to a file of its own,
 * and what became of both in the end. Lines are counted on the host, states are read from the job's events.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Job, JobEvent } from '../../src/job/record.ts';
import { isOver, type State } from '../../src/job/states.ts';
import { type Door, type HeldStart, openDoor } from './starts.door.ts';
import type { FleetAgent } from './starts.fleet.ts';
import { newJob, type Stores } from './stores.ts';
import { until } from './until.ts';
import { runToEnd, stateOf } from './workers.ts';

/** Long enough that a job is seen running, short enough to wait for. */
const AFTERWARDS = 'sleep 0.3';

export interface Scene {
  stores: Stores;
  host: string;
  door: Door;
  agent: FleetAgent;
  submit(fields?: Partial<Job>): Promise<Job>;
  /** Once the job is over. */
  ended(id: string): Promise<Job>;
  state(id: string, state: State): Promise<Job>;
  /** Gives the agent a start that was held up, and waits until what comes of it there is over. */
  forwardLate(start: HeldStart): Promise<void>;
  /** A lost job is asked about every minute; here at once. Waits until the host has said what it knows. */
  askAboutLost(id: string): Promise<void>;
  /** How often the command was started so far. */
  starts(): Promise<number>;
}

/** What happens in one cell: begins with a host that is known and idle, ends once nothing more is to happen. */
export type Moment = (scene: Scene) => Promise<unknown>;
export type Moments = Record<string, Moment>;

/**
 * @param stores of a gateway whose workers run, or will be run by the moment
 * @param known whether the gateway is to know the host before the moment begins
 * @returns the cell as the document has it, such as `queued → succeeded, 1`
 */
export async function play(
  moment: Moment,
  { stores, host, agent, known }: { stores: Stores; host: string; agent: FleetAgent; known: boolean },
): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'starts-'));
  const file = join(dir, 'lines');
  const door = await openDoor(agent, file);
  const ids: string[] = [];
  const starts = async () => (await readFile(file, 'utf8').catch(() => '')).split('\n').length - 1;
  const scene: Scene = {
    ...{ stores, host, agent, door, starts },
    async submit(fields = {}) {
      const { command = AFTERWARDS } = fields;
      const job = await stores.submit(
        newJob({ host, poll_interval: 1, ...fields, command: `echo started >> ${file}; ${command}` }),
      );
      ids.push(job.id);
      return job;
    },
    ended: (id) => over(stores, id),
    askAboutLost: (id) => askAboutLost(stores, host, id),
    state: (id, state) => stateOf(stores, id, state, 40_000),
    async forwardLate(start) {
      const { status, body } = await start.forward();
      const { job_id } = JSON.parse(body) as { job_id?: string };
      // Refused, for a tombstone: nothing comes of it.
      if (status === 200 && job_id) await agent.endOf(job_id);
    },
  };
  try {
    const { address, token, fingerprint } = door;
    await stores.hosts.put(host, { address, token, tls: { fingerprint }, launcher: agent.launcher });
    if (known) await runToEnd(stores, { host, command: 'true' });
    await moment(scene);
    const id = ids[0]!;
    await over(stores, id);
    if (known) await askAboutLost(stores, host, id);
    if (door.failures.length > 0) throw door.failures[0];
    return cellOf(await stores.jobs.events(id), await starts());
  } finally {
    await door.close();
    await rm(dir, { recursive: true, force: true });
  }
}

const over = (stores: Stores, id: string) =>
  until(
    async () => {
      const job = await stores.jobs.get(id);
      return job && isOver(job.state) && job;
    },
    { timeoutMs: 60_000, what: `the end of ${id}` },
  );

async function askAboutLost(stores: Stores, host: string, id: string): Promise<void> {
  if ((await stores.jobs.get(id))?.state !== 'lost') return;
  await stores.followed.askAllNow(host);
  await stores.wake.follow(host);
  await until(async () => {
    const job = await stores.jobs.get(id);
    if (job?.state !== 'lost') return true;
    return (job.next_poll_at ?? 0) > (await stores.jobs.now()) + 30_000;
  });
}

/** What came after the first `dispatching`: where it went back to, and its ends. */
function cellOf(events: JobEvent[], starts: number): string {
  const sent = events.findIndex(({ state }) => state === 'dispatching');
  const path = events
    .slice(sent)
    .map(({ state }) => state)
    .filter((state) => state === 'queued' || isOver(state));
  const steps = path.filter((state, i) => state !== path[i - 1]);
  return `${steps.join(' → ')}, ${starts}`;
}

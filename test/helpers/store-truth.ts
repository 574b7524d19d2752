/**
 * What a gateway's Redis says of itself: whether its records, indexes and places agree with each other, and what is
 * left once every job is over. Both are lists of sentences; nothing wrong is an empty list.
 *
 * They read one key after the other: ask while nobody writes.
 */
import type { Job } from '../../src/job/record.ts';
import { isOver, STATES, type State } from '../../src/job/states.ts';
import { idAt, placeOf } from '../../src/store/places.ts';
import { QUEUE_NAMES } from '../../src/store/queues.ts';
import type { Stores } from './stores.ts';

type Parts = Pick<Stores, 'redis' | 'keys' | 'jobs'>;

const ACTIVE: readonly State[] = ['dispatching', 'running', 'unreachable', 'canceling'];
const ASKED_ABOUT: readonly State[] = ['running', 'unreachable', 'canceling'];

/** Where records, indexes and places contradict each other. */
export async function findContradictions(parts: Parts): Promise<string[]> {
  const { redis, keys, jobs } = parts;
  const ids = await redis.zrange(keys.jobsAll, 0, '-1');
  const records = await jobs.getMany(ids);
  const all = records.filter((job) => job !== null);
  const wrong = ids.filter((_, i) => records[i] === null).map((id) => `${id} is listed and has no record`);
  const byState = new Map<string, string>();
  for (const state of STATES) {
    for (const id of await redis.zrange(keys.jobsByState(state), 0, '-1')) {
      if (byState.has(id)) wrong.push(`${id} is in the indexes of ${byState.get(id)} and ${state}`);
      byState.set(id, state);
    }
  }
  for (const id of byState.keys())
    if (!ids.includes(id)) wrong.push(`${id} is in an index and not in the list of all`);
  for (const job of all) {
    if (byState.get(job.id) !== job.state)
      wrong.push(`${job.id} is ${job.state}, its index ${byState.get(job.id)}`);
    wrong.push(...(await wrongAbout(parts, job)));
  }
  for (const host of new Set(all.map((job) => job.host))) {
    wrong.push(
      ...(await wrongAt(
        parts,
        host,
        all.filter((job) => job.host === host),
      )),
    );
  }
  return wrong;
}

async function wrongAbout({ redis, keys, jobs }: Parts, job: Job): Promise<string[]> {
  const { id, state, host, created_by, version } = job;
  const wrong: string[] = [];
  const isIn = async (key: string) => (await redis.zscore(key, id)) !== null;
  const mustBe = async (key: string, expected: boolean) => {
    if ((await isIn(key)) !== expected) wrong.push(`${id} (${state}) is ${expected ? 'not ' : ''}in ${key}`);
  };
  const events = await jobs.events(id);
  const versions = events.map((event) => event.version);
  if (versions.some((one, i) => one !== i + 1) || versions.length !== version) {
    wrong.push(`${id} has version ${version} and events ${versions}`);
  }
  if (events.at(-1)?.state !== state) wrong.push(`${id} is ${state}, its last event ${events.at(-1)?.state}`);
  await mustBe(keys.jobsByOwner(created_by), true);
  await mustBe(keys.jobsByHost(host), true);
  await mustBe(keys.activeJobs(host), ACTIVE.includes(state));
  await mustBe(keys.expiring, isOver(state));
  await mustBe(keys.deadlines, state === 'queued' && job.attempt <= 1);
  if (state !== 'lost') await mustBe(keys.followed(host), ASKED_ABOUT.includes(state));
  return wrong;
}

/** A job that waits, or whose start is under way, is in somebody's hands: in the mailbox, lined up, or in a slot. */
async function wrongAt({ redis, keys }: Parts, host: string, jobs: Job[]): Promise<string[]> {
  const wrong: string[] = [];
  const mailbox = await redis.zrange(keys.mailbox(host), 0, '-1');
  const ready = await redis.zrange(keys.ready(host), 0, '-1');
  const starts = await startsAt(redis.zrange(keys.slots(host), 0, '-1'));
  for (const job of jobs) {
    const place = placeOf(job);
    const hands = [mailbox, ready, starts].map((places) => places.filter((each) => each === place).length);
    const [waits = 0, linedUp = 0, held = 0] = hands;
    const isPlaced = job.state === 'queued' || job.state === 'dispatching';
    if (isPlaced && waits + linedUp + held === 0) wrong.push(`${job.id} (${job.state}) is in nobody's hands`);
    if (waits + linedUp > 1) wrong.push(`${job.id} waits twice`);
  }
  const known = new Set(jobs.map(({ id }) => id));
  const members = [...mailbox, ...ready, ...starts].map(idAt);
  const others = [
    ...(await redis.zrange(keys.activeJobs(host), 0, '-1')),
    ...(await redis.zrange(keys.followed(host), 0, '-1')),
  ];
  for (const id of [...members, ...others])
    if (!known.has(id)) wrong.push(`${id} has a place at ${host} and no record`);
  const mustBe = async (key: string, expected: boolean) => {
    const found = (await redis.zscore(key, host)) !== null;
    if (found !== expected) wrong.push(`${host} is ${expected ? 'not ' : ''}in ${key}`);
  };
  if (members.length > 0) await mustBe(keys.armed, true);
  await mustBe(keys.hostsFollowed, (await redis.zcard(keys.followed(host))) > 0);
  return wrong;
}

async function startsAt(holders: Promise<string[]>): Promise<string[]> {
  return (await holders).flatMap((holder) => /^start:[^:]+:(.+)$/.exec(holder)?.[1] ?? []);
}

/** What is left of work, with every job over and told of. */
export async function findLeftovers({ redis, keys }: Pick<Parts, 'redis' | 'keys'>): Promise<string[]> {
  const left: string[] = [];
  const places = /:(waiting|ready|turns|active|followed|requests)$/;
  for (const key of await redis.keys(`${keys.prefix}:host:*`)) if (places.test(key)) left.push(key);
  const lists = [keys.armed, keys.hostsFollowed, keys.deadlines, keys.outbox, keys.deliveriesDue];
  const leases = await redis.keys(`${keys.prefix}:lease:*`);
  left.push(...leases.filter((key) => key !== keys.lease('sweep') && key !== keys.lease('survey')));
  left.push(
    ...(await redis.keys(`${keys.deliveriesDue}:*`)),
    ...(await redis.keys(keys.deliveriesPending('*'))),
  );
  for (const queue of QUEUE_NAMES) {
    // `repeat` are the hosts that are asked.
    const sets = ['wait', 'active', 'delayed', 'prioritized', 'paused', 'repeat', 'failed'];
    lists.push(...sets.map((name) => `${keys.queuePrefix}:${queue}:${name}`));
  }
  for (const key of lists) if ((await redis.exists(key)) === 1) left.push(key);
  return left;
}

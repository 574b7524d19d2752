/**
 * What a gateway's Redis says of itself: whether its records, indexes and places agree with each other, and what is
 * left once every job is over. Both are lists of sentences; nothing wrong is an empty list. Everything is read at one
 * moment, so it may be asked while others write.
 */
import type { Job } from '../../src/job/record.ts';
import { startBy } from '../../src/job/start-deadline.ts';
import { isOver, STATES, type State } from '../../src/job/states.ts';
import { decodeJob } from '../../src/store/jobs/codec.ts';
import { idAt, placeOf } from '../../src/store/mailbox/places.ts';
import { QUEUE_NAMES } from '../../src/store/queues.ts';
import type { Stores } from './stores.ts';

type Parts = Pick<Stores, 'redis' | 'keys'>;

const ACTIVE: readonly State[] = ['dispatching', 'running', 'unreachable', 'canceling'];
const ASKED_ABOUT: readonly State[] = ['running', 'unreachable', 'canceling'];
const PLACED: readonly State[] = ['queued', 'dispatching'];

/** Every key of one gateway at one moment, but for streams. */
export interface Contents {
  names: string[];
  members(key: string): Map<string, number>;
  hash(key: string): Record<string, string>;
  list(key: string): string[];
  text(key: string): string | null;
}

/** KEYS none ARGV 1 prefix. Returns {name, type, content} of each key. */
const READ_ALL = `
local all = {}
for _, name in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
  local kind = redis.call('TYPE', name).ok
  local content = {}
  if kind == 'zset' then content = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES') end
  if kind == 'hash' then content = redis.call('HGETALL', name) end
  if kind == 'list' then content = redis.call('LRANGE', name, 0, -1) end
  if kind == 'string' then content = {redis.call('GET', name)} end
  all[#all + 1] = {name, content}
end
return all
`;

export async function readContents({ redis, keys }: Parts): Promise<Contents> {
  const all = (await redis.eval(READ_ALL, 0, keys.prefix)) as [string, string[]][];
  const contents = new Map(all);
  const pairsOf = (key: string) => {
    const flat = contents.get(key) ?? [];
    return flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? ''] as const] : []));
  };
  return {
    names: [...contents.keys()],
    members: (key) => new Map(pairsOf(key).map(([member, score]) => [member, Number(score)])),
    hash: (key) => Object.fromEntries(pairsOf(key)),
    list: (key) => contents.get(key) ?? [],
    text: (key) => contents.get(key)?.[0] ?? null,
  };
}

/** Where records, indexes and places contradict each other. */
export async function findContradictions(parts: Parts): Promise<string[]> {
  return contradictionsIn(await readContents(parts), parts.keys);
}

export function contradictionsIn(contents: Contents, keys: Stores['keys']): string[] {
  const ids = [...contents.members(keys.jobsAll).keys()];
  const wrong: string[] = [];
  const jobs = ids.flatMap((id) => {
    const request = contents.text(keys.jobRequest(id));
    const hash = contents.hash(keys.job(id));
    if (request !== null && hash.state !== undefined) return [decodeJob(id, request, hash)];
    wrong.push(`${id} is listed and has no record`);
    return [];
  });
  const byState = STATES.flatMap((state) =>
    [...contents.members(keys.jobsByState(state)).keys()].map((id) => [id, state] as const),
  );
  for (const job of jobs) {
    const found = byState.filter(([id]) => id === job.id).map(([, state]) => state);
    if (found.length !== 1 || found[0] !== job.state)
      wrong.push(`${job.id} is ${job.state}, its index ${found}`);
    wrong.push(...wrongAbout(contents, keys, job));
  }
  for (const [id, state] of byState)
    if (!ids.includes(id)) wrong.push(`${id} is indexed as ${state}, and is no job`);
  for (const [host, some] of Map.groupBy(jobs, (job) => job.host))
    wrong.push(...wrongAt(contents, keys, host, some));
  return wrong;
}

function wrongAbout(contents: Contents, keys: Stores['keys'], job: Job): string[] {
  const { id, state, host, version } = job;
  const wrong: string[] = [];
  const mustBe = (key: string, expected: boolean) => {
    if (contents.members(key).has(id) !== expected)
      wrong.push(`${id} (${state}) is ${expected ? 'not ' : ''}in ${key}`);
  };
  const short = Object.entries(contents.hash(keys.job(id))).filter(([field]) => /^[1-9]$/.test(field));
  const events = [...short.map(([field, text]) => `${field} ${text}`), ...contents.list(keys.jobEvents(id))]
    .map((text) => text.split(' ') as [string, string])
    .sort(([a], [b]) => Number(a) - Number(b));
  const versions = events.map(([each]) => Number(each));
  if (versions.some((one, i) => one !== i + 1) || versions.length !== version) {
    wrong.push(`${id} has version ${version} and events ${versions}`);
  }
  if (events.at(-1)?.[1] !== state) wrong.push(`${id} is ${state}, its last event ${events.at(-1)?.[1]}`);
  mustBe(keys.jobsByOwner(job.created_by), true);
  mustBe(keys.jobsByHost(host), true);
  mustBe(keys.activeJobs(host), ACTIVE.includes(state));
  mustBe(keys.expiring, isOver(state));
  mustBe(keys.deadlines, state === 'queued' && startBy(job) !== null);
  if (state !== 'lost') mustBe(keys.followed(host), ASKED_ABOUT.includes(state));
  return wrong;
}

/** A job that waits, or whose start is under way, is in somebody's hands: in the mailbox, lined up, or in a slot. */
function wrongAt(contents: Contents, keys: Stores['keys'], host: string, jobs: Job[]): string[] {
  const wrong: string[] = [];
  const placesIn = (key: string) => [...contents.members(key).keys()];
  const [mailbox, ready] = [placesIn(keys.mailbox(host)), placesIn(keys.ready(host))];
  const starts = placesIn(keys.slots(host)).flatMap((holder) => /^start:[^:]+:(.+)$/.exec(holder)?.[1] ?? []);
  for (const job of jobs) {
    const place = placeOf(job);
    const waits = [mailbox, ready].filter((places) => places.includes(place)).length;
    const isHeld = starts.includes(place);
    if (PLACED.includes(job.state) && waits === 0 && !isHeld)
      wrong.push(`${job.id} (${job.state}) is in nobody's hands`);
    if (waits > 1) wrong.push(`${job.id} waits twice`);
  }
  const known = new Set(jobs.map(({ id }) => id));
  const members = [...mailbox, ...ready, ...starts].map(idAt);
  const others = [...placesIn(keys.activeJobs(host)), ...placesIn(keys.followed(host))];
  for (const id of [...members, ...others])
    if (!known.has(id)) wrong.push(`${id} has a place at ${host} and no record`);
  for (const field of Object.keys(contents.hash(keys.turns(host)))) {
    const again = /^again:(.*)$/.exec(field)?.[1];
    if (again && !mailbox.map(idAt).includes(again))
      wrong.push(`${again} is to come again and does not wait`);
  }
  if (members.length > 0 && !contents.members(keys.armed).has(host))
    wrong.push(`${host} has work and is not armed`);
  const isAsked = contents.members(keys.hostsFollowed).has(host);
  if (isAsked !== placesIn(keys.followed(host)).length > 0)
    wrong.push(`${host} is ${isAsked ? '' : 'not '}asked`);
  return wrong;
}

/** What is left of work, with every job over and told of. */
export async function findLeftovers(parts: Parts): Promise<string[]> {
  const { keys } = parts;
  const { names } = await readContents(parts);
  const lasting = [keys.lease('sweep'), keys.lease('survey')];
  const lists = [keys.armed, keys.hostsFollowed, keys.deadlines, keys.outbox, keys.deliveriesDue];
  lists.push(keys.batchesOpen, keys.batchesDue);
  const ofQueues = QUEUE_NAMES.flatMap((queue) =>
    // `repeat` are the hosts that are asked.
    ['wait', 'active', 'delayed', 'prioritized', 'paused', 'repeat', 'failed'].map(
      (name) => `${keys.queuePrefix}:${queue}:${name}`,
    ),
  );
  return names.filter(
    (name) =>
      (name.startsWith(`${keys.prefix}:host:`) &&
        /:(waiting|ready|turns|active|followed|requests)$/.test(name)) ||
      (name.startsWith(keys.batch('')) && /:(waiting|starting|held)$/.test(name)) ||
      (name.startsWith(keys.lease('')) && !lasting.includes(name)) ||
      name.startsWith(`${keys.deliveriesDue}:`) ||
      (name.startsWith(keys.job('')) && name.endsWith(':deliveries')) ||
      lists.includes(name) ||
      ofQueues.includes(name),
  );
}

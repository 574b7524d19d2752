/**
 * A job's events, one for each version. The first ones are short texts in the job's own hash, under their version:
 * a waiting job has three, which cost a tenth there of what a key of their own costs. Later or longer ones go to a
 * list, so that what is read with every look at the job stays small however often its host comes and goes.
 */
import type { JobEvent } from '../../job/record.ts';
import type { State } from '../../job/states.ts';
import type { Keys } from '../keys.ts';
import { results } from '../redis/replies.ts';
import type { Redis } from '../redis.ts';

/** Events with a version up to this are in the hash ... */
const IN_HASH = 6;
/** ... if they are no longer than Redis lets the values of a compact hash be (`hash-max-listpack-value`). */
const SHORT = 64;

/**
 * Lua: `event_text(state, now, why)`, and `add_event(set, events, version, state, now, why)`, which adds the event to what
 * is about to be set in the job's hash, or appends it to the list of its further ones.
 */
export const EVENT_LUA = `
local function event_text(state, now, why) return state .. ' ' .. now .. ' ' .. why end
local function add_event(set, events, version, state, now, why)
  local text = event_text(state, now, why)
  if version <= ${IN_HASH} and #text <= ${SHORT} then
    set[#set + 1], set[#set + 2] = version, text
  else
    redis.call('RPUSH', events, version .. ' ' .. text)
  end
end
`;

/** In the hash of a job: an event, which is no field of the job. */
export function isEvent(field: string): boolean {
  return field.length === 1 && field >= '1' && field <= '9';
}

export async function events(redis: Redis, keys: Keys, id: string): Promise<JobEvent[]> {
  const versions = Array.from({ length: IN_HASH }, (_, i) => `${i + 1}`);
  const pipeline = redis.pipeline();
  pipeline.hmget(keys.job(id), ...versions).lrange(keys.jobEvents(id), 0, -1);
  const [first, further] = (await results(pipeline)) as [(string | null)[], string[]];
  const inHash = first.flatMap((text, i) => (text === null ? [] : [decodeEvent(`${i + 1} ${text}`)]));
  return [...inHash, ...further.map(decodeEvent)].sort((a, b) => a.version - b.version);
}

/** `<version> <state> <ms> <why>`, or the JSON of earlier versions. */
function decodeEvent(text: string): JobEvent {
  if (text.startsWith('[')) {
    const [version, state, at, why] = JSON.parse(text) as [number, State, number, string];
    return { version, state, at, why };
  }
  const [version, state, at, ...why] = text.split(' ');
  return { version: Number(version), state: state as State, at: Number(at), why: why.join(' ') };
}

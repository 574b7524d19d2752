/**
 * A job's place in its host's queue: a member of the host's mailbox, of its ready set or of a slot, that carries
 * what the scripts need to know of the job without reading its record: its priority and its caller.
 *
 * `<priority><id>:<caller>`; neither an id nor a priority contains a colon.
 */
import type { JobRequest } from '../../job/record.ts';

/** In a mailbox: may not start before another job is proven over, whenever that is (31 December 9999, in ms). */
export const HELD_AT = 253_402_214_400_000;

export function placeOf({ priority, id, created_by }: Pick<JobRequest, 'priority' | 'id' | 'created_by'>) {
  return `${priority}${id}:${created_by}`;
}

export function idAt(place: string): string {
  return place.slice(1, place.indexOf(':'));
}

/**
 * Lua: `id_at(place)`, and `caller_at(place)`; the priority is its first character. `place_in(holder)` is the place for
 * whose start a slot is held, nil where it is held for another request (`holderOf` in `mailbox/take.ts`).
 */
export const PLACES_LUA = `
local function id_at(place) return place:match('^.([^:]*)') end
local function caller_at(place) return place:match(':(.*)$') end
local function place_in(holder) return holder:match('^start:[^:]+:(.+)$') end
`;

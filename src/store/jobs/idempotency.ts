/**
 * What was accepted under an `Idempotency-Key`: one short text, claimed in the script that accepts and removed with
 * the record. Callers choose the key's text, so only its digest becomes part of a name.
 */
import { createHash } from 'node:crypto';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';

/** An `Idempotency-Key`, and the fingerprint of the body that came with it. */
export interface Idempotency {
  key: string;
  fingerprint: string;
}

/** The job that a key stands for, and whether it was made of the same body. */
export interface Taken {
  id: string;
  sameBody: boolean;
  /** The job was there already, under the same unique key: the request was answered with it. */
  attached: boolean;
}

/** So much of a fingerprint tells two bodies apart, and leaves text and id the 44 bytes that Redis keeps in one piece. */
const PRINT_LENGTH = 13;
const ATTACHED = 'attached';

/** Lua: `claimed(key)`, the text under an idempotency key; false if nothing was accepted under it. */
export const CLAIMED_LUA = `
local function claimed(key)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'table' then return text end
  -- A hash, as earlier versions kept it.
  local old = redis.call('HMGET', key, 'id', 'fingerprint')
  return old[2]:sub(1, ${PRINT_LENGTH}) .. ' ' .. old[1]
end
`;

/** KEYS 1 idempotency key. Returns its text. */
const claimedScript = defineScript(`${CLAIMED_LUA}
return claimed(KEYS[1])
`);

export async function findAccepted(
  redis: Redis,
  keys: Keys,
  owner: string,
  { key, fingerprint }: Idempotency,
): Promise<Taken | null> {
  const text = (await claimedScript(redis, [keys.idempotency(owner, digestOf(key))], [])) as string | null;
  return text === null ? null : takenBy(text, fingerprint);
}

/** The text that claims a key for a job. */
export function claimOf(id: string, fingerprint: string): string {
  return `${fingerprint.slice(0, PRINT_LENGTH)} ${id}`;
}

/** The text that claims a key for a job that another request had made. */
export function attachedClaimOf(id: string, fingerprint: string): string {
  return `${claimOf(id, fingerprint)} ${ATTACHED}`;
}

/** @param fingerprint of the body that came now */
export function takenBy(text: string, fingerprint: string): Taken {
  const [print, id = '', how] = text.split(' ');
  return { id, sameBody: print === fingerprint.slice(0, PRINT_LENGTH), attached: how === ATTACHED };
}

/** What stands for a key in the names of Redis' keys, which callers must not choose; for unique keys, too. */
export function digestOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 27);
}

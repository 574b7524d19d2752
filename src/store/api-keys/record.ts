/** An API key as Redis keeps it: a hash of short strings; never the key, only its HMAC under the pepper. */
import { type Grants, SCOPES, type Scope } from './grants.ts';

export interface ApiKey extends Grants {
  /** Eight characters, part of the key itself; what logs show. Empty for the key of the configuration. */
  id: string;
  /** Jobs and idempotency keys belong to the name, so that a successor of the same name takes them over. */
  name: string;
  /** Milliseconds since 1970. */
  created_at: number | null;
  /** To the minute. */
  last_used_at: number | null;
  revoked_at: number | null;
}

export interface StoredKey {
  key: ApiKey;
  /** HMAC-SHA256 of the key, hex. */
  digest: string;
  sealedCallbackSecret: string;
}

export function encodeKey({ key, digest, sealedCallbackSecret }: StoredKey): string[] {
  return [
    ['name', key.name],
    ['digest', digest],
    ['callback', sealedCallbackSecret],
    ['scopes', JSON.stringify(key.scopes)],
    ['hosts', JSON.stringify(key.hosts)],
    ['users', JSON.stringify(key.users)],
    ['created_at', String(key.created_at)],
  ].flat();
}

/** @returns null if there is no such key */
export function decodeKey(id: string, hash: Record<string, string>): StoredKey | null {
  const { name, digest, callback } = hash;
  if (name === undefined || digest === undefined || callback === undefined) return null;
  const time = (text: string | undefined) => (text === undefined ? null : Number(text));
  return {
    key: {
      id,
      name,
      scopes: list<Scope>(hash.scopes).filter((scope) => SCOPES.includes(scope)),
      hosts: list<string>(hash.hosts),
      users: list<string | null>(hash.users),
      created_at: time(hash.created_at),
      last_used_at: time(hash.last_used_at),
      revoked_at: time(hash.revoked_at),
    },
    digest,
    sealedCallbackSecret: callback,
  };
}

function list<T>(text: string | undefined): T[] {
  return text === undefined ? [] : (JSON.parse(text) as T[]);
}

/**
 * API keys: who calls. Redis holds an HMAC of each key, never the key; the pepper comes from the secret key
 * file, so that whoever reads Redis can neither use a key nor make one.
 *
 * At most one unrevoked key has a name. A revoked key's name may be given again: the successor then owns the
 * jobs of the name, which is how a key is changed. A key that was good is believed for `cacheMs` more.
 */
import { createHmac, createSecretKey, hash, timingSafeEqual } from 'node:crypto';
import { SluiceError } from '../job/errors.ts';
import { createWebhookSecret } from '../protocol/webhook.ts';
import { ALL_GRANTS, type Grants, SCOPES } from './api-keys/grants.ts';
import { type ApiKey, decodeKey, encodeKey, type StoredKey } from './api-keys/record.ts';
import { mintToken, tokenId } from './api-keys/token.ts';
import type { Keys } from './keys.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';
import type { Sealer } from './sealing.ts';

export { type Grants, hasScope, mayRunAs, mayUseHost, SCOPES, type Scope } from './api-keys/grants.ts';
export type { ApiKey } from './api-keys/record.ts';
export { isIssued } from './api-keys/token.ts';

export interface ApiKeyStore {
  /**
   * Makes a key. Both secrets are shown here and never again.
   * @throws SluiceError invalid_request for a bad name or grant, or a name in use
   */
  createKey(name: string, grants: Grants): Promise<{ key: ApiKey; token: string; callbackSecret: string }>;
  /** All keys, revoked ones too, oldest first; not the one of the configuration. */
  listKeys(): Promise<ApiKey[]>;
  /** @returns the key, revoked now or before; null if there is none of this id or name */
  revokeKey(idOrName: string): Promise<ApiKey | null>;
  /** @returns whose key it is, or null */
  authenticate(token: string): Promise<ApiKey | null>;
  /** The secret (`whsec_...`) that signs the callbacks of a name's jobs; null if it has none. */
  callbackSecret(name: string): Promise<string | null>;
}

export interface ApiKeyDeps {
  redis: Redis;
  keys: Keys;
  sealer: Pick<Sealer, 'seal' | 'open' | 'pepper'>;
  /** `SLUICE_API_KEY`, the key named `admin`, and `SLUICE_CALLBACK_SECRET`. */
  admin?: { token: string; callbackSecret?: string | undefined } | undefined;
  /** How long a good key is believed without asking Redis, in ms: so late a revocation takes effect. */
  cacheMs?: number;
}

/** The name of the configuration's key. */
export const ADMIN_NAME = 'admin';
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
const PATTERN = /^[A-Za-z0-9._:*[\]-]{1,253}$/;
const USER = /^(\*|[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?)$/;
const TOUCH_MS = 60_000;

/**
 * KEYS 1 name 2 the new key's hash 3 all keys
 * ARGV 1 the id that the name had when it was looked up, or "" 2 the new id 3 now 4.. fields of the hash
 * Returns 1, or 0 if the name has been given to another key meanwhile.
 */
const createScript = defineScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
return 1
`);

export function createApiKeyStore(deps: ApiKeyDeps): ApiKeyStore {
  const { redis, keys, sealer, cacheMs = 3_000 } = deps;
  // Made once: from bytes, each of the digests that every request needs would make it anew.
  const pepper = createSecretKey(sealer.pepper);
  const admin = deps.admin && { print: printOf(deps.admin.token), secret: deps.admin.callbackSecret };
  /** By `printOf` their tokens. */
  const believed = new Map<string, { key: ApiKey; until: number }>();
  const touched = new Map<string, number>();

  return { createKey, listKeys, revokeKey, authenticate, callbackSecret };

  async function createKey(name: string, grants: Grants) {
    checkKey(name, grants);
    const before = await redis.get(keys.apiKeyName(name));
    const holder = before === null ? null : await load(before);
    if (holder && holder.key.revoked_at === null) throw nameInUse(name);

    const { id, token } = mintToken();
    const secret = createWebhookSecret();
    const { scopes, hosts, users } = grants;
    const created_at = Date.now();
    const key: ApiKey = { id, name, scopes, hosts, users, created_at, last_used_at: null, revoked_at: null };
    const fields = encodeKey({
      key,
      digest: digestOf(token).toString('hex'),
      sealedCallbackSecret: sealer.seal(secret, callbackPlace(id)),
    });
    const stored = await createScript(
      redis,
      [keys.apiKeyName(name), keys.apiKey(id), keys.apiKeys],
      [before ?? '', id, created_at, ...fields],
    );
    if (stored !== 1) throw nameInUse(name);
    return { key, token, callbackSecret: secret };
  }

  async function listKeys(): Promise<ApiKey[]> {
    const ids = await redis.zrange(keys.apiKeys, 0, '-1');
    const stored = await Promise.all(ids.map(load));
    return stored.flatMap((one) => (one ? [one.key] : []));
  }

  async function revokeKey(idOrName: string): Promise<ApiKey | null> {
    const id = (await redis.get(keys.apiKeyName(idOrName))) ?? idOrName;
    if (!(await load(id))) return null;
    await redis.hsetnx(keys.apiKey(id), 'revoked_at', `${Date.now()}`);
    for (const [print, { key }] of believed) if (key.id === id) believed.delete(print);
    return (await load(id))?.key ?? null;
  }

  async function authenticate(token: string): Promise<ApiKey | null> {
    const print = printOf(token);
    if (admin && timingSafeEqual(admin.print, print)) return adminKey();
    const id = tokenId(token);
    if (id === null) return null;
    const seen = print.toString('latin1');
    const known = believed.get(seen);
    if (known && known.until > Date.now()) return known.key;
    const stored = await load(id);
    if (!stored || !timingSafeEqual(Buffer.from(stored.digest, 'hex'), digestOf(token))) return null;
    if (stored.key.revoked_at !== null) return null;
    believed.set(seen, { key: stored.key, until: Date.now() + cacheMs });
    touch(id);
    return stored.key;
  }

  async function callbackSecret(name: string): Promise<string | null> {
    if (name === ADMIN_NAME) return admin?.secret ?? null;
    const id = await redis.get(keys.apiKeyName(name));
    const stored = id === null ? null : await load(id);
    return stored && sealer.open(stored.sealedCallbackSecret, callbackPlace(stored.key.id));
  }

  async function load(id: string): Promise<StoredKey | null> {
    return decodeKey(id, await redis.hgetall(keys.apiKey(id)));
  }

  /** Nobody waits for it and nothing depends on it: a failure is left alone. */
  function touch(id: string): void {
    const now = Date.now();
    if ((touched.get(id) ?? 0) > now - TOUCH_MS) return;
    touched.set(id, now);
    redis.hset(keys.apiKey(id), 'last_used_at', now).catch(() => {});
  }

  function digestOf(token: string): Buffer {
    return createHmac('sha256', pepper).update(token).digest();
  }
}

/** For comparisons in this process' memory only: every request needs one, and the keyed digest costs several times as much. */
function printOf(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

function adminKey(): ApiKey {
  return { id: '', name: ADMIN_NAME, ...ALL_GRANTS, created_at: null, last_used_at: null, revoked_at: null };
}

function callbackPlace(id: string): string {
  return `key:${id}:callback`;
}

function nameInUse(name: string): SluiceError {
  return new SluiceError('invalid_request', `there is a key named ${name}; revoke it first`);
}

function checkKey(name: string, grants: Grants): void {
  const refuse = (field: string, detail: string) => {
    throw new SluiceError('invalid_request', detail, { fields: { field } });
  };
  if (!NAME.test(name)) refuse('name', `a key's name is letters, digits and ._@-, up to 64 of them`);
  if (name === ADMIN_NAME) refuse('name', `the name ${ADMIN_NAME} belongs to SLUICE_API_KEY`);
  const unknown = grants.scopes.find((scope) => !SCOPES.includes(scope));
  if (unknown !== undefined) refuse('scopes', `${unknown} is no scope; there are ${SCOPES.join(', ')}`);
  if (grants.scopes.length === 0) refuse('scopes', 'a key needs at least one scope');
  if (!grants.hosts.every((pattern) => PATTERN.test(pattern))) {
    refuse('hosts', 'a host pattern is a host name in which * stands for any characters');
  }
  if (!grants.users.every((user) => user === null || USER.test(user))) {
    refuse('users', 'a user is a unix user name, or * for every named one');
  }
}

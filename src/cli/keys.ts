/**
 * `sluice keys create|list|revoke|secret`: API keys, made where the secret key is. They are no part of the HTTP
 * API, so that no API key can make another one.
 */

import { newSecretKey, readSecretKey } from '../config/secret-key.ts';
import { loadConfig } from '../config.ts';
import type { Scope } from '../store/api-keys.ts';
import { type ApiKeyStore, createApiKeyStore } from '../store/api-keys.ts';
import { createKeys } from '../store/keys.ts';
import { createSealer } from '../store/sealing.ts';
import { Failure } from './failure.ts';
import { checkStore, createLog, readKey, withRedis } from './gateway.ts';
import { printTable } from './terminal.ts';
import { dataDirAt } from './up/data-dir.ts';
import { embeddedRedisAddress } from './up/embedded-redis.ts';

export interface CreateKeyOptions {
  scope: string[];
  host: string[];
  user: string[];
  ownUser?: boolean;
}

export async function createKey(name: string, options: CreateKeyOptions): Promise<void> {
  const grants = {
    scopes: options.scope as Scope[],
    hosts: options.host,
    users: [...options.user, ...(options.ownUser ? [null] : [])],
  };
  const { token, callbackSecret } = await withKeys((keys) => keys.createKey(name, grants));
  process.stdout.write(`SLUICE_API_KEY=${token}\nSLUICE_WEBHOOK_SECRET=${callbackSecret}\n`);
  process.stderr.write('Both are shown once and kept nowhere: store them now.\n');
}

export async function listKeys(): Promise<void> {
  const keys = await withKeys((store) => store.listKeys());
  const day = (time: number | null) => (time === null ? '' : new Date(time).toISOString().slice(0, 16));
  const rows = keys.map((key) => [
    ...[
      key.name,
      key.id,
      key.revoked_at === null ? 'good' : 'revoked',
      day(key.created_at),
      day(key.last_used_at),
    ],
    ...[key.hosts.join(','), key.users.map((user) => user ?? '(own)').join(','), key.scopes.join(',')],
  ]);
  printTable([['NAME', 'ID', 'STATUS', 'CREATED', 'USED', 'HOSTS', 'USERS', 'SCOPES'], ...rows]);
}

export async function revokeKey(idOrName: string): Promise<void> {
  const key = await withKeys((keys) => keys.revokeKey(idOrName));
  if (!key) throw new Failure(`there is no key ${idOrName}`);
  process.stdout.write(`revoked ${key.name} (${key.id})\n`);
}

export async function printSecret(): Promise<void> {
  process.stdout.write(newSecretKey());
}

/** @throws SluiceError as a Failure: its text is for people */
async function withKeys<T>(use: (keys: ApiKeyStore) => Promise<T>): Promise<T> {
  const config = loadConfig();
  const data = dataDirAt(config.dataDir);
  const redisAddress = config.redis ?? embeddedRedisAddress(data);
  const file = config.secretKeyFile ?? data.secretKeyFile;
  const sealer = createSealer(readKey(() => readSecretKey(file)));
  await checkStore({
    redisAddress,
    prefix: config.prefix,
    needs: config.needs,
    sealer,
    log: await createLog({ ...config, logLevel: 'silent' }),
  });
  return withRedis(redisAddress, async (redis) => {
    const keys = createApiKeyStore({ redis, keys: createKeys(config.prefix), sealer });
    return use(keys).catch((error: Error) => {
      throw new Failure(error.message);
    });
  });
}

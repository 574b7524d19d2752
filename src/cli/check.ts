/**
 * `sluice check`: goes through what a gateway on this machine, or the one that commands here would call, needs; says
 * of each whether it is there, and what to do about what is not.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { readSecretKey } from '../config/secret-key.ts';
import { type Config, inheritedEnvironment, loadConfig } from '../config.ts';
import type { Needs } from '../job/durability.ts';
import { inspectRedis } from '../store/redis/fitness.ts';
import type { RedisAddress } from '../store/redis.ts';
import { createClient, gatewayUrl, send } from './client.ts';
import { Failure } from './failure.ts';
import { withRedis } from './gateway.ts';

interface Check {
  name: string;
  /** @returns what to say of it, when it is good @throws Error with the remedy */
  run(): Promise<string> | string;
}

export async function check(options: { store?: boolean; ready?: boolean }): Promise<void> {
  const config = loadConfig();
  let wrong = 0;
  for (const { name, run } of chosen(config, options)) {
    try {
      console.log(`ok     ${name}: ${await run()}`);
    } catch (error) {
      wrong += 1;
      console.log(`wrong  ${name}: ${(error as Error).message}`);
    }
  }
  if (wrong > 0) process.exitCode = 1;
}

function chosen(config: Config, { store, ready }: { store?: boolean; ready?: boolean }): Check[] {
  if (store) return storeChecks(config);
  if (ready) return [{ name: 'gateway', run: () => readyAt(gatewayUrl(config)) }];
  return [
    { name: 'configuration', run: () => unknown(config.unknownVariables) },
    { name: 'Node', run: () => process.version },
    ...storeChecks(config),
    { name: 'tmux (for jobs of mode tmux on this machine)', run: () => program(['tmux'], 'tmux') },
    { name: 'gateway', run: takesTheKey },
  ];
}

function storeChecks({ redis, secretKeyFile, needs }: Config): Check[] {
  if (!redis) {
    return [{ name: 'redis-server', run: () => program(['redis-server', 'valkey-server'], 'redis-server') }];
  }
  return [
    { name: 'Redis', run: () => fitness(redis, needs) },
    { name: 'secret key', run: () => readable(secretKeyFile) },
  ];
}

function unknown(variables: string[]): string {
  if (variables.length === 0) return 'every setting is known and valid';
  throw new Failure(`no such settings: ${variables.join(', ')}`);
}

function program(names: string[], debianPackage: string): string {
  const path = (inheritedEnvironment().PATH ?? '').split(delimiter);
  const found = names.flatMap((name) => path.map((directory) => join(directory, name))).find(isExecutable);
  if (found) return found;
  throw new Failure(`not on this machine: apt-get install ${debianPackage}`);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function fitness(address: RedisAddress, needs: Needs): Promise<string> {
  const unfit = await withRedis(address, (redis) => inspectRedis(redis, needs));
  if (unfit.length === 0) return 'reachable, durable, and drops nothing';
  throw new Failure(unfit.map(({ what, remedy }) => `${what}: ${remedy}`).join('; '));
}

function readable(file: string | null): string {
  if (file === null)
    throw new Failure('REDIS_URL needs SLUICE_SECRET_KEY_FILE; make one: sluice keys secret > FILE');
  readSecretKey(file);
  return file;
}

async function takesTheKey(): Promise<string> {
  const client = createClient();
  await readyAt(client.url);
  await client.request('GET', '/v1/jobs', { query: { page_size: '1' } });
  return `${client.url} is ready and takes the key`;
}

async function readyAt(url: string): Promise<string> {
  const reply = await send(url, `${url}/readyz`);
  if (!reply.ok) throw new Failure(`${url} is not ready: ${await reply.text()}`);
  return `${url} is ready`;
}

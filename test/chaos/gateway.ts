/**
 * The gateway of one world: two APIs and two workers as real processes that are started again whenever they end, each
 * with a proxy of its own to Redis, and a proxy before each API.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type KeptProcess, keepProcess } from '../helpers/kept-process.ts';
import { freePort } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';
import { mutatedBy } from '../mutations/environment.ts';
import type { MutationName } from '../mutations/mutations.ts';
import { type FaultyProxy, startProxy } from './proxy.ts';

export interface RigGateway {
  /** By name: `api0`, `api1`, `worker0`, `worker1`. */
  processes: Map<string, KeptProcess>;
  /** Before the APIs, and between each process and Redis; by name, such as `api0 < callers` and `api0 > redis`. */
  proxies: Map<string, FaultyProxy>;
  /** Where callers find the APIs. */
  urls: string[];
  apiKey: string;
  callbackSecret: string;
  /** Has a process' wall clock be off by so many ms; 0: right again. */
  setClock(name: string, offsetMs: number): Promise<void>;
  /** Waits until all are up. */
  ready(): Promise<void>;
  stop(): Promise<void>;
}

const CLOCK = fileURLToPath(new URL('clock.ts', import.meta.url));
/** Long enough for the longest faults, so that no delivery is given up while the receiver is made to fail. */
const WEBHOOK_PAUSES = [1, 1, 1, 2, 2, 2, ...Array.from({ length: 60 }, () => 3)].join(',');

/** The file that says how wrong a program's clock is. */
const clockFile = (dir: string, name: string) => join(dir, `clock-${name}`);

/** What a program has in its environment so that its clock can be set, and a promise broken in it on purpose. */
export function preloaded(dir: string, name: string, mutation: MutationName | null): Record<string, string> {
  const broken = mutation === null ? null : mutatedBy(mutation);
  const preloads = ['--import', CLOCK, broken?.NODE_OPTIONS ?? ''].join(' ').trim();
  return { ...broken, CHAOS_CLOCK: clockFile(dir, name), NODE_OPTIONS: preloads };
}

/** @param redisUrl as a process with its own way there sees it */
export async function startGateway(
  dir: string,
  redisUrl: (name: string) => Promise<{ url: string; proxy: FaultyProxy | null }>,
  { settings, mutation }: { settings: Record<string, string>; mutation: MutationName | null },
): Promise<RigGateway> {
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  const apiKey = `chaos-${randomBytes(16).toString('hex')}`;
  const callbackSecret = `whsec_${randomBytes(32).toString('base64')}`;
  const processes = new Map<string, KeptProcess>();
  const proxies = new Map<string, FaultyProxy>();
  const urls: string[] = [];
  const base = {
    SLUICE_SECRET_KEY_FILE: secretKeyFile,
    SLUICE_API_KEY: apiKey,
    SLUICE_CALLBACK_SECRET: callbackSecret,
    SLUICE_WEBHOOKS_ALLOW: '127.0.0.0/8',
    SLUICE_WEBHOOKS_SCHEDULE_SECONDS: WEBHOOK_PAUSES,
    SLUICE_WEBHOOKS_TIMEOUT_SECONDS: '3',
    ...settings,
  };
  async function start(name: string, args: string[], ready: string): Promise<void> {
    const { url, proxy } = await redisUrl(name);
    if (proxy) proxies.set(`${name} > redis`, proxy);
    const env = { ...base, REDIS_URL: url, ...preloaded(dir, name, mutation) };
    processes.set(name, keepProcess(name, args, env, ready));
  }
  for (const name of ['api0', 'api1']) {
    const address = `127.0.0.1:${await freePort()}`;
    await start(name, ['api', '--listen', address], '"msg":"api.started"');
    const proxy = await startProxy(`${name} < callers`, address);
    proxies.set(proxy.name, proxy);
    urls.push(`http://${proxy.address}`);
  }
  for (const name of ['worker0', 'worker1']) await start(name, ['worker'], '"msg":"workers.started"');
  return {
    ...{ processes, proxies, urls, apiKey, callbackSecret },
    async ready() {
      const all = [...processes.values()];
      const what = 'the gateway to be up';
      await until(() => all.every((one) => one.isReady()), { timeoutMs: 60_000, what }).catch((error) => {
        throw new Error(all.map(({ log }) => log.slice(-5).join('\n')).join('\n'), { cause: error });
      });
    },
    setClock: (name, offsetMs) => writeFile(clockFile(dir, name), `${offsetMs}`),
    async stop() {
      await Promise.all([...processes.values()].map(stopSurely));
      for (const proxy of proxies.values()) await proxy.stop();
    },
  };
}

const STOP_MS = 15_000;

async function stopSurely(one: KeptProcess): Promise<void> {
  one.signal('SIGCONT');
  const timer = setTimeout(() => one.signal('SIGKILL'), STOP_MS);
  await one.stop();
  clearTimeout(timer);
}

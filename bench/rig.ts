/** What a scenario runs against: a Redis of its own, the gateway's programs and agents as real processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, startRedis, type TestRedis } from '../test/helpers/redis.ts';
import { createCaller } from '../test/helpers/sluice-process.ts';
import { until } from '../test/helpers/until.ts';

export const API_KEY = `bench-${randomBytes(16).toString('hex')}`;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export interface Program {
  pid: number;
  /** Resident memory in bytes. */
  rss(): number;
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export interface Rig {
  redis: TestRedis;
  env: Record<string, string>;
  url: string;
  call: ReturnType<typeof createCaller>;
  api(): Promise<Program>;
  /** @param more variables of its environment */
  worker(more?: Record<string, string>): Promise<Program>;
  stop(): Promise<void>;
}

export async function createRig(): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  const [redis, port] = await Promise.all([startRedis(), freePort()]);
  const url = `http://127.0.0.1:${port}`;
  const env = {
    REDIS_URL: redis.url,
    SLUICE_SECRET_KEY_FILE: secretKeyFile,
    SLUICE_API_KEY: API_KEY,
  };
  const started: Program[] = [];
  const keep = (program: Program) => {
    started.push(program);
    return program;
  };
  const sluice = here('../bin/sluice');
  return {
    redis,
    env,
    url,
    call: createCaller(() => url, API_KEY),
    api: async () => keep(await start(sluice, ['api', '--listen', `127.0.0.1:${port}`], env, /api\.started/)),
    worker: async (more = {}) =>
      keep(await start(sluice, ['worker'], { ...env, ...more }, /workers\.started/)),
    async stop() {
      for (const program of started.toReversed()) await program.stop();
      await redis.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A program of the bench itself, run by this Node. */
export function startScript(file: string, args: string[], env: Record<string, string>, ready: RegExp) {
  return start(process.execPath, [here(file), ...args], env, ready);
}

async function start(
  command: string,
  args: string[],
  env: Record<string, string>,
  ready: RegExp,
): Promise<Program> {
  // Its log goes to a file: who reads a pipe would take a part of the cores that are measured.
  const dir = await mkdtemp(join(tmpdir(), 'sluice-bench-log-'));
  const log = await open(join(dir, 'log'), 'a');
  const child: ChildProcess = spawn(command, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', log.fd, 'inherit'],
  });
  try {
    await untilSaid(child, join(dir, 'log'), ready);
  } finally {
    // Its file is gone with the program.
    await log.close();
    await rm(dir, { recursive: true });
  }
  const { pid } = child as { pid: number };
  return {
    pid,
    rss: () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1_024,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}

/** @throws Error if the program ends without having said it */
async function untilSaid(child: ChildProcess, log: string, ready: RegExp): Promise<void> {
  const said = () => readFileSync(log, 'utf8');
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  await until(() => ready.test(said()) || isOver(), { what: child.spawnfile });
  if (!ready.test(said())) throw new Error(`${child.spawnargs.join(' ')} ended: ${said()}`);
}

/** What a scenario runs against: a Redis of its own, the gateway's programs and agents as real processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, startRedis, type TestRedis } from '../test/helpers/redis.ts';
import { createCaller } from '../test/helpers/sluice-process.ts';

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
  const child: ChildProcess = spawn(command, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    let output = '';
    const read = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_096);
      if (!ready.test(output)) return;
      // Read on for ever and dropped, so that the program's log neither blocks it nor costs more than it must.
      child.stdout?.off('data', read).resume();
      resolve();
    };
    child.stdout?.on('data', read);
    child.once('exit', (code) => reject(new Error(`${command} ${args[0]} ended with ${code}: ${output}`)));
  });
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

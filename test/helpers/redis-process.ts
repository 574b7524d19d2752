/** One `redis-server` process: a server or a Sentinel, to be killed and started again with the same arguments. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';
import { until } from './until.ts';

/** How a test itself reaches a server that it started. */
export type Reach = Omit<RedisOptions, 'replyMapping'>;

export interface RedisProcess {
  readonly pid: number;
  readonly running: boolean;
  readonly reach: Reach;
  /** Sends a signal (default SIGKILL) and, unless it is SIGSTOP or SIGCONT, waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again, with other arguments if some are given; kills it first if it still runs. */
  restart(command?: string[]): Promise<void>;
}

/** @param command the program and its arguments */
export async function startRedisProcess(command: string[], reach: Reach): Promise<RedisProcess> {
  let server = await launch(command, reach);
  return {
    reach,
    get pid() {
      return server.pid ?? 0;
    },
    get running() {
      return isRunning(server);
    },
    kill: (signal = 'SIGKILL') => signalled(server, signal),
    async restart(next = command) {
      await signalled(server, 'SIGKILL');
      server = await launch(next, reach);
    },
  };
}

/** Answers and has read its data: while it loads, PING is refused with LOADING. */
export async function answers(reach: Reach): Promise<void> {
  await withClient(reach, (probe) =>
    until(async () => (await probe.ping()) === 'PONG', { what: `redis-server at port ${reach.port}` }),
  );
}

/** A client that keeps trying, for as long as `use` takes. */
export async function withClient<T>(reach: Reach, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({ ...reach, retryStrategy: () => 10, maxRetriesPerRequest: null });
  client.on('error', () => {});
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
}

async function launch([program = '', ...args]: string[], reach: Reach): Promise<ChildProcess> {
  const server = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const keep = (chunk: Buffer) => {
    log = (log + chunk).slice(-4_000);
  };
  server.stdout.on('data', keep);
  server.stderr.on('data', keep);
  const failed = new Promise<never>((_, reject) => {
    server.once('error', reject);
    server.once('exit', (code) => reject(new Error(`redis-server ended with ${code}\n${log}`)));
  });
  failed.catch(() => {});
  await Promise.race([failed, answers(reach)]);
  return server;
}

async function signalled(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (!isRunning(server)) return;
  server.kill(signal);
  if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await once(server, 'exit');
}

function isRunning(server: ChildProcess): boolean {
  return server.exitCode === null && server.signalCode === null;
}

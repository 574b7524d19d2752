/** `bin/sluice up` as a child, and the HTTP calls that the demonstration makes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { say } from './telling.ts';

/** What the demonstration reads of a job. */
export interface Job {
  id: string;
  state: string;
  version: number;
  return_code: number | null;
  stdout?: string;
  stdout_tail?: string;
  attach_command: string | null;
  outcome: { message: string | null } | null;
}

export interface DemoGateway {
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Job>;
  /** Cancels what an interrupted demonstration left running, and waits for its end. */
  cancelRest(): Promise<void>;
  /** Tells each change until the job is over. */
  follow(job: Job, onRunning?: (job: Job) => Promise<void>): Promise<Job>;
  stop(): Promise<void>;
}

const SLUICE = join(import.meta.dirname, '../../bin/sluice');
const OVER = ['succeeded', 'failed', 'timed_out', 'canceled', 'expired', 'lost'];

export async function startGateway(dataDir: string, signal: AbortSignal): Promise<DemoGateway> {
  const args = [
    'up',
    '--listen',
    '127.0.0.1:0',
    '--data',
    dataDir,
    '--agent',
    `127.0.0.1:${await freePort()}`,
  ];
  const kept = Object.entries(process.env).filter(([name]) => !/^(SLUICE_|REDIS_URL$)/.test(name));
  const env = { ...Object.fromEntries(kept), SLUICE_LOG_LEVEL: 'error' };
  // A session of its own: Ctrl-C is for the demonstration, which ends the gateway in its turn.
  const child = spawn(SLUICE, args, { env, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await readUrl(child);
  const key = /^SLUICE_API_KEY=(.+)$/m.exec(readFileSync(join(dataDir, 'key.env'), 'utf8'))?.[1];

  let unfinished: string | undefined;

  async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal,
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
    if (method === 'POST') say(`POST ${path} ${JSON.stringify(body)} -> ${response.status}`);
    return JSON.parse(text) as Job;
  }

  return {
    call,
    async follow(first, onRunning) {
      let job = first;
      unfinished = job.id;
      say(`${job.id} is ${job.state}`);
      while (!OVER.includes(job.state)) {
        const before = job.state;
        job = await call('GET', `/v1/jobs/${job.id}?wait=60&since=${job.version}`);
        if (job.state !== before) say(`${job.id} is ${job.state}`);
        if (job.state === 'running' && before !== 'running') await onRunning?.(job);
      }
      unfinished = undefined;
      return job;
    },
    async cancelRest() {
      if (unfinished === undefined) return;
      const headers = { authorization: `Bearer ${key}` };
      await fetch(`${url}/v1/jobs/${unfinished}:cancel`, { method: 'POST', headers });
      await fetch(`${url}/v1/jobs/${unfinished}?wait=20`, { headers });
      say(`${unfinished} was canceled`);
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function readUrl(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('no output to read');
  for await (const line of createInterface(child.stdout)) {
    say(line);
    const url = /is up at (\S+)/.exec(line)?.[1];
    if (url) {
      child.stdout.resume();
      return url;
    }
  }
  throw new Error('sluice up did not start');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

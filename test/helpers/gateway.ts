/**
 * A gateway as people start it: `bin/sluice up` in a process of its own, on a free port, with data of its own.
 * It can be killed and started again on the same data.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.ts';

const SLUICE = join(import.meta.dirname, '../../bin/sluice');

export interface GatewayOptions {
  /** More flags of `sluice up`, such as `--agent 127.0.0.1:0`. */
  flags?: string[];
  env?: Record<string, string>;
  /** Another `sluice` than the checkout's. */
  program?: string;
}

export interface TestGateway {
  readonly url: string;
  readonly apiKey: string;
  readonly dataDir: string;
  readonly pid: number;
  /** All that it has written so far. */
  output(): string;
  /** `sluice ARGS`, as somebody on the same machine. */
  sluice(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** A request with the first key. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same data and port. */
  restart(): Promise<void>;
  /** Ends it in order and removes its data. */
  stop(): Promise<void>;
}

export async function startGateway(options: GatewayOptions = {}): Promise<TestGateway> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-test-up-'));
  const env = cleanEnvironment({ SLUICE_DATA: dataDir, ...options.env });
  const { program = SLUICE } = options;
  let output = '';
  let { child, url } = await launch('127.0.0.1:0').catch(async (error: unknown) => {
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  });
  let apiKey = await readKey();
  return {
    get url() {
      return url;
    },
    get apiKey() {
      return apiKey;
    },
    get pid() {
      return child.pid ?? 0;
    },
    dataDir,
    output: () => output,
    sluice: (...args) => runSluice(args, env, program),
    call(method, path, body, headers = {}) {
      const json = body === undefined ? {} : { 'content-type': 'application/json' };
      return fetch(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${apiKey}`, ...json, ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    },
    kill: (signal = 'SIGKILL') => signalled(signal),
    async restart() {
      await signalled('SIGTERM');
      ({ child, url } = await launch(new URL(url).host));
      apiKey = await readKey();
    },
    async stop() {
      await signalled('SIGTERM');
      await rm(dataDir, { recursive: true, force: true });
    },
  };

  async function launch(listen: string): Promise<{ child: ChildProcess; url: string }> {
    output = '';
    const args = ['up', '--listen', listen, ...(options.flags ?? [])];
    const started = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const ended = once(started, 'close').then(([code]): never => {
      throw new Error(`sluice up ended with ${code}\n${output}`);
    });
    const up = until(() => /is up at (\S+)/.exec(output)?.[1] ?? false, {
      timeoutMs: 75_000,
      what: 'sluice up',
    });
    try {
      const found = await Promise.race([up, ended]);
      ended.catch(() => {});
      return { child: started, url: found };
    } catch (error) {
      up.catch(() => {});
      started.kill('SIGKILL');
      throw error;
    }
  }

  async function readKey(): Promise<string> {
    const text = await readFile(join(dataDir, 'key.env'), 'utf8');
    return /^SLUICE_API_KEY=(.+)$/m.exec(text)?.[1] ?? '';
  }

  async function signalled(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}

/** `sluice ARGS` to its end. */
export async function runSluice(
  args: string[],
  env: Record<string, string> = cleanEnvironment(),
  program = SLUICE,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  return { code: code ?? 128, stdout, stderr };
}

/** The environment without any setting of a gateway that the person at the keyboard may have. */
export function cleanEnvironment(more: Record<string, string> = {}): Record<string, string> {
  const kept = Object.entries(process.env).filter(([name]) => !/^(SLUICE_|REDIS_URL$)/.test(name));
  return { ...Object.fromEntries(kept), ...more } as Record<string, string>;
}

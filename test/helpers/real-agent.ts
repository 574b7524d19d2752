/**
 * The real host agent as a process of its own, on a free loopback port with a data directory of its own.
 *
 *     const agent = await startRealAgent();
 *     agent.address ('127.0.0.1:port'), agent.token, agent.fingerprint (hex), agent.dataDir, agent.pid
 *     await agent.call('POST', '/run', { command: 'true', wait_seconds: 5 })   // { status, body }
 *     await agent.kill('SIGKILL'); await agent.restart();                      // same port, same data
 *     await agent.stop();                                                      // and everything that it left
 *
 * SLUICE_TEST_AGENT names another command for it, such as `/usr/bin/node dist/sluice-agent.cjs`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const FROM_SOURCE = `${process.execPath} ${fileURLToPath(new URL('../../src/agent/command-line.ts', import.meta.url))}`;

/** Of looks for what jobs left running; one that nobody can end must not hold up a test for ever. */
const MOST_ROUNDS = 10;

export interface RealAgentOptions {
  /** Further command line options, such as `['--policy', FILE]`. */
  args?: string[];
  /** Keeps its data here instead of in a new directory; it is then not removed. */
  dataDir?: string;
  /** Runs the agent as this user and group. */
  uid?: number;
  gid?: number;
  /** A program and its arguments that in turn run the agent. */
  wrapper?: string[];
}

export type RealAgent = Awaited<ReturnType<typeof startRealAgent>>;

export async function startRealAgent(options: RealAgentOptions = {}) {
  const dataDir = options.dataDir ?? (await makeDataDir());
  const tokenFile = join(dataDir, 'token');
  let running = await launch('127.0.0.1:0', dataDir, options).catch(async (error: unknown) => {
    if (!options.dataDir) await rm(dataDir, { recursive: true, force: true });
    throw error;
  });
  const { address, fingerprint } = running;

  const agent = {
    address,
    fingerprint,
    dataDir,
    token: (await readFile(tokenFile, 'utf8')).trim(),
    get pid(): number {
      return running.child.pid!;
    },
    jobDir: (id: string) => join(dataDir, 'jobs', id),

    call(method: string, path: string, body?: unknown, headers?: Record<string, string>) {
      return call(address, method, path, body, { 'x-agent-token': agent.token, ...headers });
    },
    async kill(signal: NodeJS.Signals): Promise<void> {
      const ended = new Promise((resolve) => running.child.once('exit', resolve));
      running.child.kill(signal);
      if (running.child.exitCode === null && running.child.signalCode === null) await ended;
    },
    /** Starts it again on the same port; kills it first where it runs. @param args replace the first ones */
    async restart(args: string[] = options.args ?? []): Promise<void> {
      await agent.kill('SIGKILL');
      running = await launch(address, dataDir, { ...options, args });
    },
    async stop(): Promise<void> {
      await agent.kill('SIGKILL');
      await killLeftovers(dataDir);
      if (!options.dataDir) await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  return agent;
}

async function makeDataDir(): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-agent-'));
  await chmod(dataDir, 0o711);
  return dataDir;
}

async function launch(listen: string, dataDir: string, options: RealAgentOptions) {
  const own = (process.env.SLUICE_TEST_AGENT ?? FROM_SOURCE).split(' ');
  const [program, ...words] = [...(options.wrapper ?? []), ...own];
  const fixed = ['--listen', listen, '--data', dataDir, '--token-file', join(dataDir, 'token')];
  const child: ChildProcess = spawn(program!, [...words, ...fixed, ...(options.args ?? [])], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.uid !== undefined && { uid: options.uid }),
    ...(options.gid !== undefined && { gid: options.gid }),
  });
  let said = '';
  child.stderr!.on('data', (chunk) => {
    said = (said + chunk).slice(-20_000);
  });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve);
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`the agent ended with ${code ?? signal}: ${said}`)),
    );
  });
  const [, address, , fingerprint] = line.split(' ');
  return { child, address: address!, fingerprint: fingerprint! };
}

export interface Reply {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a reply is what the test is about
  body: any;
}

export function call(
  address: string,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Reply> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const sent = request(
      { host, port, method, path, headers, rejectUnauthorized: false, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode!, body: text === '' ? null : JSON.parse(text) });
        });
      },
    );
    sent.on('error', reject);
    sent.end(
      body === undefined
        ? undefined
        : typeof body === 'string' || Buffer.isBuffer(body)
          ? body
          : JSON.stringify(body),
    );
  });
}

/**
 * Ends what the jobs of this data directory left running: their environment names its store. Looks again until nothing
 * is found: who is killed may have started another one since the look began.
 */
async function killLeftovers(dataDir: string): Promise<void> {
  const store = JSON.parse(await readFile(join(dataDir, 'store.json'), 'utf8')) as { store_id: string };
  for (let round = 0; round < MOST_ROUNDS && (await killFound(dataDir, store.store_id)) > 0; round++);
}

/** @returns how many it found */
async function killFound(dataDir: string, storeId: string): Promise<number> {
  let found = 0;
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const environment = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    const commandLine = await readFile(`/proc/${name}/cmdline`, 'latin1').catch(() => '');
    if (!environment.includes(`SLUICE_JOB_MARK=${storeId}/`) && !commandLine.includes(`${dataDir}/`))
      continue;
    found++;
    try {
      process.kill(Number(name), 'SIGKILL');
    } catch {
      // It ended by itself in between.
    }
  }
  return found;
}

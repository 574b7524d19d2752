/** The command line as real processes: `sluice api`, `sluice worker`, `sluice up`, to be killed at will. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url));

export interface SluiceProcess {
  pid: number;
  /** Everything that it has written so far, log lines too. */
  output(): string;
  /** Sends a signal and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * Starts `sluice ARGS` and waits until `ready` matches a part of its output.
 * @param env added to PATH and HOME only, so that no setting of this machine gets in
 */
export async function startSluice(
  args: string[],
  env: Record<string, string>,
  ready: RegExp,
): Promise<SluiceProcess & { match: RegExpMatchArray }> {
  const child: ChildProcess = spawn(SLUICE, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const match = await new Promise<RegExpMatchArray>((resolve, reject) => {
    const hear = (chunk: Buffer) => {
      output += chunk.toString();
      const found = output.match(ready);
      if (found) resolve(found);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('exit', (code, signal) => {
      reject(new Error(`sluice ${args[0]} ended with ${code ?? signal}:\n${output.slice(-4_000)}`));
    });
  });
  return {
    pid: child.pid as number,
    match,
    output: () => output,
    async kill(signal = 'SIGKILL') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    },
  };
}

/** A caller of the API: JSON in, status and JSON out. */
export function createCaller(base: () => string, key: string) {
  return async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: Record<string, unknown> }> => {
    const response = await fetch(base() + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    };
  };
}

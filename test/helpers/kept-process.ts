/**
 * A `sluice` program that is kept running, as a supervisor would: whenever it ends it is started again at once, with
 * the same arguments. It can be killed at any moment, also while it starts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url));
/** Before one that ended by itself is started again, in ms. */
const RESTART_MS = 200;

export interface KeptProcess {
  readonly name: string;
  /** Has said that it is ready, and not ended since. */
  isReady(): boolean;
  /** Has this moment a process that a signal can reach. */
  isRunning(): boolean;
  /** Of its present life. */
  readonly pid: number;
  /**
   * SIGKILL; it is on its way up again when this resolves.
   * @param next is added to the environment of the next life only, which may then end by SIGKILL without being in `ends`
   */
  kill(next?: Record<string, string>): Promise<void>;
  /** Such as SIGSTOP; nothing where it is not running. */
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and not started again. */
  stop(): Promise<void>;
  /** How it ended after it was ready, other than by a signal from here. */
  readonly ends: string[];
  /** The lines that it has written, all of its lives. */
  readonly log: readonly string[];
}

/** @param env added to PATH and HOME only, so that no setting of this machine gets in */
export function keepProcess(
  name: string,
  args: string[],
  env: Record<string, string>,
  ready: string,
): KeptProcess {
  let child: ChildProcess;
  let isReady = false;
  let stopping = false;
  let killing = false;
  const log: string[] = [];
  const ends: string[] = [];

  function start(more: Record<string, string> = {}): void {
    isReady = false;
    const own = spawn(SLUICE, args, {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env, ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = own;
    for (const stream of [own.stdout, own.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        log.push(...lines.map((line) => `${name} ${line}`));
        if (child === own && lines.some((line) => line.includes(ready))) isReady = true;
      });
    }
    own.once('exit', (code, signal) => {
      const wasReady = isReady;
      isReady = false;
      if (stopping || killing) return;
      const wasMeant = signal === 'SIGKILL' && Object.keys(more).length > 0;
      if (wasReady && !wasMeant)
        ends.push(`${name} ended with ${code ?? signal}: ${log.slice(-3).join('\n')}`);
      // Who was killed meanwhile is on its way up already.
      void pause(RESTART_MS).then(() => stopping || child !== own || start());
    });
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (!isRunning()) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  const isRunning = () => child.exitCode === null && child.signalCode === null;

  start();
  return {
    name,
    ends,
    isReady: () => isReady,
    isRunning,
    get pid() {
      return child.pid ?? 0;
    },
    async kill(next) {
      killing = true;
      await end('SIGKILL');
      killing = false;
      if (!stopping) start(next);
    },
    signal(signal) {
      if (isRunning()) child.kill(signal);
    },
    async stop() {
      stopping = true;
      await end('SIGTERM');
    },
    log,
  };
}

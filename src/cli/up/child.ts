/**
 * A child process of `sluice up`: started, noted in a file, started again when it ends by itself, ended in order.
 *
 * It runs in a session of its own, so that Ctrl-C reaches `sluice up` alone and the children end in the right
 * order. One that a killed `sluice up` left behind is ended before its successor starts: two never run at once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Failure } from '../failure.ts';

export interface ChildSpec {
  name: string;
  command: string;
  args: string[];
  cwd: string;
  env: Record<string, string | undefined>;
  pidFile: string;
  /** Whether it does its work by now. @throws Failure where it never will; any other error means not yet */
  ready: () => Promise<boolean>;
  readyTimeoutMs: number;
  /** How long it may take to end by itself. */
  graceMs: number;
  log: Logger;
  /** Aborted: it need not become ready any more. */
  signal: AbortSignal;
  /** It ended too often: whoever started it should end too. */
  onGivenUp: (error: Error) => void;
}

export interface Child {
  readonly pid: number;
  stop(): Promise<void>;
}

const RESTARTS_PER_MINUTE = 5;
const RESTART_PAUSE_MS = 500;

export async function startChild(spec: ChildSpec): Promise<Child> {
  const { name, log } = spec;
  const restarts: number[] = [];
  let stopping = false;
  await endLeftBehind(spec);
  let running = await launch();
  return {
    get pid() {
      return running.pid ?? 0;
    },
    async stop() {
      stopping = true;
      await end(running, spec.graceMs);
      rmSync(spec.pidFile, { force: true });
      log.info({ child: name }, 'child.stopped');
    },
  };

  async function launch(): Promise<ChildProcess> {
    const { command, args, cwd, env } = spec;
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = keepLastLines(child, (line) => log.debug({ child: name, line }, 'child.said'));
    const failed = once(child, 'exit').then(
      ([code, signal]) => new Failure(`${name} ended with ${signal ?? code}\n${said()}`.trim()),
      (error: NodeJS.ErrnoException) => notStarted(name, command, error),
    );
    if (child.pid !== undefined) note(spec.pidFile, child.pid);
    const outcome = await Promise.race([failed, whenReady(said)]);
    if (outcome instanceof Error) {
      await end(child, 0);
      throw outcome;
    }
    child.once('exit', (code, signal) => void again(code, signal));
    log.info({ child: name, pid: child.pid }, 'child.started');
    return child;
  }

  async function whenReady(said: () => string): Promise<undefined | Error> {
    const until = Date.now() + spec.readyTimeoutMs;
    while (Date.now() < until) {
      if (spec.signal.aborted) return new Failure(`${name} was stopped before it was ready`);
      const ready = await spec.ready().catch((error: unknown) => error);
      if (ready === true) return undefined;
      if (ready instanceof Failure) return ready;
      await pause(20);
    }
    return new Failure(`${name} is not ready after ${spec.readyTimeoutMs / 1_000} s\n${said()}`.trim());
  }

  async function again(code: number | null, signal: string | null): Promise<void> {
    if (stopping) return;
    log.error({ child: name, code, signal }, 'child.ended');
    const recent = restarts.filter((at) => at > Date.now() - 60_000);
    restarts.splice(0, restarts.length, ...recent, Date.now());
    try {
      if (recent.length >= RESTARTS_PER_MINUTE) throw new Failure(`${name} keeps ending (${signal ?? code})`);
      await pause(RESTART_PAUSE_MS);
      if (!stopping) running = await launch();
    } catch (error) {
      spec.onGivenUp(error as Error);
    }
  }
}

async function endLeftBehind({ pidFile, name, log, graceMs }: ChildSpec): Promise<void> {
  const [pid, started] = readNote(pidFile);
  const isIt = () => pid > 1 && /^\d+$/.test(started) && startTimeOf(pid) === started;
  if (!isIt()) return;
  log.warn({ child: name, pid }, 'child.left_behind');
  process.kill(pid, 'SIGTERM');
  const until = Date.now() + graceMs;
  while (isIt()) {
    if (Date.now() > until) process.kill(pid, 'SIGKILL');
    await pause(20);
  }
}

async function end(child: ChildProcess, graceMs: number): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(timer);
}

/** A process id alone may be another process by now; with its start time it is this one. */
function note(pidFile: string, pid: number): void {
  writeFileSync(pidFile, `${pid} ${startTimeOf(pid)}\n`, { mode: 0o600 });
}

function readNote(pidFile: string): [pid: number, started: string] {
  try {
    const [pid, started = ''] = readFileSync(pidFile, 'utf8').trim().split(' ');
    return [Number(pid), started];
  } catch {
    return [0, ''];
  }
}

/** Field 22 of `/proc/PID/stat`, or `gone`; a zombie has ended. */
function startTimeOf(pid: number): string {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' ? 'gone' : (fields[19] ?? 'gone');
  } catch {
    return 'gone';
  }
}

function notStarted(name: string, command: string, error: NodeJS.ErrnoException): Failure {
  if (error.code !== 'ENOENT') return new Failure(`${name} does not start: ${error.message}`);
  return new Failure(`there is no ${command} on this machine`);
}

function keepLastLines(child: ChildProcess, onLine: (line: string) => void): () => string {
  let lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n');
      rest = (parts.pop() ?? '').slice(0, 4_096);
      parts.forEach(onLine);
      lines = [...lines, ...parts].slice(-5);
    });
  }
  return () => lines.join('\n');
}

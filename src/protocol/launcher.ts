/**
 * The commands that make a Base agent keep more promises than its own protocol does: each function builds the
 * `command` of a `POST /run` that runs the launcher (`launcher-script.ts`) with one verb. What comes back on the
 * agent's stdout is read by `parseLauncherReport` in `launcher-report.ts`.
 *
 * The text is one line without newlines, whatever the values hold, and the user's command stays readable in it:
 * hosts' blacklists and auditors look for words there. Pure; nothing is sent from here.
 */
import { ENV_NAME, LAUNCH_TOKEN } from './agent.ts';
import { LAUNCHER_SCRIPT } from './launcher-script.ts';

/**
 * The longest text that can be sent, in bytes: with `run_as_user` an agent passes all of it on as one argument,
 * and Linux takes 128 KiB for one. The rest is left for the agent's own quoting.
 */
export const MAX_LAUNCHER_COMMAND_BYTES = 126 * 1024;

/** How much of the end of each stream a report carries where nothing else is asked for, in bytes. */
const LAUNCHER_TAIL_BYTES = 64 * 1024;

/** A value that cannot be sent through the launcher; the message says which, and never repeats it. */
export class LauncherInputError extends Error {
  override name = 'LauncherInputError';
}

export interface LauncherStart {
  /** The directory that `probe` reported, as stored with the job. */
  dir: string;
  token: string;
  command: string;
  env?: Record<string, string> | undefined;
  workdir?: string | null | undefined;
  /** An absolute path; by default `/bin/bash` where there is one, else `/bin/sh`. */
  shell?: string | null | undefined;
  /** Enforced on the host by the launcher itself. */
  timeoutSeconds?: number | null | undefined;
  /** Between SIGTERM and SIGKILL, after the timeout and for leftovers; 10 by default. */
  graceSeconds?: number | undefined;
  leftovers?: 'keep' | 'kill' | undefined;
  /** `tmux`: standard input is the pane, and the output is shown there too. */
  mode?: 'sync' | 'async' | 'tmux' | undefined;
  tailBytes?: number | undefined;
  /** The host's boot id; by default the launcher reads it. Tests play a reboot with it. */
  bootId?: string | undefined;
}

export const launcherCommand = {
  /** Finds a directory for the user it runs as, proves it, and reports it: `usable`, or `refused`. */
  probe: (): string => assemble(['probe', '', '', '-']),

  /** Starts the token's command at most once, and follows it: reports its end, and ends with its code. */
  start(order: LauncherStart): string {
    const { shell = null, workdir = null, timeoutSeconds = null, mode = 'async' } = order;
    const { graceSeconds = 10, leftovers = 'keep', tailBytes = LAUNCHER_TAIL_BYTES } = order;
    if (shell && !/^\/[^=]*$/.test(shell)) throw new LauncherInputError('shell is not an absolute path');
    const head = ['start', order.dir, order.bootId ?? '', checkedToken(order.token)];
    const place = mode === 'tmux' ? 'pane' : 'plain';
    const limits = [timeoutSeconds ?? 0, graceSeconds].map(wholeNumber);
    const items = Object.entries(order.env ?? {}).flatMap(([name, value]) => {
      if (!ENV_NAME.test(name)) throw new LauncherInputError('env has a name that is no variable name');
      return byLine('e', `${name}=${value}`);
    });
    return assemble([
      ...head,
      wholeNumber(tailBytes),
      place,
      ...limits,
      leftovers,
      workdir ?? '',
      shell ?? '',
      ...items,
      ...byLine('c', order.command),
    ]);
  },

  /** What the host knows of these tokens, one report each; `tailBytes` (8 KiB) of output of those that are over. */
  state(ask: { dir: string; tokens: string[]; tailBytes?: number; bootId?: string }): string {
    const tail = wholeNumber(ask.tailBytes ?? 8192);
    return assemble(['state', ask.dir, ask.bootId ?? '', tail, ...ask.tokens.map(checkedToken)]);
  },

  /**
   * Signals the token's whole tree, kills what is left after the grace, and reports once it is gone or says what
   * is not. A token never seen gets a tombstone: it can no longer start.
   */
  cancel(order: {
    dir: string;
    token: string;
    /** Without `SIG`; `TERM` by default. */
    signal?: string;
    graceSeconds?: number;
    tailBytes?: number;
    /** What it is recorded as; `canceled` by default. */
    kind?: 'canceled' | 'timeout';
    bootId?: string;
  }): string {
    const { signal = 'TERM', graceSeconds = 10, tailBytes = LAUNCHER_TAIL_BYTES, kind = 'canceled' } = order;
    if (!/^[A-Z0-9+-]{1,16}$/.test(signal))
      throw new LauncherInputError('signal is not the name of a signal');
    const head = ['cancel', order.dir, order.bootId ?? '', checkedToken(order.token)];
    return assemble([...head, signal, wholeNumber(graceSeconds), wholeNumber(tailBytes), kind]);
  },

  /** Any range of a stream, as a `range` report. */
  read(ask: {
    dir: string;
    token: string;
    stream: 'stdout' | 'stderr';
    offset: number;
    limit: number;
    bootId?: string;
  }): string {
    const head = ['read', ask.dir, ask.bootId ?? '', checkedToken(ask.token)];
    const stream = ask.stream === 'stdout' ? 'out' : 'err';
    return assemble([...head, stream, wholeNumber(ask.offset), wholeNumber(ask.limit)]);
  },
};

/** The script gets its own text as `$0`, so that it can start its parts in sessions of their own. */
function assemble(args: string[]): string {
  const words = ['exec sh -c "$1" "$@"', 'sluice', LAUNCHER_SCRIPT, ...args].map(shellWord);
  const text = `sh -c ${words.join(' ')}`;
  if (Buffer.byteLength(text) > MAX_LAUNCHER_COMMAND_BYTES) {
    throw new LauncherInputError('command and env are too long to be sent through the launcher');
  }
  return text;
}

/** No argument holds a newline, because csh ends a quoted word there: one line an argument, put together on the host. */
function byLine(tag: 'e' | 'c', value: string): string[] {
  return value.split('\n').flatMap((line, index) => [index === 0 ? tag : 'n', line]);
}

/**
 * One word for sh, csh and fish alike. csh expands `!` even between single quotes, and fish takes a backslash there
 * for an escape before another one or a quote, so these stand outside.
 */
function shellWord(value: string): string {
  if (/[\0\n]/.test(value)) throw new LauncherInputError('a value holds a NUL byte or an unexpected newline');
  return `'${value.replaceAll(/['!]|\\(?=[\\'!]|$)/g, (char) => `'\\${char}'`)}'`;
}

function checkedToken(token: string): string {
  if (!LAUNCH_TOKEN.test(token)) throw new LauncherInputError('token is not a launch token');
  return token;
}

function wholeNumber(value: number): string {
  if (!Number.isSafeInteger(Math.ceil(value)) || value < 0)
    throw new LauncherInputError('not a number of units');
  return String(Math.ceil(value));
}

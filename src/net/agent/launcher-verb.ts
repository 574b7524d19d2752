/**
 * One verb of the launcher, sent as a `/run` with an id of its own and asked about until it has ended: what makes
 * a question of a small command on the host. Verbs can be repeated; the launcher sees to that.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { DialHost } from '../../job/agent-port.ts';
import { hasCode, SluiceError } from '../../job/errors.ts';
import type { Job } from '../../job/record.ts';
import { LauncherInputError } from '../../protocol/launcher.ts';
import { baseRun } from './base-run.ts';
import { type BaseStatus, baseStatus } from './base-status.ts';
import type { Exchange } from './exchange.ts';
import { brief } from './reply.ts';

export interface Verb {
  /** One word, seen in the agent's own list of jobs. */
  name: 'probe' | 'state' | 'cancel' | 'read';
  user: string | null;
  /** Builds the command; may throw a `LauncherInputError`. */
  command: () => string;
  /** How long it may take on the host. */
  withinMs: number;
  /** Of its output. */
  maxBytes: number;
}

/** Pauses grow: some generations count every request, 120 a minute, and most verbs are over at the first look. */
const PAUSES_MS = [40, 60, 100, 150, 250, 400, 600, 1_000];
/** The launcher's own code, which no login shell has. */
const REFUSES = 125;
/** `/status` of the first generation fails for a moment while the end is being written. */
const BAD_LOOKS = 2;

/**
 * @returns what it printed
 * @throws SluiceError agent_rejected (it cannot be sent, or the host cannot run it as this user), agent_unfit (the host
 *   has no room for its words), agent_reply_lost (it did not end in time)
 */
export async function runVerb(exchange: Exchange, host: DialHost, verb: Verb): Promise<string> {
  const id = `sluice-${verb.name}-${randomBytes(9).toString('base64url')}`;
  const run = { id, command: sendable(verb.command), user: verb.user, tmux: false };
  const { agent_job_id } = await baseRun(exchange, host, run);
  const end = Date.now() + verb.withinMs;
  let badLooks = 0;
  for (let looks = 0; ; looks++) {
    await pause(PAUSES_MS[Math.min(looks, PAUSES_MS.length - 1)]);
    try {
      const said = await baseStatus(exchange, host, agent_job_id, verb.maxBytes);
      if (said.return_code !== null) return printed(said, verb);
    } catch (error) {
      if (!hasCode(error, 'agent_failed') || ++badLooks > BAD_LOOKS) throw error;
    }
    if (Date.now() > end) {
      throw new SluiceError('agent_reply_lost', `The launcher's ${verb.name} did not end in time`);
    }
  }
}

/** Where the job's latch and output are: fixed in its record before its first start. */
export function directoryOf(job: Job): string {
  if (job.launcher_dir !== null) return job.launcher_dir;
  throw new SluiceError('internal', `${job.id} has no launcher directory`);
}

/** A value that the launcher cannot carry fails the job with the reason, not the gateway. */
export function sendable(build: () => string): string {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof LauncherInputError)) throw error;
    throw rejected(error.message, 'launcher_input');
  }
}

/** A trouble of the host's, not of the job that found it. */
export function unfit(why: string): SluiceError {
  return new SluiceError('agent_unfit', `The launcher cannot be used on this host: ${why}`);
}

export function rejected(detail: string, code: string): SluiceError {
  return new SluiceError('agent_rejected', detail, { fields: { agent_code: code } });
}

function printed(said: BaseStatus, verb: Verb): string {
  if (said.stdout === null) throw new SluiceError('agent_reply_invalid', "The launcher's reply is too long");
  if (said.stdout.includes('@sluice 1 ')) return said.stdout;
  if (said.return_code === REFUSES) throw unfit('its output is lost; is the disk of the agent full?');
  // The shell, `su` or the login shell ended before the launcher's first word: no such user, no login, no sh.
  const words = brief(said.stderr ?? '') || `it ended with code ${said.return_code}`;
  throw rejected(`The host cannot run the launcher as ${verb.user ?? 'its own user'}: ${words}`, 'launcher');
}

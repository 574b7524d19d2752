/**
 * The driver for jobs that run under the launcher on a Base agent. The start is a `/run` whose output, once it is
 * over, is the launcher's report; everything else is a verb, a small `/run` of its own. The launcher's latch makes
 * every one of them harmless to repeat, whatever the agent's generation makes of a repeated `/run`.
 */
import { type DialHost, MAX_RANGE_BYTES } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { launchToken } from '../../job/record.ts';
import { RUNNING } from '../../job/report.ts';
import { launcherCommand } from '../../protocol/launcher.ts';
import { parseLauncherReport } from '../../protocol/launcher-report.ts';
import { baseRun } from './base-run.ts';
import type { Driver } from './driver.ts';
import type { Exchange } from './exchange.ts';
import { createLauncherAsk } from './launcher-ask.ts';
import { translated } from './launcher-translate.ts';
import { directoryOf, rejected, runVerb, sendable, unfit } from './launcher-verb.ts';
import { brief, invalid } from './reply.ts';

const VERB_MS = 15_000;
/**
 * How long a proven directory is believed: a burst of starts on one host pays for one probe. The launcher itself
 * starts nothing in a directory that is no longer there.
 */
const PROVEN_MS = 30_000;

const NO_DIRECTORY =
  'no_directory: neither the home of its user nor /var/tmp can be written (full, read-only, or on the network)';

export interface LauncherDriver extends Driver {
  /**
   * The directory that this user's jobs are to use.
   * @throws SluiceError agent_unfit (there is none, or tools are missing), agent_rejected (no such user)
   */
  probe(host: DialHost, user: string | null): Promise<string>;
}

export function createLauncherDriver(exchange: Exchange, believedMs: number): LauncherDriver {
  const probes = new Map<string, { dir: Promise<string>; at: number }>();

  async function probe(host: DialHost, user: string | null): Promise<string> {
    const command = () => launcherCommand.probe();
    const verb = { name: 'probe' as const, user, command, withinMs: VERB_MS, maxBytes: 65_536 };
    const said = parseLauncherReport(await runVerb(exchange, host, verb));
    if (said?.kind === 'usable') return said.dir;
    if (said?.kind !== 'refused') throw invalid("the launcher's report is not whole");
    throw unfit(said.why === 'no_directory' ? NO_DIRECTORY : brief(said.why));
  }

  return {
    probe(host, user) {
      const key = JSON.stringify([host.address, host.name, user]);
      const known = probes.get(key);
      if (known && Date.now() - known.at < PROVEN_MS) return known.dir;
      const dir = probe(host, user);
      // A bound on memory; what is forgotten is probed again.
      if (probes.size >= 20_000) probes.clear();
      probes.set(key, { dir, at: Date.now() });
      dir.catch(() => probes.delete(key));
      return dir;
    },

    async start(host, { job, token, env, secret_env }) {
      if (Object.keys(secret_env).length > 0) {
        throw rejected("The host's agent has no secret_env", 'field_unsupported');
      }
      const command = sendable(() =>
        launcherCommand.start({
          dir: directoryOf(job),
          token,
          command: job.command,
          env,
          workdir: job.workdir,
          shell: job.shell,
          timeoutSeconds: job.timeout_seconds,
          leftovers: job.leftovers,
          mode: job.mode,
        }),
      );
      const run = { id: token, command, user: job.job_user, tmux: job.mode === 'tmux' };
      return { ...(await baseRun(exchange, host, run)), report: RUNNING };
    },

    ask: createLauncherAsk(exchange, believedMs),

    async cancel(host, job, { signal, grace_seconds, kind }) {
      const token = launchToken(job);
      const printed = await runVerb(exchange, host, {
        name: 'cancel',
        user: job.job_user,
        command: () =>
          launcherCommand.cancel({
            dir: directoryOf(job),
            token,
            signal,
            graceSeconds: grace_seconds,
            ...(kind && { kind }),
          }),
        // After the grace it kills for some seconds more, and waits for the recorder.
        withinMs: grace_seconds * 1000 + 45_000,
        maxBytes: 1_048_576,
      });
      const said = parseLauncherReport(printed, token);
      if (said?.kind === 'refused') throw cancelRefused(said.why);
      const report = said && translated(said);
      if (!report) throw invalid("the launcher's report is not whole");
      return { report, unproven: false };
    },

    async read(host, job, range) {
      const token = launchToken({ id: job.id, attempt: range.attempt });
      const { stream, offset } = range;
      const limit = Math.min(range.limit, MAX_RANGE_BYTES);
      const printed = await runVerb(exchange, host, {
        name: 'read',
        user: job.job_user,
        command: () => launcherCommand.read({ dir: directoryOf(job), token, stream, offset, limit }),
        withinMs: VERB_MS,
        // Hexadecimal where the host has no base64.
        maxBytes: 16_384 + 2 * limit,
      });
      const said = parseLauncherReport(printed, token);
      if (said?.kind === 'refused' || (said?.kind === 'range' && said.size === null && said.eof)) {
        throw new SluiceError('output_gone', 'The host has no output of this attempt');
      }
      if (said?.kind !== 'range' || said.offset !== offset || said.data.length > limit) {
        throw invalid('not the range asked for');
      }
      return { data: said.data, next: said.next, eof: said.eof };
    },
  };
}

/** Refused means that no tombstone was left, so nothing may be concluded: the cancel stays owed. */
function cancelRefused(why: string): SluiceError {
  if (why === 'dir_not_writable') return unfit('it cannot write to its directory; is the disk full?');
  const detail = `The launcher's directory on the host cannot be used (${brief(why)})`;
  return new SluiceError(why === 'dir_missing' ? 'agent_store_changed' : 'agent_failed', detail);
}

/**
 * A Base test agent together with a launcher proven on it: what a gateway's driver does with both, in the fewest
 * words a test needs. Every verb goes as a `/run` of its own, and its report comes back from `/status`.
 */
import { randomUUID } from 'node:crypto';
import { type LauncherStart, launcherCommand } from '../../src/protocol/launcher.ts';
import { type LauncherReport, parseLauncherReport } from '../../src/protocol/launcher-report.ts';
import { createBaseClient } from './base-agent.client.ts';
import { type Generation, startBaseAgent } from './base-agent.ts';

export type ReportOf<K extends LauncherReport['kind']> = Extract<LauncherReport, { kind: K }>;

export async function startLauncherHost(
  generation: Generation,
  user: string | null = null,
  env: Record<string, string> = {},
) {
  const agent = await startBaseAgent({ generation, env });
  const client = createBaseClient(agent);

  const send = (command: string, more: Record<string, unknown> = {}) =>
    client.run(command, { job_id: `g-${randomUUID()}`, run_as_user: user, ...more });

  async function reportOf(id: string): Promise<LauncherReport | null> {
    return parseLauncherReport((await client.ended(id)).stdout ?? '');
  }

  const ask = async (command: string) => reportOf(await send(command));

  const probed = expectKind(await ask(launcherCommand.probe()), 'usable');

  return {
    agent,
    client,
    /** What the probe reported. */
    probed,
    dir: probed.dir,
    /** Sends a command as it is; answers with the agent's id. */
    send,
    /** Sends a command and waits for its report. */
    ask,
    reportOf,
    /** Sends a start; answers with the agent's id for it. */
    start: (
      order: Partial<LauncherStart> & { token: string; command: string },
      more: Record<string, unknown> = {},
    ) => send(launcherCommand.start({ dir: probed.dir, ...order }), more),
    state: (token: string) => ask(launcherCommand.state({ dir: probed.dir, tokens: [token] })),
    cancel: (token: string, graceSeconds = 1) =>
      ask(launcherCommand.cancel({ dir: probed.dir, token, graceSeconds })),
    read: async (token: string, stream: 'stdout' | 'stderr', offset: number, limit: number) =>
      expectKind(await ask(launcherCommand.read({ dir: probed.dir, token, stream, offset, limit })), 'range'),
    async close() {
      await client.close();
      await agent.close();
    },
  };
}

/** The report, if it is of this kind; else an error that shows it. */
export function expectKind<K extends LauncherReport['kind']>(
  report: LauncherReport | null,
  kind: K,
): ReportOf<K> {
  if (report?.kind !== kind) throw new Error(`expected ${kind}, got ${JSON.stringify(report)}`);
  return report as ReportOf<K>;
}

export type LauncherHost = Awaited<ReturnType<typeof startLauncherHost>>;

/**
 * Starts, repeated starts, cancels and kills in any order: a token's command begins at most once, and what the
 * launcher says of it is true. Run by a plain shell, because agents add nothing to this but time.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launcherCommand } from '../../src/protocol/launcher.ts';
import { type LauncherReport, parseLauncherReport } from '../../src/protocol/launcher-report.ts';
import { expectKind } from '../helpers/base-agent.launcher.ts';
import { killProcessesOf, processesOf } from '../helpers/base-agent.processes.ts';
import { until } from '../helpers/until.ts';

const ROUNDS = 24;

describe('launcher under chaos', () => {
  let home: string;
  let dir: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'launcher-chaos-'));
    dir = expectKind(await say(launcherCommand.probe()), 'usable').dir;
  });
  afterAll(() => rm(home, { recursive: true, force: true, maxRetries: 5 }));

  const shell = (command: string): ChildProcess =>
    spawn('sh', ['-c', command], {
      cwd: home,
      env: { ...process.env, HOME: home },
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  const say = async (command: string): Promise<LauncherReport | null> =>
    parseLauncherReport(await text(shell(command).stdout!));
  const state = (token: string) => say(launcherCommand.state({ dir, tokens: [token] }));
  const beginnings = async (token: string) =>
    (await readFile(join(home, `ran-${token}`), 'utf8').catch(() => '')).length;

  async function settled(token: string): Promise<LauncherReport> {
    return until(
      async () => {
        const report = await state(token);
        return report && report.kind !== 'running' && report;
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
  }

  test('killed anywhere and started again and again, a command begins at most once and its end is told truly', async () => {
    const kinds = new Map<string, number>();
    async function round(index: number): Promise<void> {
      const token = `r${index}`;
      const start = launcherCommand.start({
        dir,
        token,
        command: `printf x >> ran-${token}; sleep 0.1; exit 7`,
      });
      for (let attempt = 0; attempt < 3; attempt++) {
        const said = text(shell(start).stdout!);
        // Spread over the whole of a start, so that the kills fall into each of its steps.
        await pause((index * 7 + attempt * 31) % 90);
        await killProcessesOf(
          token,
          [['start'], ['start', 'job'], ['start', 'job', 'gate', 'tool'], ['gate', 'tool']][index % 4],
        );
        await said;
      }
      let report = await settled(token);
      if (report.kind === 'never_ran') {
        // Begins now; or a part of an earlier start that outlived its recorder does, and then nobody notes the code.
        const again = await say(start);
        if (!again) throw new Error(`${token}: the launcher said nothing`);
        report = again;
      }
      kinds.set(report.kind, (kinds.get(report.kind) ?? 0) + 1);
      await until(async () => (await processesOf(token)).length === 0);
      expect(await beginnings(token), `${token} ended as ${JSON.stringify(report)}`).toBeLessThanOrEqual(1);
      if (report.kind === 'ended') {
        expect(report.code === 7 || report.reason === 'signal', JSON.stringify(report)).toBe(true);
        if (report.code === 7) expect(await beginnings(token)).toBe(1);
      } else expect(report.kind).toBe('exit_unknown');
    }
    for (let from = 0; from < ROUNDS; from += 4) {
      await Promise.all([0, 1, 2, 3].map((offset) => round(from + offset)));
    }
    expect(kinds.get('ended')).toBeGreaterThan(0);
  }, 120_000);

  test('a cancel that races its start either stops it before, or ends it, and then nothing runs', async () => {
    async function round(index: number): Promise<void> {
      const token = `c${index}`;
      const start = text(
        shell(launcherCommand.start({ dir, token, command: `printf x >> ran-${token}; exec sleep 60` }))
          .stdout!,
      );
      await pause((index * 5) % 60);
      const canceled = expectKind(
        await say(launcherCommand.cancel({ dir, token, graceSeconds: 1 })),
        'canceled',
      );
      expect(canceled).toMatchObject({ proof: 'group+marker', remaining: [] });
      if (canceled.beforeStart) expect(await beginnings(token)).toBe(0);
      expectKind(parseLauncherReport(await start), 'canceled');
      await until(async () => (await processesOf(token)).length === 0);
      expect(await beginnings(token)).toBeLessThanOrEqual(1);
    }
    for (let from = 0; from < ROUNDS; from += 4) {
      await Promise.all([0, 1, 2, 3].map((offset) => round(from + offset)));
    }
  }, 120_000);

  test('of many starts at the same time one begins the command and all tell its end', async () => {
    const start = launcherCommand.start({
      dir,
      token: 'many',
      command: 'printf x >> ran-many; sleep 0.5; exit 8',
    });
    const reports = await Promise.all(Array.from({ length: 8 }, () => say(start)));
    for (const report of reports) expect(expectKind(report, 'ended').code).toBe(8);
    expect(await beginnings('many')).toBe(1);
  });
});

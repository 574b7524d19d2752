/** The launcher through the shipped agent: jobs that it started on a Base agent are followed after an upgrade. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launcherCommand } from '../../src/protocol/launcher.ts';
import { parseLauncherReport } from '../../src/protocol/launcher-report.ts';
import { expectKind, type LauncherHost, startLauncherHost } from '../helpers/base-agent.launcher.ts';
import { processesOf } from '../helpers/base-agent.processes.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

describe('launcher on the shipped agent', () => {
  let agent: RealAgent;
  let base: LauncherHost;
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'launcher-home-'));
    [agent, base] = await Promise.all([startRealAgent(), startLauncherHost('B')]);
  });
  afterAll(async () => {
    await agent?.stop();
    await base?.close();
    await rm(home, { recursive: true, force: true });
  });

  async function ask(command: string, wait = 30) {
    const order = { job_id: `s-${randomUUID()}`, command, env: { HOME: home }, wait_seconds: wait };
    const { body } = await agent.call('POST', '/run', order);
    return { code: body.return_code, report: parseLauncherReport(body.stdout ?? '') };
  }

  test('every verb works there', async () => {
    const { dir } = expectKind((await ask(launcherCommand.probe())).report, 'usable');
    const { code, report } = await ask(
      launcherCommand.start({ dir, token: 'one', command: 'echo "$SLUICE_JOB_ID"; exit 3' }),
    );
    expect(code).toBe(3);
    expect(expectKind(report, 'ended').stdoutTail?.toString()).toBe('one\n');
    const range = await ask(
      launcherCommand.read({ dir, token: 'one', stream: 'stdout', offset: 1, limit: 2 }),
    );
    expect(expectKind(range.report, 'range').data.toString()).toBe('ne');
    expectKind((await ask(launcherCommand.cancel({ dir, token: 'two' }))).report, 'canceled');
  });

  test('a job that a Base agent started is seen, cancelled with proof, and not started again', async () => {
    const { dir } = base;
    const order = { dir, token: 'moved', command: 'echo x; exec sleep 300' };
    await base.start(order);
    await until(async () => (await processesOf('moved')).some(({ part }) => part === 'command'));
    expectKind((await ask(launcherCommand.state({ dir, tokens: ['moved'] }))).report, 'running');
    const canceled = expectKind(
      (await ask(launcherCommand.cancel({ dir, token: 'moved' }))).report,
      'canceled',
    );
    expect(canceled).toMatchObject({ proof: 'group+marker', remaining: [] });
    expectKind((await ask(launcherCommand.start(order))).report, 'canceled');
  });
});

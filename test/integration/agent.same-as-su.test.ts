/**
 * One command as another user, three ways from one parent: `su - USER -c`, the shipped agent, and the launcher on a
 * Base agent. What it sees must be the same: a job moved from one agent to another finds its world unchanged.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectKind, startLauncherHost } from '../helpers/base-agent.launcher.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { createTemporaryUser, type TemporaryUser } from '../helpers/temporary-user.ts';

const COMMAND = 'id; pwd; umask; ulimit -Sa; ulimit -Ha; env | sort';
/** Told apart by name, and nothing else: the job's own mark, and what the shell that asks counts for itself. */
const OWN = /^(SLUICE_\w+|_|SHLVL|OLDPWD|TERM)=.*\n/gm;

describe.skipIf(process.getuid?.() !== 0)('a command as another user (needs root)', () => {
  let user: TemporaryUser;
  let agent: RealAgent;
  let expected: string;

  beforeAll(async () => {
    user = await createTemporaryUser();
    writeFileSync(
      join(user.home, '.profile'),
      'export FROM_PROFILE="yes, it is"\nulimit -n 256\nPATH=$HOME/bin:$PATH\n',
    );
    agent = await startRealAgent();
    expected = execFileSync('su', ['-', user.name, '-c', COMMAND], { encoding: 'utf8' }).replace(OWN, '');
  });
  afterAll(async () => {
    await agent?.stop();
    await user?.remove();
  });

  it('sees through the shipped agent what su - USER -c shows', async () => {
    const run = { job_id: 'same', command: COMMAND, run_as_user: user.name, wait_seconds: 20 };
    const { body } = await agent.call('POST', '/run', run);
    expect(body.stdout.replace(OWN, '')).toBe(expected);
    expect(expected).toContain('FROM_PROFILE=yes, it is\n');
    expect(expected).toContain(`(${user.group})`);
  });

  it('sees through the launcher what su - USER -c shows', async () => {
    const host = await startLauncherHost('A', user.name);
    try {
      const token = `same-${randomBytes(4).toString('hex')}`;
      const report = expectKind(await host.reportOf(await host.start({ token, command: COMMAND })), 'ended');
      expect(report.stdoutTail?.toString().replace(OWN, '')).toBe(expected);
    } finally {
      await host.agent.close();
    }
  });
});

/** The launcher on a disk that is full: a file system of its own, in a mount namespace of its own (needs root). */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launcherCommand } from '../../src/protocol/launcher.ts';
import { parseLauncherReport } from '../../src/protocol/launcher-report.ts';
import { expectKind } from '../helpers/base-agent.launcher.ts';
import { until } from '../helpers/until.ts';

const run = promisify(execFile);
const UNSHARE = 'unshare';

describe.skipIf(!canMount())('launcher on a full disk (needs root and mount namespaces)', () => {
  let home: string;
  let namespace: ChildProcess;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'launcher-full-'));
    const script = 'mount -t tmpfs -o size=120k tmpfs "$0" && touch "$0/mounted" && exec sleep 300';
    namespace = spawn(UNSHARE, ['-m', 'sh', '-c', script, home], { stdio: 'ignore' });
    await until(() => inside('ls "$HOME/mounted"'));
  });
  afterAll(async () => {
    namespace?.kill('SIGKILL');
    await rm(home, { recursive: true, force: true });
  });

  const inside = async (command: string): Promise<string> => {
    const args = ['-t', String(namespace.pid), '-m', 'sh', '-c', `${command}; true`];
    return (await run('nsenter', args, { env: { PATH: process.env.PATH, HOME: home } })).stdout;
  };
  const say = async (command: string) => parseLauncherReport(await inside(command));

  test('a command that fills it keeps its code; another start begins nothing until there is room', async () => {
    const { dir } = expectKind(await say(launcherCommand.probe()), 'usable');
    const filling = launcherCommand.start({
      dir,
      token: 'fills',
      command: 'head -c 1000000 /dev/zero; exit 9',
    });
    expect(expectKind(await say(filling), 'ended')).toMatchObject({ reason: 'exit', code: 9 });

    const next = launcherCommand.start({ dir, token: 'next', command: 'echo begun' });
    expect(await say(next)).toEqual({ kind: 'refused', token: 'next', why: 'dir_not_writable' });
    const cancel = launcherCommand.cancel({ dir, token: 'later' });
    expect(await say(cancel)).toEqual({ kind: 'refused', token: 'later', why: 'dir_not_writable' });

    await inside(`rm '${dir}/fills/out'`);
    expect(expectKind(await say(next), 'ended').stdoutTail?.toString()).toBe('begun\n');
    expect(expectKind(await say(cancel), 'canceled').beforeStart).toBe(true);
  });

  test('a command on a full disk can be cancelled, and its timeout holds', async () => {
    const { dir } = expectKind(await say(launcherCommand.probe()), 'usable');
    const hang = 'trap "" TERM; head -c 1000000 /dev/zero; sleep 300';
    const start = launcherCommand.start({ dir, token: 'hangs', command: hang });
    const [started, canceled] = await Promise.all([say(start), cancelOnceFull(dir, 'hangs')]);
    expect(canceled).toMatchObject({
      kind: 'canceled',
      proof: 'group+marker',
      remaining: [],
      beforeStart: false,
    });
    expect(started?.kind).toBe('canceled');

    await inside(`rm '${dir}/hangs/out'`);
    const limited = { dir, token: 'limited', command: hang, timeoutSeconds: 1, graceSeconds: 0 };
    expect(await say(launcherCommand.start(limited))).toMatchObject({ kind: 'ended', reason: 'timeout' });
    await inside(`rm '${dir}/limited/out'`);
  });

  async function cancelOnceFull(dir: string, token: string) {
    await until(async () => (await inside('df -P "$HOME"')).includes('100%'));
    return say(launcherCommand.cancel({ dir, token, graceSeconds: 0 }));
  }
});

function canMount(): boolean {
  try {
    execFileSync(UNSHARE, ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

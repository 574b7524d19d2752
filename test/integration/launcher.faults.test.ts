/** What the launcher says after its parts were killed, its directory was tampered with, or the host was booted anew. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launcherCommand } from '../../src/protocol/launcher.ts';
import { expectKind, type LauncherHost, startLauncherHost } from '../helpers/base-agent.launcher.ts';
import { killProcessesOf, processesOf } from '../helpers/base-agent.processes.ts';
import { until } from '../helpers/until.ts';

const isRoot = process.getuid?.() === 0;

describe.each(['A', 'B', 'C'] as const)('launcher under faults on generation %s', (generation) => {
  let host: LauncherHost;
  let tools: string;
  /** While this file exists, `ln` hangs: the launcher stands just before the command may begin. */
  let hold: string;

  beforeAll(async () => {
    tools = await mkdtemp(join(tmpdir(), 'launcher-tools-'));
    hold = join(tools, 'hold');
    const script = `#!/bin/sh\nwhile [ -e ${hold} ]; do sleep 0.05; done\nexec /bin/ln "$@"\n`;
    await writeFile(join(tools, 'ln'), script, { mode: 0o755 });
    host = await startLauncherHost(generation, null, { PATH: `${tools}:${process.env.PATH}` });
  });
  afterAll(async () => {
    await host?.close();
    await rm(tools, { recursive: true, force: true });
  });

  const running = (token: string) =>
    until(async () => (await processesOf(token)).some(({ part }) => part === 'command'), {
      what: `${token} to run`,
    });

  test('killed before the command began reads never_ran, and the same start then starts it', async () => {
    const order = { token: 'early', command: 'echo x >> early; cat early', workdir: host.agent.home };
    await writeFile(hold, '');
    await host.start(order);
    await until(async () => (await processesOf('early')).some(({ part }) => part === 'gate'));
    expectKind(await host.state('early'), 'running');
    await killProcessesOf('early');
    await rm(hold);
    expect(await host.state('early')).toEqual({ kind: 'never_ran', token: 'early' });
    const ended = expectKind(await host.reportOf(await host.start(order)), 'ended');
    expect(ended.stdoutTail?.toString()).toBe('x\n');
  });

  test('a start that was overtaken by its own repetition begins nothing', async () => {
    const order = {
      token: 'overtaken',
      command: 'echo x >> overtaken; cat overtaken',
      workdir: host.agent.home,
    };
    await writeFile(hold, '');
    await host.start(order);
    await until(async () => (await processesOf('overtaken')).some(({ part }) => part === 'gate'));
    await killProcessesOf('overtaken', ['start']);
    const second = await host.start(order);
    await until(
      async () => (await processesOf('overtaken')).filter(({ part }) => part === 'gate').length === 2,
    );
    await rm(hold);
    expect(expectKind(await host.reportOf(second), 'ended').stdoutTail?.toString()).toBe('x\n');
    await until(async () => (await processesOf('overtaken')).length === 0);
    expect(await readFile(join(host.agent.home, 'overtaken'), 'utf8')).toBe('x\n');
  });

  test('a job outlives the launcher that the agent knows, and its repeated start ends with its code', async () => {
    const order = { token: 'outlives', command: 'sleep 2; echo out; exit 4' };
    await host.start(order);
    await running('outlives');
    await killProcessesOf('outlives', ['start']);
    expectKind(await host.state('outlives'), 'running');
    const again = expectKind(await host.reportOf(await host.start(order)), 'ended');
    expect(again).toMatchObject({ code: 4, reason: 'exit' });
    expect(again.stdoutTail?.toString()).toBe('out\n');
  });

  test('everything killed reads exit_unknown, and a repeated start starts nothing', async () => {
    const order = {
      token: 'gone',
      command: 'echo x >> gone; echo begun; exec sleep 300',
      workdir: host.agent.home,
    };
    await host.start(order);
    await running('gone');
    await until(async () => (await host.read('gone', 'stdout', 0, 10)).size === 6);
    await killProcessesOf('gone');
    const report = expectKind(await host.state('gone'), 'exit_unknown');
    expect(report.stdoutTail?.toString()).toBe('begun\n');
    expectKind(await host.reportOf(await host.start(order)), 'exit_unknown');
    expect(await readFile(join(host.agent.home, 'gone'), 'utf8')).toBe('x\n');
  });

  test('a command whose recorder was killed is running until it ends, and can be cancelled with proof', async () => {
    await host.start({ token: 'orphan', command: 'exec sleep 300' });
    await running('orphan');
    await killProcessesOf('orphan', ['start', 'job']);
    expectKind(await host.state('orphan'), 'running');
    const canceled = expectKind(await host.cancel('orphan'), 'canceled');
    expect(canceled).toMatchObject({ proof: 'group+marker', remaining: [], beforeStart: false, code: null });
    expect(await processesOf('orphan')).toEqual([]);
    expectKind(await host.state('orphan'), 'canceled');
  });

  test('the timeout holds even after the recorder was killed', async () => {
    await host.start({ token: 'unwatched', command: 'exec sleep 300', timeoutSeconds: 1, graceSeconds: 1 });
    await running('unwatched');
    await killProcessesOf('unwatched', ['start', 'job']);
    const report = await until(async () => {
      const now = await host.state('unwatched');
      return now?.kind === 'ended' && now;
    });
    expect(report).toMatchObject({ reason: 'timeout', proof: 'group+marker', remaining: [] });
    await until(async () => (await processesOf('unwatched')).length === 0);
  });

  test('cancel ends a whole tree that ignores SIGTERM, and says so', async () => {
    const command = "trap '' TERM; (sleep 300 & setsid sleep 300) & sleep 300";
    const id = await host.start({ token: 'tree', command });
    await until(async () => (await processesOf('tree')).filter(({ part }) => part === 'command').length >= 4);
    const canceled = expectKind(await host.cancel('tree'), 'canceled');
    expect(canceled).toMatchObject({ proof: 'group+marker', remaining: [], beforeStart: false });
    expect((await processesOf('tree')).filter(({ part }) => part === 'command')).toEqual([]);
    expect(expectKind(await host.reportOf(id), 'canceled').code).toBe(137);
    expect((await host.client.status(id)).return_code).toBe(137);
  });

  test('a command that handles SIGTERM keeps its own code when it is canceled', async () => {
    await host.start({
      token: 'handles',
      command: 'trap "echo bye; exit 3" TERM; echo ready; sleep 300 & wait',
    });
    await until(async () => (await host.read('handles', 'stdout', 0, 10)).size === 6);
    const canceled = expectKind(await host.cancel('handles', 20), 'canceled');
    expect(canceled).toMatchObject({ code: 3, signal: null });
    expect(canceled.stdoutTail?.toString()).toBe('ready\nbye\n');
  });

  test('cancel of a token never seen is a tombstone: a start that comes late starts nothing', async () => {
    expectKind(await host.state('late'), 'unknown');
    expectKind(await host.cancel('late'), 'canceled');
    const order = { token: 'late', command: 'touch late', workdir: host.agent.home };
    const report = expectKind(await host.reportOf(await host.start(order)), 'canceled');
    expect(report).toMatchObject({ beforeStart: true, code: null, proof: 'group+marker' });
    await expect(readFile(join(host.agent.home, 'late'))).rejects.toThrow('ENOENT');
  });

  test('cancel of a job that is over leaves its end as it was', async () => {
    await host.reportOf(await host.start({ token: 'over', command: 'exit 6' }));
    expect(expectKind(await host.cancel('over'), 'ended')).toMatchObject({ reason: 'exit', code: 6 });
  });

  test('after another boot a job that had not ended reads reboot, one that had keeps its end', async () => {
    const order = { token: 'booted', command: 'exec sleep 300' };
    await host.start(order);
    await running('booted');
    const ask = { dir: host.dir, bootId: 'another-boot' };
    const report = expectKind(
      await host.ask(launcherCommand.state({ ...ask, tokens: ['booted'] })),
      'reboot',
    );
    expect(report.startedAt).toBeGreaterThan(0);
    expectKind(await host.ask(launcherCommand.start({ ...ask, ...order })), 'reboot');
    expectKind(await host.ask(launcherCommand.cancel({ ...ask, token: 'booted' })), 'reboot');
    expect((await processesOf('booted')).some(({ part }) => part === 'command')).toBe(true);
    expectKind(await host.cancel('booted'), 'canceled');
    expectKind(await host.ask(launcherCommand.state({ ...ask, tokens: ['booted'] })), 'canceled');
  });

  test('a process that has only the number of the command is not signalled', async () => {
    // It leads a session and a group of that number too.
    const bystander = spawn('sleep', ['300'], { detached: true, stdio: 'ignore' });
    await host.start({ token: 'reused', command: 'exec sleep 300' });
    await running('reused');
    await killProcessesOf('reused');
    const go = join(host.dir, 'reused', 'go');
    const [boot, , ...rest] = (await readFile(go, 'utf8')).split(' ');
    await writeFile(go, [boot, bystander.pid, ...rest].join(' '));
    expectKind(await host.cancel('reused'), 'exit_unknown');
    expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
    bystander.kill('SIGKILL');
  });

  test('a directory that is missing, made again or a link is refused, and nothing is started', async () => {
    const order = { token: 'nowhere', command: 'touch nowhere', workdir: host.agent.home };
    const gone = await host.ask(launcherCommand.start({ dir: `${host.dir}0`, ...order }));
    expect(gone).toEqual({ kind: 'refused', token: 'nowhere', why: 'dir_missing' });
    const link = join(host.agent.home, '.sluice', 'link');
    await symlink(host.dir, link);
    const linked = await host.ask(launcherCommand.start({ dir: link, ...order }));
    expect(linked).toMatchObject({ kind: 'refused', why: 'dir_symlink' });
    const other = join(host.agent.home, 'other');
    await symlink(dirname(host.dir), other);
    const below = await host.ask(
      launcherCommand.state({ dir: host.dir.replace('.sluice', 'other'), tokens: ['over'] }),
    );
    expect(below).toEqual({ kind: 'refused', token: null, why: 'dir_symlink' });
    await expect(readFile(join(host.agent.home, 'nowhere'))).rejects.toThrow('ENOENT');
  });

  test('a directory that was wiped gets another name, so that a repeated start is refused', async () => {
    const base = dirname(host.dir);
    await rename(base, `${base}.kept`);
    const fresh = expectKind(await host.ask(launcherCommand.probe()), 'usable');
    expect(fresh.dir).not.toBe(host.dir);
    const again = await host.ask(launcherCommand.start({ dir: host.dir, token: 'over', command: 'true' }));
    expect(again).toMatchObject({ kind: 'refused', why: 'dir_missing' });
    await rm(base, { recursive: true });
    await rename(`${base}.kept`, base);
  });

  test.skipIf(!isRoot)("somebody else's directory is refused (needs root to make one)", async () => {
    const theirs = join(host.agent.home, 'theirs');
    await cp(dirname(host.dir), theirs, { recursive: true });
    await chown(theirs, 65534, 65534);
    const dir = host.dir.replace('.sluice', 'theirs');
    const report = await host.ask(launcherCommand.start({ dir, token: 'theirs', command: 'true' }));
    expect(report).toMatchObject({ kind: 'refused', why: 'dir_not_own' });
  });

  test('the probe passes over a home that cannot be used, and asks for the tools it needs', async () => {
    const base = dirname(host.dir);
    const fallback = `/var/tmp/sluice-${process.getuid?.()}`;
    const hadFallback = existsSync(fallback);
    await rename(base, `${base}.kept`);
    await mkdir(`${base}.real`);
    await symlink(`${base}.real`, base);
    const probed = expectKind(await host.ask(launcherCommand.probe()), 'usable');
    expect(dirname(probed.dir)).toBe(fallback);
    if (!hadFallback) await rm(fallback, { recursive: true });
    await rm(base);
    await rename(`${base}.kept`, base);
    await writeFile(join(tools, 'grep'), '#!/bin/sh\nexit 2\n', { mode: 0o755 });
    expect(await host.ask(launcherCommand.probe())).toEqual({
      kind: 'refused',
      token: null,
      why: 'missing proc',
    });
    await chmod(join(tools, 'grep'), 0o644);
    await rm(join(tools, 'grep'));
  });
});

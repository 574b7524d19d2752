/** The launcher in tmux, and as another user: what belongs to the terminal and to the login stays as it was. */
import { randomUUID } from 'node:crypto';
import { readdir, stat, utimes } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectKind, type LauncherHost, startLauncherHost } from '../helpers/base-agent.launcher.ts';
import { killProcessesOf, processesOf } from '../helpers/base-agent.processes.ts';
import { createTemporaryUser, type TemporaryUser } from '../helpers/temporary-user.ts';
import { until } from '../helpers/until.ts';

const GENERATIONS = ['A', 'B', 'C'] as const;

describe.each(GENERATIONS)('launcher in tmux on generation %s', (generation) => {
  let host: LauncherHost;
  beforeAll(async () => {
    host = await startLauncherHost(generation);
  });
  afterAll(() => host?.close());

  const inTmux = (token: string, command: string) =>
    host.start({ token, command, mode: 'tmux' }, { use_tmux: true });

  test('the pane is standard input and shows both streams, which are recorded apart, with the exact code', async () => {
    const command = 'echo to-out; echo to-err >&2; read -r answer; echo "got $answer"; exit 11';
    const id = await inTmux('pane', command);
    await until(
      async () => /to-out/.test(await host.agent.pane(id)) && /to-err/.test(await host.agent.pane(id)),
    );
    await host.agent.sendKeys(id, ['yes', 'Enter']);
    const ended = await host.client.ended(id);
    expect(ended.return_code).toBe(11);
    const report = expectKind(await host.reportOf(id), 'ended');
    expect(report).toMatchObject({ reason: 'exit', code: 11 });
    expect(report.stdoutTail?.toString()).toBe('to-out\ngot yes\n');
    expect(report.stderrTail?.toString()).toBe('to-err\n');
  });

  test('when its session is closed, the command hears of it as from any terminal', async () => {
    const id = await inTmux('closed', 'echo ready; exec sleep 300');
    await until(async () => /ready/.test(await host.agent.pane(id)));
    await host.client.json('POST', `/cancel/${id}`);
    const report = await until(async () => {
      const now = await host.state('closed');
      return now?.kind === 'ended' && now;
    });
    expect(report).toMatchObject({ reason: 'signal', signal: 'HUP', code: 129 });
  });

  test('a job that did not ask for tmux outlives the session in which the agent runs everything', async () => {
    const token = 'detached';
    const id = await host.start({ token, command: 'echo ready; sleep 2; exit 12' }, { use_tmux: true });
    await until(async () => (await processesOf(token)).some(({ part }) => part === 'command'));
    await host.client.json('POST', `/cancel/${id}`);
    await until(async () => (await processesOf(token)).every(({ part }) => part !== 'start'));
    const report = await until(async () => {
      const now = await host.state(token);
      return now?.kind === 'ended' && now;
    });
    expect(report).toMatchObject({ reason: 'exit', code: 12 });
  });
});

describe.skipIf(process.getuid?.() !== 0).each(GENERATIONS)(
  'launcher as another user on generation %s (needs root)',
  (generation) => {
    const tokens = { env: `env-${randomUUID()}`, tree: `tree-${randomUUID()}` };
    let user: TemporaryUser;
    let host: LauncherHost;
    beforeAll(async () => {
      user = await createTemporaryUser();
      host = await startLauncherHost(generation, user.name);
    });
    afterAll(async () => {
      await host?.close();
      await user?.remove();
    });

    test("the environment is that of su - USER -c and the job's own, in the user's directory", async () => {
      expect(host.probed.user).toBe(user.name);
      expect((await stat(host.dir)).uid).toBe(host.probed.uid);
      const plain = await host.client.ended(await host.send('env'));
      const command = 'env; pwd >&2; id -Gn >&2';
      const id = await host.start({ token: tokens.env, command, env: { ADDED: "it's" } });
      await host.client.ended(id);
      const report = expectKind(await host.reportOf(id), 'ended');
      const ours = variables(report.stdoutTail!.toString());
      expect(ours.get('SLUICE_JOB_ID')).toBe(tokens.env);
      expect(ours.get('ADDED')).toBe("it's");
      for (const name of ['SLUICE_JOB_ID', 'ADDED']) ours.delete(name);
      expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(variables(plain.stdout ?? '')));
      expect(report.stderrTail?.toString().split('\n')[0]).toBe(ours.get('HOME'));
    });

    test('tmux mode works there too, and cancel proves that the tree is gone', async () => {
      const token = tokens.tree;
      const command = "trap '' TERM HUP; echo ready; (sleep 300 & sleep 300) & read -r x; sleep 300";
      const id = await host.start({ token, command, mode: 'tmux' }, { use_tmux: true });
      await until(async () => /ready/.test(await host.agent.pane(id)));
      const canceled = expectKind(await host.cancel(token), 'canceled');
      expect(canceled).toMatchObject({ proof: 'group+marker', remaining: [] });
      expect((await processesOf(token)).filter(({ part }) => part === 'command')).toEqual([]);
    });
  },
);

describe('launcher clearing up', () => {
  let host: LauncherHost;
  beforeAll(async () => {
    host = await startLauncherHost('A');
  });
  afterAll(() => host?.close());

  test('output goes after 7 days and directories after 30, but never those of a job that runs', async () => {
    for (const token of ['new', 'week', 'month']) {
      await host.reportOf(await host.start({ token, command: 'echo out' }));
    }
    await host.start({ token: 'running', command: 'exec sleep 300' });
    await until(async () => (await processesOf('running')).some(({ part }) => part === 'command'));
    await host.cancel('tombstone');
    const age = async (path: string, days: number) => {
      const then = Date.now() / 1000 - days * 86_400 - 60;
      await utimes(join(host.dir, path), then, then);
    };
    await age('week/exit', 7);
    await age('month/exit', 30);
    await age('running', 31);
    await age('tombstone', 31);
    await age('cleared', 2);
    await host.reportOf(await host.start({ token: 'next', command: 'true' }));
    await until(async () => !(await readdir(host.dir)).includes('tombstone'));
    expect((await readdir(host.dir)).sort()).toEqual(['cleared', 'id', 'new', 'next', 'running', 'week']);
    expect(await readdir(join(host.dir, 'new'))).toContain('out');
    const week = expectKind(await host.state('week'), 'ended');
    expect(week).toMatchObject({ code: 0, stdoutBytes: null, stdoutTail: null });
    expect(await host.read('week', 'stdout', 0, 10)).toMatchObject({ size: null, eof: true });
    await killProcessesOf('running');
  });

  test('the user it ran as is in the probe', () => {
    expect(host.probed).toMatchObject({ user: userInfo().username, uid: process.getuid?.() });
  });
});

/** What `env` printed, without what a shell sets for itself. */
function variables(text: string): Map<string, string> {
  const pairs = text.split('\n').filter((line) => line.includes('='));
  const all = new Map(pairs.map((line) => line.split(/=(.*)/s, 2) as [string, string]));
  for (const name of ['SHLVL', '_', 'PWD', 'OLDPWD']) all.delete(name);
  return all;
}

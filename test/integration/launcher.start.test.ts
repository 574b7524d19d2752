/** What goes wrong when a command is pasted into a Base agent's script comes out right through the launcher. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectKind, type LauncherHost, startLauncherHost } from '../helpers/base-agent.launcher.ts';

describe.each(['A', 'B', 'C'] as const)('launcher on generation %s', (generation) => {
  let host: LauncherHost;
  beforeAll(async () => {
    host = await startLauncherHost(generation);
  });
  afterAll(() => host?.close());

  async function outcomeOf(
    token: string,
    command: string,
    more: Partial<Parameters<LauncherHost['start']>[0]> = {},
  ) {
    const id = await host.start({ token, command, ...more });
    const status = await host.client.ended(id);
    const report = expectKind(await host.reportOf(id), 'ended');
    return {
      ...report,
      agentsCode: status.return_code,
      stdout: report.stdoutTail?.toString(),
      stderr: report.stderrTail?.toString(),
    };
  }

  test('all output of a compound command arrives, with its code', async () => {
    const ended = await outcomeOf('compound', 'echo a; echo b; ls /nonexistent');
    expect(ended).toMatchObject({ reason: 'exit', code: 2, agentsCode: 2, signal: null, stdout: 'a\nb\n' });
    expect(ended.stderr).toContain('/nonexistent');
    expect(ended.endedAt).toBeGreaterThanOrEqual(ended.startedAt!);
    expect(Math.abs(ended.endedAt! - Date.now())).toBeLessThan(10_000);
  });

  test('a top-level exit ends with its code', async () => {
    expect(await outcomeOf('exit', 'exit 3')).toMatchObject({ reason: 'exit', code: 3, agentsCode: 3 });
  });

  test('a comment, several lines and a syntax error are as in a shell', async () => {
    expect(await outcomeOf('comment', 'echo x # note')).toMatchObject({ code: 0, stdout: 'x\n' });
    const lines = 'if true\nthen\n  echo "it\'s 1!"\n\nfi\nexit 7';
    expect(await outcomeOf('lines', lines)).toMatchObject({ code: 7, stdout: "it's 1!\n" });
    expect(await outcomeOf('syntax', 'if true; fi')).toMatchObject({ code: 2, stdout: '' });
  });

  test('env arrives with quotes, newlines, backslashes and dollars, and SLUICE_JOB_ID with it', async () => {
    const odd = 'it\'s "q"\nline two\n\n$HOME `id` \\n \\\\ ! !! ünïcode ';
    const command = 'printf %s "$ODD"; printf %s "$EMPTY$SLUICE_JOB_ID" >&2';
    const ended = await outcomeOf('env', command, { env: { ODD: odd, EMPTY: '' } });
    expect(ended).toMatchObject({ code: 0, stdout: odd, stderr: 'env' });
  });

  test('workdir and shell are used', async () => {
    const ended = await outcomeOf('where', 'pwd; echo "$0$BASH_VERSION"', {
      workdir: '/usr/lib',
      shell: '/bin/sh',
    });
    expect(ended.stdout).toBe('/usr/lib\n/bin/sh\n');
  });

  test('a workdir or shell that cannot be used starts nothing and says so, and may be mended', async () => {
    const order = { token: 'mended', command: 'echo ran' };
    const noDir = await host.reportOf(await host.start({ ...order, workdir: '/nonexistent' }));
    expect(noDir).toEqual({ kind: 'refused', token: 'mended', why: 'workdir' });
    const noShell = await host.reportOf(await host.start({ ...order, shell: '/bin/nonexistent' }));
    expect(noShell).toEqual({ kind: 'refused', token: 'mended', why: 'shell' });
    expect(expectKind(await host.reportOf(await host.start(order)), 'ended').stdoutTail?.toString()).toBe(
      'ran\n',
    );
  });

  test('the timeout is enforced on the host, on a tree that ignores SIGTERM', async () => {
    const command = "trap '' TERM; (sleep 300 & sleep 300) & sleep 300";
    const ended = await outcomeOf('timeout', command, { timeoutSeconds: 1, graceSeconds: 1 });
    expect(ended).toMatchObject({ reason: 'timeout', agentsCode: 124, proof: 'group+marker', remaining: [] });
    expect(await marked('timeout')).toEqual([]);
  });

  test("a command's own 124 and 137 are exit codes of their own", async () => {
    expect(await outcomeOf('own124', 'exit 124', { timeoutSeconds: 60 })).toMatchObject({
      reason: 'exit',
      code: 124,
    });
    const own = { reason: 'exit', code: 137, signal: null };
    expect(await outcomeOf('own137', 'exit 137')).toMatchObject(own);
    const killed = { reason: 'signal', code: 137, signal: 'KILL' };
    expect(await outcomeOf('killed', 'kill -9 $$')).toMatchObject(killed);
  });

  test('a command ended by a signal names it', async () => {
    expect(await outcomeOf('signal', 'kill -HUP $$')).toMatchObject({
      reason: 'signal',
      code: 129,
      signal: 'HUP',
    });
  });

  test('bytes that are not UTF-8 come back exactly', async () => {
    const ended = await outcomeOf('bytes', "printf '\\377\\000\\364\\220\\200\\200'");
    expect([...ended.stdoutTail!]).toEqual([0xff, 0x00, 0xf4, 0x90, 0x80, 0x80]);
  });

  test('of 3 MB of random bytes any range can be read', async () => {
    const ended = await outcomeOf('random', 'head -c 3000000 /dev/urandom | tee copy', {
      workdir: host.agent.home,
    });
    expect(ended.stdoutBytes).toBe(3_000_000);
    const truth = await readFile(join(host.agent.home, 'copy'));
    expect(ended.stdoutTail!.equals(truth.subarray(-65536))).toBe(true);
    const range = await host.read('random', 'stdout', 1_234_567, 500_000);
    expect(range.data.equals(truth.subarray(1_234_567, 1_734_567))).toBe(true);
    expect(range).toMatchObject({ offset: 1_234_567, next: 1_734_567, size: 3_000_000, eof: false });
    const rest = await host.read('random', 'stdout', 2_999_990, 500_000);
    expect(rest).toMatchObject({ next: 3_000_000, eof: true });
    expect((await host.read('random', 'stdout', 4_000_000, 10)).data).toHaveLength(0);
  });

  test('100 MB of output stay out of the status of the agent', async () => {
    const id = await host.start({
      token: 'large',
      command: 'yes 0123456789abcde | head -c 100000000; echo done >&2',
    });
    const status = await host.client.ended(id);
    expect(status.stdout!.length).toBeLessThan(100_000);
    const ended = expectKind(await host.reportOf(id), 'ended');
    expect(ended).toMatchObject({ stdoutBytes: 100_000_000, stderrBytes: 5, code: 0 });
    const hash = createHash('sha256').update(ended.stdoutTail!).digest('hex');
    const expected = Buffer.from('0123456789abcde\n'.repeat(7000)).subarray(0, 100_000 - (100_000 % 16));
    expect(hash).toBe(createHash('sha256').update(expected.subarray(-65536)).digest('hex'));
  });

  test('a command that reads standard input ends', async () => {
    expect(await outcomeOf('stdin', 'cat; echo over')).toMatchObject({ code: 0, stdout: 'over\n' });
  });

  test('the same start sent twice at once starts once, and both end with its code and output', async () => {
    const order = {
      token: 'twice',
      command: 'echo x >> count; sleep 1; cat count; exit 9',
      workdir: host.agent.home,
    };
    const ids = await Promise.all([host.start(order), host.start(order)]);
    for (const id of ids) {
      const status = await host.client.ended(id);
      expect(status.return_code).toBe(9);
      const report = expectKind(await host.reportOf(id), 'ended');
      expect(report).toMatchObject({ token: 'twice', code: 9 });
      expect(report.stdoutTail?.toString()).toBe('x\n');
    }
    expect(await readFile(join(host.agent.home, 'count'), 'utf8')).toBe('x\n');
  });

  test('processes left behind on purpose go on and are counted, or are ended if that was asked', async () => {
    const kept = await outcomeOf('kept', 'sleep 300 & sleep 300 & echo started');
    expect(kept).toMatchObject({ code: 0, leftovers: 2, remaining: [], stdout: 'started\n' });
    expect(await marked('kept')).toHaveLength(2);
    const ended = await outcomeOf('dropped', '(setsid sleep 300 &) ; sleep 300 & echo started', {
      leftovers: 'kill',
    });
    expect(ended).toMatchObject({ code: 0, leftovers: 0, remaining: [], proof: 'group+marker' });
    expect(await marked('dropped')).toEqual([]);
  });

  const marked = async (token: string) => {
    const id = await host.send(`grep -lszxF SLUICE_JOB_ID=${token} /proc/[0-9]*/environ`);
    return ((await host.client.ended(id)).stdout ?? '').split('\n').filter((line) => line !== '');
  };
});

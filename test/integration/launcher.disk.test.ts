/** The launcher in a home whose disk is full, out of inodes or read-only, at each step of a job, and the way back. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launcherCommand } from '../../src/protocol/launcher.ts';
import { parseLauncherReport } from '../../src/protocol/launcher-report.ts';
import { expectKind } from '../helpers/base-agent.launcher.ts';
import { killProcessesOf } from '../helpers/base-agent.processes.ts';
import { canMount, createOwnDisk, type OwnDisk } from '../helpers/own-disk.ts';
import { until } from '../helpers/until.ts';

const SHORTAGES = [
  { what: 'full', take: (disk: OwnDisk) => disk.fill() },
  { what: 'out of inodes', take: (disk: OwnDisk) => disk.takeAllInodes() },
];
const ENDS = [
  { token: 'end-own', end: 'exit 7', is: { reason: 'exit', code: 7, signal: null } },
  { token: 'end-137', end: 'exit 137', is: { reason: 'exit', code: 137, signal: null } },
  { token: 'end-killed', end: 'kill -KILL $$', is: { reason: 'signal', code: 137, signal: 'KILL' } },
];
const TOKENS = [...ENDS.map(({ token }) => token), 'refused', 'stopped', 'limited'];

describe.skipIf(!canMount())('a launcher whose disk is (needs root and a loop device)', () => {
  let disk: OwnDisk;
  let scratch: string;
  let dir: string;
  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'launcher-disk-'));
    disk = createOwnDisk({ megabytes: 16, inodes: 300 });
    dir = expectKind(await say(launcherCommand.probe()), 'usable').dir;
  });
  afterEach(async () => {
    disk.free();
    for (const token of TOKENS) await killProcessesOf(token);
    disk.remove();
    rmSync(scratch, { recursive: true });
  });

  const say = (command: string) =>
    new Promise<ReturnType<typeof parseLauncherReport>>((resolve) => {
      const env = { PATH: process.env.PATH, HOME: disk.path };
      execFile('sh', ['-c', command], { env }, (_error, stdout) => resolve(parseLauncherReport(stdout)));
    });
  const counted = (token: string) => `echo x >> ${scratch}/${token}`;
  const waiting = (token: string) => `${counted(token)}; until [ -e ${scratch}/go-on ]; do sleep 0.05; done`;
  const begun = (token: string) => until(() => existsSync(join(scratch, token)));
  /** Its command is gone, and its recorder sleeps until it can write how it ended. */
  const waitsForDisk = (token: string) => {
    const [, command, , recorder] = readFileSync(join(dir, token, 'go'), 'utf8').split(' ');
    const children = readFileSync(`/proc/${recorder}/task/${recorder}/children`, 'utf8').split(' ');
    const sleeps = (pid: string) => pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep');
    return !existsSync(`/proc/${command}`) && children.some(sleeps);
  };
  const goOn = () => writeFileSync(join(scratch, 'go-on'), '');

  it.each(SHORTAGES)(
    '$what starts nothing, says why, and starts the same once there is room',
    async ({ take }) => {
      take(disk);
      const order = launcherCommand.start({ dir, token: 'refused', command: counted('refused') });
      expect(await say(order)).toEqual({ kind: 'refused', token: 'refused', why: 'dir_not_writable' });
      expect(existsSync(join(scratch, 'refused'))).toBe(false);
      disk.free();
      expect(await say(order)).toMatchObject({ kind: 'ended', code: 0 });
      expect(readFileSync(join(scratch, 'refused'), 'utf8')).toBe('x\n');
    },
  );

  it.each(SHORTAGES)('$what when a job ends still records how', async ({ take }) => {
    const ends = ENDS.map(({ token, end }) =>
      say(launcherCommand.start({ dir, token, command: `${waiting(token)}; ${end}` })),
    );
    for (const { token } of ENDS) await begun(token);
    take(disk);
    goOn();
    for (const [index, { is }] of ENDS.entries()) {
      expect(await ends[index]).toMatchObject({ kind: 'ended', ...is });
    }
  });

  it.each(SHORTAGES)('$what lets a job be cancelled with proof, and keeps a timeout', async ({ take }) => {
    const stubborn = `${counted('stopped')}; trap "" TERM; while :; do sleep 0.1; done`;
    const stopped = say(launcherCommand.start({ dir, token: 'stopped', command: stubborn }));
    const limits = { timeoutSeconds: 3, graceSeconds: 0 };
    const limited = say(
      launcherCommand.start({ dir, token: 'limited', command: `${counted('limited')}; sleep 60`, ...limits }),
    );
    await begun('stopped');
    await begun('limited');
    take(disk);
    const canceled = await say(launcherCommand.cancel({ dir, token: 'stopped', graceSeconds: 0 }));
    expect(canceled).toMatchObject({ kind: 'canceled', proof: 'group+marker', remaining: [], code: 137 });
    expect((await stopped)?.kind).toBe('canceled');
    expect(await limited).toMatchObject({ kind: 'ended', reason: 'timeout' });
    // By it the recorder knows to wait until the signal was sent, and the end of a command that obeys at once is told truly.
    for (const token of ['stopped', 'limited']) expect(existsSync(join(dir, token, 'why'))).toBe(true);
  });

  it('read-only starts nothing; what ends meanwhile is told truly as soon as it can be written', async () => {
    const ends = ENDS.map(({ token, end }) =>
      say(launcherCommand.start({ dir, token, command: `${waiting(token)}; ${end}` })),
    );
    for (const { token } of ENDS) await begun(token);
    disk.makeReadOnly();
    const order = launcherCommand.start({ dir, token: 'refused', command: counted('refused') });
    expect(await say(order)).toMatchObject({ kind: 'refused' });
    goOn();
    const ask = launcherCommand.state({ dir, tokens: ['end-own'] });
    expect(await say(ask)).toMatchObject({ kind: expect.stringMatching(/running|refused/) });
    for (const { token } of ENDS) await until(() => waitsForDisk(token), { what: `${token} to end` });
    disk.makeWritable();
    for (const [index, { is }] of ENDS.entries()) {
      expect(await ends[index]).toMatchObject({ kind: 'ended', ...is });
    }
  });
});

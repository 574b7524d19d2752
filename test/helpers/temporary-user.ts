/**
 * An account of this machine that lives as long as a test: with a group of its own, a supplementary one and a home.
 * Needs root.
 *
 * Test files run side by side, and the tools for accounts do not wait for each other: one that finds the files of
 * accounts locked gives up at once. So each is asked again for a while.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './until.ts';

export interface TemporaryUser {
  name: string;
  /** The supplementary group. */
  group: string;
  /** Empty, and the user's own. */
  home: string;
  uid: number;
  remove(): Promise<void>;
}

export async function createTemporaryUser(): Promise<TemporaryUser> {
  const name = `sluice-${randomBytes(4).toString('hex')}`;
  const group = `${name}-more`;
  const home = await mkdtemp(join(tmpdir(), 'sluice-test-home-'));
  const remove = async () => {
    const users = changeAccount('userdel', name);
    await Promise.allSettled([users]);
    const groups = changeAccount('groupdel', group);
    await Promise.allSettled([groups, rm(home, { recursive: true, force: true })]);
    await Promise.all([users, groups]);
  };
  try {
    await changeAccount('groupadd', group);
    const options = ['--no-create-home', '--home-dir', home, '--groups', group, '--shell', '/bin/bash'];
    await changeAccount('useradd', ...options, '--user-group', name);
    const uid = await idOf('-u', name);
    await chown(home, uid, await idOf('-g', name));
    await chmod(home, 0o755);
    return { name, group, home, uid, remove };
  } catch (error) {
    await remove().catch(() => {});
    throw error;
  }
}

const run = promisify(execFile);

/** Runs one of the tools that write /etc/passwd and its companions, such as `chage`, until none is in its way. */
export async function changeAccount(tool: string, ...args: string[]): Promise<void> {
  // Where a login has no administrator's PATH the tools are there all the same.
  const env = { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  let failure: unknown;
  await until(
    async () => {
      failure = await run(tool, args, { env }).then(
        () => null,
        (error: unknown) => error,
      );
      return failure === null || !isInTheWay(failure);
    },
    { timeoutMs: 20_000, everyMs: 50, what: `${tool} ${args.join(' ')}` },
  ).catch((error: Error) => {
    throw new Error(error.message, { cause: failure });
  });
  if (failure !== null) throw failure;
}

/** The files are locked, or a process of the user that was killed is not gone yet. */
function isInTheWay(failure: unknown): boolean {
  return /cannot lock|try again later|currently used by process/.test(
    `${(failure as { stderr?: string }).stderr}`,
  );
}

async function idOf(flag: '-u' | '-g', name: string): Promise<number> {
  return Number((await run('id', [flag, name])).stdout);
}

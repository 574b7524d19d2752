/**
 * The user whose script the third job runs: as root another user of this machine, made for the demonstration; else
 * nobody but oneself may be run as, and the script lies in the demonstration's own directory.
 */
import { spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { say } from './telling.ts';

export interface DemoUser {
  /** Null: the agent's own. */
  self: 'root' | null;
  /** Null: oneself. */
  name: string | null;
  script: string;
  remove(): void;
}

const NAME = 'sluice-demo';
const SCRIPT = `#!/bin/sh
echo "hello from $(id -un), in $(pwd)"
for i in 1 2 3 4 5; do
  echo "step $i"
  sleep 1
done
`;

export function prepareUser(dir: string): DemoUser {
  if (process.getuid?.() !== 0) {
    say('not root: all jobs run as you, and the third one is not another user’s');
    const home = join(dir, 'home');
    mkdirSync(home);
    return { self: null, name: null, script: writeScript(home), remove: () => {} };
  }
  const made = run('useradd', '--create-home', '--shell', '/bin/bash', NAME);
  if (made.status !== 0) {
    const why = made.stderr?.trim() || made.error?.message;
    say(`no user can be made here (${why}): the third job runs as root`);
    return { self: 'root', name: null, script: writeScript(dir), remove: () => {} };
  }
  const [, , uid = '', gid = '', , home = ''] = run('getent', 'passwd', NAME).stdout.trim().split(':');
  const script = writeScript(home);
  chownSync(script, Number(uid), Number(gid));
  say(`made the user ${NAME}, with ${script}`);
  const remove = () => {
    run('userdel', '--remove', NAME);
    say(`removed the user ${NAME}`);
  };
  return { self: 'root', name: NAME, script, remove };
}

function writeScript(directory: string): string {
  const file = join(directory, 'count.sh');
  writeFileSync(file, SCRIPT, { mode: 0o755 });
  return file;
}

function run(command: string, ...args: string[]) {
  return spawnSync(command, args, { encoding: 'utf8' });
}

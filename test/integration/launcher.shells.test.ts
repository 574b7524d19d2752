/**
 * The launcher's text under every login shell, and its script under every sh, that this machine has. Directories in
 * SLUICE_TEST_SHELLS (colons between) are searched for more of them first.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launcherCommand } from '../../src/protocol/launcher.ts';
import { parseLauncherReport } from '../../src/protocol/launcher-report.ts';
import { expectKind } from '../helpers/base-agent.launcher.ts';

const EXTRA = (process.env.SLUICE_TEST_SHELLS ?? '').split(':').filter((dir) => dir !== '');

const found = (name: string): string | null => {
  for (const dir of [...EXTRA, '/bin', '/usr/bin']) {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return join(dir, name);
    } catch {
      // Not there.
    }
  }
  return null;
};

describe('launcher under the shells of this machine', () => {
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'launcher-shells-'));
  });
  afterAll(() => rm(home, { recursive: true, force: true, maxRetries: 5 }));

  const odd = `it's "q"!! !x \\\\ \\! \\' end\\\nline two\n\n$HOME \`id\` \\n *`;

  function roundTrip(loginShell: string, token: string, path = process.env.PATH ?? '') {
    const env = { PATH: path, HOME: home };
    const say = (command: string) => {
      try {
        return parseLauncherReport(execFileSync(loginShell, ['-c', command], { env }).toString());
      } catch (error) {
        return parseLauncherReport(String((error as { stdout?: Buffer }).stdout));
      }
    };
    const { dir } = expectKind(say(launcherCommand.probe()), 'usable');
    const command = 'printf %s "$ODD"; echo "hi!!" \\\\ >&2\nexit 5';
    const ended = expectKind(say(launcherCommand.start({ dir, token, command, env: { ODD: odd } })), 'ended');
    expect(ended.code).toBe(5);
    expect(ended.stdoutTail?.toString()).toBe(odd);
    expect(ended.stderrTail?.toString()).toBe('hi!! \\\n');
    const hung = { dir, token: `${token}-hung`, command: "trap '' TERM; sleep 60 & sleep 60" };
    const late = expectKind(
      say(launcherCommand.start({ ...hung, timeoutSeconds: 1, graceSeconds: 0 })),
      'ended',
    );
    expect(late).toMatchObject({ reason: 'timeout', proof: 'group+marker', remaining: [] });
  }

  for (const name of ['dash', 'bash', 'zsh', 'ksh', 'mksh', 'tcsh', 'csh', 'fish']) {
    const path = found(name);
    test.skipIf(path === null)(`a login shell ${name} passes it on as it is (if installed)`, () => {
      roundTrip(path!, `login-${name}`);
    });
  }

  for (const name of ['dash', 'bash', 'busybox', 'ksh', 'mksh']) {
    const path = found(name);
    test.skipIf(path === null)(`with ${name} as sh it does the same (if installed)`, async () => {
      const bin = join(home, `bin-${name}`);
      if (name === 'busybox') {
        execFileSync('mkdir', ['-p', bin]);
        execFileSync(path!, ['--install', '-s', bin]);
      } else {
        execFileSync('mkdir', ['-p', bin]);
        await symlink(path!, join(bin, 'sh'));
      }
      roundTrip('/bin/sh', `sh-${name}`, name === 'busybox' ? bin : `${bin}:${process.env.PATH}`);
    });
  }
});

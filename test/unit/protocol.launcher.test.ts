/** The text that is sent to Base agents: one line, readable, and free of what it must not contain. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  LauncherInputError,
  launcherCommand,
  MAX_LAUNCHER_COMMAND_BYTES,
} from '../../src/protocol/launcher.ts';
import { LAUNCHER_SCRIPT, oneLine } from '../../src/protocol/launcher-script.ts';

const order = { dir: '/home/u/.sluice/x', token: 'job-1', command: 'true' };

describe('launcher command', () => {
  test('it is one line for every verb, whatever the values hold', () => {
    const values = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', ''));
    fc.assert(
      fc.property(values, values, (command, value) => {
        expect(launcherCommand.start({ ...order, command, env: { A: value } })).not.toContain('\n');
      }),
    );
    const { dir, token } = order;
    const others = [
      launcherCommand.probe(),
      launcherCommand.state({ dir, tokens: ['a', 'b'] }),
      launcherCommand.cancel({ dir, token }),
      launcherCommand.read({ dir, token, stream: 'stdout', offset: 0, limit: 10 }),
    ];
    for (const text of others) expect(text).not.toContain('\n');
  });

  test('every word comes out of a shell as it went in', () => {
    const values = fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/\0/g, ''));
    const awkward = fc.array(fc.constantFrom("'", '"', '\\', '!', '\n', '$', '`', ' ', '#', 'a', '*', '~'));
    const texts = fc.oneof(
      values,
      awkward.map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(texts, (command) => {
        const text = launcherCommand.start({ ...order, command });
        // The words after the script are printed instead of being run.
        const shown = execFileSync('sh', [
          '-c',
          `set -- ${text.slice('sh -c '.length)}; shift 14; printf '%s\\0' "$@"`,
        ]);
        const words = shown.toString().split('\0').slice(0, -1);
        expect(words[0]).toBe('c');
        const lines = words.filter((_, index) => index % 2 === 1);
        expect(lines.join('\n')).toBe(Buffer.from(command).toString());
      }),
      { numRuns: 60 },
    );
  });

  test('the command of the user stays readable in it', () => {
    const command = 'cd /srv && ./load --day "$(date +%F)" | tee log; shutdown -h now';
    expect(launcherCommand.start({ ...order, command })).toContain(`'${command}'`);
  });

  test('its own text has no word that blacklists of hosts usually name', () => {
    const words = [
      'rm -',
      'shutdown',
      'reboot',
      'halt',
      'poweroff',
      'mkfs',
      'dd if=',
      ':(){',
      'sudo',
      'init ',
      'eval',
    ];
    for (const word of [
      ...words,
      'wget',
      'curl',
      'passwd',
      'chmod 777',
      '/dev/sd',
      'kill -9',
      'pkill',
      '> /dev/null 2>&1 &',
    ]) {
      expect(launcherCommand.probe()).not.toContain(word);
    }
  });

  test('the script is short, and has neither single quotes nor bashisms that a plain sh would refuse', () => {
    expect(LAUNCHER_SCRIPT.length).toBeLessThan(10_500);
    expect(LAUNCHER_SCRIPT).not.toMatch(/['\n]/);
    execFileSync('sh', ['-n', '-c', LAUNCHER_SCRIPT]);
    expect(oneLine('  a;\n# note\n\n  b\n')).toBe('a; b');
  });

  test.each([
    ['a NUL byte', { command: 'a\0b' }],
    ['a name that is no variable', { env: { 'A B': 'x' } }],
    ['a shell that is no path', { shell: 'bash' }],
    ['a shell that env would take for a variable', { shell: '/bin/a=b' }],
    ['a newline in the directory', { workdir: '/a\nb' }],
    ['a token with a slash', { token: '../x' }],
    ['a negative timeout', { timeoutSeconds: -1 }],
    ['more than one argument can hold', { command: 'x'.repeat(MAX_LAUNCHER_COMMAND_BYTES) }],
  ])('%s is refused', (_, more) => {
    expect(() => launcherCommand.start({ ...order, ...more })).toThrow(LauncherInputError);
  });

  test('the longest command and environment that a job may have fit', () => {
    const text = launcherCommand.start({
      ...order,
      command: 'x'.repeat(65_536),
      env: { A: 'y'.repeat(32_768) },
    });
    expect(Buffer.byteLength(text)).toBeLessThan(MAX_LAUNCHER_COMMAND_BYTES);
  });
});

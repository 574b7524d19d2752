/** The launcher's report survives profiles that talk, replies that were cut off, and garbage. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseLauncherReport, parseLauncherReports } from '../../src/protocol/launcher-report.ts';

const b64 = (text: string) => Buffer.from(text).toString('base64');
const ENDED = [
  '',
  '@sluice 1 token=t-1 state=ended kind=exit code=3 signal=- started=1700000000 ended=1700000002 out=4 err=6 kept=1 proof=- left=-',
  `@sluice 1 token=t-1 tail=out at=0 data=b64:${b64('out\n')}`,
  '@sluice 1 token=t-1 tail=err at=2 data=hex:72720a0a',
  '@sluice 1 token=t-1 done',
  '',
].join('\n');

const expected = {
  kind: 'ended',
  token: 't-1',
  reason: 'exit',
  code: 3,
  signal: null,
  startedAt: 1_700_000_000_000,
  endedAt: 1_700_000_002_000,
  leftovers: 1,
  proof: null,
  remaining: [],
  stdoutBytes: 4,
  stderrBytes: 6,
  stdoutTail: Buffer.from('out\n'),
  stderrTail: Buffer.from('rr\n\n'),
};

describe('launcher report', () => {
  test('an ended run is read with its tails', () => {
    expect(parseLauncherReport(ENDED)).toEqual(expected);
    expect(parseLauncherReport(ENDED, 't-1')).toEqual(expected);
    expect(parseLauncherReport(ENDED, 't-2')).toBeNull();
  });

  test('lines around it change nothing, nor does a last line without its end', () => {
    const noise = fc.string({ unit: 'binary' }).filter((text) => !text.includes('@sluice'));
    fc.assert(
      fc.property(noise, noise, (before, after) => {
        expect(parseLauncherReport(`${before}${ENDED}${after}`)).toEqual(expected);
      }),
    );
  });

  test('cut off anywhere it tells the same, less, or nothing, but never something else', () => {
    for (let length = 0; length < ENDED.length; length++) {
      const report = parseLauncherReport(ENDED.slice(0, length));
      if (report === null) continue;
      const { stdoutTail, stderrTail } = report as typeof expected;
      expect(report).toEqual({
        ...expected,
        stdoutTail: stdoutTail && expected.stdoutTail,
        stderrTail: stderrTail && expected.stderrTail,
      });
    }
  });

  test('garbage is no report and no exception', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(parseLauncherReports(`${text}\n`)).toEqual([]);
      }),
    );
    const words = fc.array(
      fc.constantFrom('@sluice 1 token=a', ' state=ended', ' kind=exit', ' range=out', '\n', '=', ' ', '9'),
    );
    fc.assert(fc.property(words, (parts) => Array.isArray(parseLauncherReports(`${parts.join('')}\n`))));
  });

  test('tails that do not fit their size are left out', () => {
    const wrong = ENDED.replace('out=4', 'out=5').replace('hex:72720a0a', 'hex:7272zz');
    expect(parseLauncherReport(wrong)).toMatchObject({ stdoutTail: null, stderrTail: null });
  });

  test('many tokens are many reports, the first of each', () => {
    const line = (token: string, state: string) =>
      `\n@sluice 1 token=${token} state=${state} kind=- code=- left=-\n`;
    const text =
      line('a', 'unknown') + line('b', 'never_ran') + line('a', 'running') + line('c', 'other_boot');
    expect(parseLauncherReports(text).map((report) => report.kind)).toEqual([
      'unknown',
      'never_ran',
      'reboot',
    ]);
  });

  test('what a cancel could not end is named', () => {
    const line =
      '@sluice 1 token=x state=ended kind=canceled code=137 signal=KILL started=1 ended=2 out=0 err=- kept=0 proof=group+marker left= 41 42\n';
    expect(parseLauncherReport(line)).toMatchObject({
      kind: 'canceled',
      beforeStart: false,
      proof: 'group+marker',
      remaining: [41, 42],
      stderrBytes: null,
    });
  });

  test('a refusal without a token is about all of them, and says why in words', () => {
    const line = '@sluice 1 token=- state=refused why=missing setsid grep\n';
    expect(parseLauncherReport(line, 'any')).toEqual({
      kind: 'refused',
      token: null,
      why: 'missing setsid grep',
    });
  });

  test('a probe and a range are read', () => {
    const probe =
      '@sluice 1 token=- state=usable user=etl uid=1001 boot=b-1 at=1700000000 fs=ext4 dir=/home/a b/.sluice/x\n';
    expect(parseLauncherReport(probe)).toEqual({
      kind: 'usable',
      dir: '/home/a b/.sluice/x',
      user: 'etl',
      uid: 1001,
      bootId: 'b-1',
      hostTime: 1_700_000_000_000,
      filesystem: 'ext4',
    });
    const range = `@sluice 1 token=t range=err state=ended at=2 size=6 whole=1 data=b64:${b64('abcd')}\n`;
    const read = {
      kind: 'range',
      token: 't',
      stream: 'stderr',
      offset: 2,
      data: Buffer.from('abcd'),
      size: 6,
      next: 6,
    };
    expect(parseLauncherReport(range)).toEqual({ ...read, eof: true });
    expect(parseLauncherReport(range.replace('whole=1', 'whole=0'))).toEqual({ ...read, eof: false });
    expect(parseLauncherReport(range.slice(0, -3))).toBeNull();
  });
});

/** What tells the output of two jobs apart, and what does not. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { ReportedOutput } from '../../src/job/report.ts';
import { outputPrint } from '../../src/workers/output-print.ts';

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const nothing = Buffer.alloc(0);

/** As a host reports `stdout`; the last 8 KiB of it are kept. */
function printOf(stdout: Buffer, { hashed = false, stderr = nothing } = {}): string {
  const report: ReportedOutput = {
    stdout_bytes: stdout.length,
    stderr_bytes: stderr.length,
    stdout_tail: null,
    stderr_tail: null,
    ...(hashed && { stdout_sha256: sha256(stdout), stderr_sha256: sha256(stderr) }),
  };
  return outputPrint(report, { stdout: stdout.subarray(-8_192), stderr: stderr.subarray(-8_192) });
}

describe('the print of an output', () => {
  it('is the same for the same bytes, whether or not the host has hashed them', () => {
    const hello = Buffer.from('hello\n');
    expect(printOf(hello)).toBe(printOf(Buffer.from('hello\n'), { hashed: true }));
  });

  it('tells apart what went to stdout and what went to stderr', () => {
    const text = Buffer.from('hello\n');
    expect(printOf(text)).not.toBe(printOf(nothing, { stderr: text }));
  });

  it('tells long outputs apart that end the same, by the hash of the host', () => {
    const long = (first: string) => Buffer.concat([Buffer.from(first), Buffer.alloc(20_000, 'x')]);
    expect(printOf(long('a'), { hashed: true })).not.toBe(printOf(long('b'), { hashed: true }));
    expect(printOf(long('a'), { hashed: true })).toBe(printOf(long('a'), { hashed: true }));
  });

  it('tells long outputs of other lengths apart where the host has no hash', () => {
    expect(printOf(Buffer.alloc(20_000, 'x'))).not.toBe(printOf(Buffer.alloc(20_001, 'x')));
  });
});

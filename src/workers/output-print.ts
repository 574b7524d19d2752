/**
 * What tells one output from another without reading either: the same for two jobs that wrote the same to both streams,
 * whatever kind of agent they ran on. Streams that are kept whole are hashed here; of longer ones the host's own hash is
 * taken, and where it has none, their length and their end.
 */
import { createHash } from 'node:crypto';
import type { Tails } from '../job/record.ts';
import type { ReportedOutput } from '../job/report.ts';

const LENGTH = 22;

export function outputPrint(report: ReportedOutput, tails: Tails): string {
  const stdout = streamPrint(report.stdout_bytes, tails.stdout, report.stdout_sha256 ?? null);
  const stderr = streamPrint(report.stderr_bytes, tails.stderr, report.stderr_sha256 ?? null);
  return createHash('sha256').update(`${stdout} ${stderr}`).digest('base64url').slice(0, LENGTH);
}

function streamPrint(bytes: number | null, tail: Buffer, reported: string | null): string {
  const ofTail = createHash('sha256').update(tail).digest('hex');
  if (bytes === null || bytes <= tail.length) return ofTail;
  return reported ?? `${bytes} ${ofTail}`;
}

/**
 * What the three generations of Base agents answer, from their table in `docs/base-agents.md`: ids, words,
 * the order of keys, tokens, and what they make of bytes that are not UTF-8. Pure; used by `base-agent.ts` only.
 */
import type { JobFiles } from './base-agent.jobs.ts';

export type Generation = 'A' | 'B' | 'C';

export interface Answer {
  status: number;
  body: string;
  type: string;
}

export interface GenerationRules {
  /** Who chooses the job id: with `caller` a `job_id` without a value is answered by `withoutId`. */
  idFrom: 'agent' | 'caller';
  withoutId: Answer | null;
  hasPlainMode: boolean;
  envReachesCommand: boolean;
  startedWord: string;
  /** Which requests are counted where nothing else is asked for. */
  counts: 'nothing' | 'run';
  hasBlacklist: boolean;
  wrongToken: Answer | null;
  statusOf(id: string, files: JobFiles | null): Answer;
}

export const json = (value: unknown, status = 200): Answer => ({
  status,
  body: JSON.stringify(value),
  type: 'application/json',
});

export const SERVER_ERROR: Answer = { status: 500, body: 'Internal Server Error', type: 'text/plain' };

export const RULES: Record<Generation, GenerationRules> = {
  A: {
    idFrom: 'agent',
    withoutId: null,
    hasPlainMode: true,
    envReachesCommand: true,
    startedWord: 'running',
    counts: 'nothing',
    hasBlacklist: false,
    wrongToken: SERVER_ERROR,
    statusOf(id, files) {
      if (!files) return json({ job_id: id, status: 'unknown' });
      // Python's int('') and its strict decoder raise, and the framework answers 500.
      if (files.exit !== null && files.exit.trim() === '') return SERVER_ERROR;
      const [stdout, stderr] = [strictUtf8(files.stdout), strictUtf8(files.stderr)];
      if (stdout === null || stderr === null) return SERVER_ERROR;
      return json({ job_id: id, status: files.status, return_code: codeOf(files), stdout, stderr });
    },
  },
  B: {
    idFrom: 'caller',
    withoutId: json({ detail: [{ type: 'missing', loc: ['body', 'job_id'], msg: 'Field required' }] }, 422),
    hasPlainMode: false,
    envReachesCommand: false,
    startedWord: 'submitted',
    counts: 'run',
    hasBlacklist: true,
    wrongToken: null,
    statusOf(id, files) {
      if (!files)
        return json({ job_id: id, status: 'unknown', return_code: null, stdout: null, stderr: null });
      return json({
        job_id: id,
        status: files.status?.trim(),
        return_code: codeOf(files),
        stdout: strictUtf8(files.stdout) ?? '',
        stderr: strictUtf8(files.stderr) ?? '',
      });
    },
  },
  C: {
    idFrom: 'caller',
    withoutId: null,
    hasPlainMode: false,
    envReachesCommand: false,
    startedWord: 'submitted',
    counts: 'run',
    hasBlacklist: true,
    wrongToken: json({ error: 'invalid_token' }, 403),
    statusOf(id, files) {
      const answer = json({
        job_id: id,
        return_code: files ? codeOf(files) : null,
        status: files?.status?.trim() ?? '',
        stderr: files?.stderr.toString('utf8') ?? '',
        stdout: files?.stdout.toString('utf8') ?? '',
      });
      return { ...answer, body: escapedAsGoDoes(answer.body) };
    },
  },
};

function codeOf(files: JobFiles): number | null {
  const text = files.exit?.trim() ?? '';
  return /^\d+$/.test(text) ? Number(text) : null;
}

function strictUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

const escapedAsGoDoes = (body: string) =>
  body.replaceAll('<', '\\u003c').replaceAll('>', '\\u003e').replaceAll('&', '\\u0026');

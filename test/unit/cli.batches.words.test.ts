/** A batch's end as an exit code, which scripts build on, and in words. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  EXIT_CODES,
  exitCodeOfBatch,
  headingOf,
  headingOfOutput,
  overCount,
  sentenceForBatch,
} from '../../src/cli/batches/words.ts';
import { type BatchCounts, type BatchState, COUNTED } from '../../src/job/batch.ts';
import type { BatchOutput, BatchView } from '../../src/protocol/batch-view.ts';

function batch(state: BatchState, counts: Partial<BatchCounts>, more: Partial<BatchView> = {}): BatchView {
  const all = { ...(Object.fromEntries(COUNTED.map((name) => [name, 0])) as BatchCounts), ...counts };
  const total = Object.values(all).reduce((sum, count) => sum + count, 0);
  const fixed = { id: 'batch_1', wave: 1, waves: null, stopped_because: null, next_wave_at: null };
  return { ...fixed, state, counts: all, total, ...more } as BatchView;
}

describe('the exit code of a batch', () => {
  it.each<[string, BatchView, number]>([
    ['all succeeded', batch('succeeded', { succeeded: 3 }), 0],
    ['one failed', batch('failed', { succeeded: 2, failed: 1 }), 2],
    ['one timed out', batch('failed', { succeeded: 2, timed_out: 1 }), 2],
    ['one job was canceled', batch('failed', { succeeded: 2, canceled: 1 }), 2],
    ['one failed, and one host did not answer', batch('failed', { failed: 1, expired: 1 }), 2],
    ['a limit was crossed', batch('stopped', { failed: 1, unstarted: 2 }), 3],
    ['a host did not answer', batch('failed', { succeeded: 2, expired: 1 }), 4],
    ['a job is lost', batch('failed', { succeeded: 2, lost: 1 }), 4],
    ['it was canceled', batch('canceled', { failed: 1, canceled: 2 }), 5],
  ])('where %s', (_, over, code) => {
    expect(exitCodeOfBatch(over)).toBe(code);
  });

  it('is what the documents say', () => {
    const text = readFileSync(new URL('../../docs/command-line.md', import.meta.url), 'utf8');
    const table = /^\| exit code \| of `run`.*\n\|---.*\n((?:\|.*\n)+)/m.exec(text)?.[1] ?? '';
    const codes = [...table.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
    expect(codes).toEqual([...Object.values(EXIT_CODES), 130, 1]);
  });
});

describe('a batch in words', () => {
  it('names the counts that there are, the ends first', () => {
    const counts = { unstarted: 5, running: 2, timed_out: 1, succeeded: 110 };
    expect(sentenceForBatch(batch('running', counts, { waves: [1, 50], wave: 2 }))).toBe(
      'batch_1 running, wave 2: 110 succeeded, 1 timed out, 2 running, 5 unstarted',
    );
  });

  it('names the limit that stopped it', () => {
    expect(headingOf(batch('stopped', { failed: 1 }, { stopped_because: 'max_unreachable' }))).toBe(
      'stopped by max_unreachable',
    );
  });

  it('knows every count: those over and those at work are all', () => {
    for (const name of COUNTED) {
      const one = batch('running', { [name]: 1 });
      expect(sentenceForBatch(one)).toContain(`1 ${name.replace('_', ' ')}`);
      const isOver = ['succeeded', 'failed', 'timed_out', 'canceled', 'expired', 'lost'].includes(name);
      expect(overCount(one)).toBe(isOver ? 1 : 0);
    }
  });
});

describe('the heading above the output of hosts', () => {
  it.each<[string, Partial<BatchOutput>]>([
    ['succeeded', { state: 'succeeded', outcome: 'exit', return_code: 0 }],
    ['failed (3)', { state: 'failed', outcome: 'exit', return_code: 3 }],
    ['failed (137)', { state: 'failed', outcome: 'signal', return_code: 137, message: 'killed' }],
    [
      'failed, rejected: there is no user deploy',
      { state: 'failed', outcome: 'rejected', message: 'there is no\nuser deploy' },
    ],
    ['failed, spawn error', { state: 'failed', outcome: 'spawn_error' }],
    ['lost, forgotten: it is gone', { state: 'lost', outcome: 'forgotten', message: 'it is gone' }],
    ['timed out (143): ran for 5 s', timedOut('ran for 5 s')],
    ['timed out (143)', timedOut(null)],
    ['running', { state: 'running' }],
  ])('%s', (words, group) => {
    const none = { outcome: null, message: null, return_code: null, stdout: null, stderr: null };
    const heading = headingOfOutput({ hosts: 'web[1-2]', count: 2, state: 'failed', ...none, ...group });
    expect(heading).toBe(`== web[1-2] (2): ${words}`);
  });
});

function timedOut(message: string | null): Partial<BatchOutput> {
  return { state: 'timed_out', outcome: 'timeout', return_code: 143, message };
}

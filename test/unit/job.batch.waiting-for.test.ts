/** What a batch waits for, in one word and in a sentence. */
import { expect, test } from 'vitest';
import {
  AWAITED,
  BATCH_WAITING_FOR,
  type BatchStanding,
  type BatchWaitingFor,
  batchWaitingFor,
} from '../../src/job/batch/waiting-for.ts';
import { batchInWords } from '../../src/job/batch/waiting-words.ts';
import type { Batch } from '../../src/job/batch.ts';
import { newBatch, noCounts } from '../helpers/batches.ts';

const NOW = Date.UTC(2026, 10, 22, 3, 0, 0);
const MINUTE = 60_000;

interface Given {
  batch?: Partial<Batch>;
  hosts?: Partial<BatchStanding['hosts']>;
  standing?: Partial<BatchStanding>;
}

function standingOf({ batch, hosts, standing }: Given): BatchStanding {
  const none = Object.fromEntries(AWAITED.map((why) => [why, []])) as unknown as BatchStanding['hosts'];
  return {
    now: NOW,
    batch: newBatch({ id: 'batch_X', total: 100, made: 50, ...batch }),
    state_since: NOW - MINUTE,
    paused_by: null,
    waits_for: null,
    waits_for_state: null,
    wave_end: 100,
    due_at: null,
    failures: 0,
    unreachable: 0,
    in_use: 50,
    hosts: { ...none, ...hosts },
    ...standing,
  };
}

const CASES: { what: string; given: Given; waits: BatchWaitingFor; words: RegExp }[] = [
  {
    what: 'one that replaces another',
    given: { batch: { made: 0 }, standing: { waits_for: 'batch_W', waits_for_state: 'canceling' } },
    waits: 'replaced_batch',
    words: /^It replaces batch_W, and begins once nothing of that one can be at work/,
  },
  {
    what: 'one that replaces another which is over, but not proven to be',
    given: { batch: { made: 0 }, standing: { waits_for: 'batch_W', waits_for_state: 'canceled' } },
    waits: 'replaced_batch',
    words:
      /^It replaces batch_W, which is canceled, but jobs of that one, .* may be at work: .* removed, 7 days after their end/,
  },
  {
    what: 'one that somebody paused',
    given: { batch: { state: 'paused' }, hosts: { running: ['web1'] }, standing: { paused_by: 'alice' } },
    waits: 'resume',
    words:
      /^It is paused since 2026-11-22T02:59:00Z \(60 s ago\), by alice\. It goes on when it is resumed\. 1 job that was started goes on\.$/,
  },
  {
    what: 'one that a limit paused',
    given: {
      batch: { state: 'paused', stopped_because: 'max_failures', max_failures: 5 },
      standing: { failures: 6 },
    },
    waits: 'resume',
    words: /^6 ended wrong, more than max_failures allows \(5\); it is paused since .* resumed\.$/,
  },
  {
    what: 'one that waits for the word after a wave',
    given: { batch: { state: 'paused', awaits_wave: true, wave: 2 } },
    waits: 'resume',
    words: /^Wave 2 is done, and it is paused before the next one, since /,
  },
  {
    what: 'one between two waves',
    given: { batch: { wave: 2, next_wave_at: NOW + 42_000 }, standing: { wave_end: 50 } },
    waits: 'wave_pause',
    words: /^Wave 2 is done: the next one begins 2026-11-22T03:00:42Z \(in 42 s\)\.$/,
  },
  {
    what: 'one whose wave is not over, for hosts that are down',
    given: { hosts: { down: ['web1', 'web2'] }, standing: { wave_end: 50 } },
    waits: 'wave',
    words:
      /^All jobs of wave 1 are made: .* Of its jobs, 2 on hosts that are down: those not started within 10 min expire\.$/,
  },
  {
    what: 'one with all places taken',
    given: { batch: { max_parallel: 50 } },
    waits: 'max_parallel',
    words: /^50 of 50 places \(max_parallel\) are taken: the next job comes when one of them is over\.$/,
  },
  {
    what: 'one that has made all of its jobs, some of which it holds back',
    given: { batch: { made: 100, max_parallel: 50 }, hosts: { held_back: ['web1'] } },
    waits: 'max_parallel',
    words: /^50 of 50 places/,
  },
  {
    what: 'one that could make more',
    given: { standing: { in_use: 49 } },
    waits: 'next_jobs',
    words: /^Its next jobs are being made; 50 are left\.$/,
  },
  {
    what: 'one of which nothing runs',
    given: { batch: { made: 100 }, hosts: { draining: ['web1'] } },
    waits: 'hosts',
    words: /^All of its jobs wait for their hosts\. Of its jobs, 1 on hosts that are drained: /,
  },
  {
    what: 'one whose last jobs run',
    given: {
      batch: { made: 100, counts: { ...noCounts(), running: 1, unreachable: 1 } },
      hosts: { running: ['web1'], unreachable: ['web2'] },
    },
    waits: 'end',
    words: /^All of its jobs are made: .* Of its jobs, 1 on hosts that have stopped answering\.$/,
  },
  {
    what: 'one that stops',
    given: {
      batch: { state: 'stopping', stopped_because: 'max_unreachable', max_unreachable: 2 },
      standing: { unreachable: 3 },
    },
    waits: 'end',
    words: /^3 did not answer, more than max_unreachable allows \(2\)\. Nothing new is started; /,
  },
  {
    what: 'one that is being canceled',
    given: { batch: { state: 'canceling' } },
    waits: 'end',
    words: /^It is being canceled, and over when each of its jobs is proven to be gone\.$/,
  },
  {
    what: 'one that nobody goes on with',
    given: { standing: { due_at: NOW - MINUTE } },
    waits: 'worker',
    words:
      /^Nobody has gone on with it, which was due 2026-11-22T02:59:00Z \(60 s ago\): is a worker running/,
  },
  {
    what: 'one that is over',
    given: { batch: { state: 'stopped', stopped_because: 'max_failures' } },
    waits: 'nothing',
    words: /^It is over: stopped: max_failures was crossed\.$/,
  },
];

test.each(CASES)('$what', ({ given, waits, words }) => {
  const standing = standingOf(given);
  expect(batchWaitingFor(standing)).toBe(waits);
  expect(batchInWords(waits, standing)).toMatch(words);
});

test('every word has a row above', () => {
  expect(new Set(CASES.map(({ waits }) => waits))).toEqual(new Set(BATCH_WAITING_FOR));
});

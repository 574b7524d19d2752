import { describe, expect, it } from 'vitest';
import { type HostHealth, UNKNOWN_HEALTH } from '../../src/job/host.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import {
  type HostQueue,
  lostFrom,
  type Standing,
  WAITING_FOR,
  waitingFor,
  waitingSince,
} from '../../src/job/waiting-for.ts';
import { inWords } from '../../src/job/waiting-words.ts';
import { someJob } from '../helpers/agent-port.ts';

const NOW = Date.UTC(2026, 10, 22, 3, 0, 0);
const SECOND = 1_000;

const UP: HostHealth = { ...UNKNOWN_HEALTH, status: 'up', seen_at: NOW };
const FREE: HostQueue = {
  place: 'ready',
  eligible_at: null,
  held: false,
  ahead: 0,
  waiting: 1,
  requests: 0,
  starts: 0,
  jobs: 0,
  tokens: null,
  next_token_at: null,
  look_at: NOW,
};

interface Given {
  job?: Partial<Job>;
  health?: Partial<HostHealth>;
  queue?: Partial<HostQueue>;
  replaced?: Job;
  batch?: NonNullable<Standing['batch']>;
  host?: Partial<NonNullable<Standing['host']>> | null;
}

function look({ job = {}, health = {}, queue = {}, host = {}, replaced, batch }: Given) {
  const one = someJob({ state: 'queued', host: 'web1', created_at: NOW - 60 * SECOND, ...job });
  const standing: Standing = {
    now: NOW,
    last: { at: NOW - 60 * SECOND, why: 'accepted' },
    host: host && { name: 'web1', max_requests: 4, max_jobs: null, rate: null, ...host },
    health: { ...UP, ...health },
    queue: { ...FREE, ...queue },
    replaced,
    batch: batch ?? null,
  };
  const what = waitingFor(one, standing);
  return { what, words: inWords(what, one, standing), since: waitingSince(what, standing), one, standing };
}

const RATE = { limit: 100, period_seconds: 60, burst: 10 };

const CASES: { what: string; given: Given; waits: (typeof WAITING_FOR)[number]; words: RegExp }[] = [
  {
    what: 'a job whose not_before is to come',
    given: { job: { not_before: NOW + 90 * SECOND }, health: { status: 'down', retry_at: NOW + 1 } },
    waits: 'start_time',
    words: /^It does not start before 2026-11-22T03:01:30Z \(in 90 s\)\.$/,
  },
  {
    what: 'a start that did not go through, and is tried again later',
    given: { queue: { place: 'later', eligible_at: NOW + 4 * SECOND } },
    waits: 'start_time',
    words: /^It is tried again 2026-11-22T03:00:04Z \(in 4 s\): accepted\.$/,
  },
  {
    what: 'an attempt that is over, and another one that is to follow',
    given: {
      job: {
        ...{ attempt: 2, started_by: null, retry: { max_attempts: 3, backoff_seconds: 10, on: ['exit'] } },
        attempts: [
          { ...someJob(), attempt: 1, state: 'failed', outcome: outcome('exit', { return_code: 3 }) },
        ],
      },
      queue: { place: 'later', eligible_at: NOW + 4 * SECOND },
    },
    waits: 'next_attempt',
    words: /^It starts again, as attempt 2 of 3, 2026-11-22T03:00:04Z \(in 4 s\): accepted\.$/,
  },
  ...(
    [
      ['running', {}, /^It replaces job_X, which is running on web2: this one starts once .*\.$/],
      [
        'canceling',
        { cancel_requested_at: NOW - 5 * SECOND },
        /^It replaces job_X, which is canceling on web2 \(since 2026-11-22T02:59:55Z \(5 s ago\)\): /,
      ],
      [
        'lost',
        { outcome: outcome('silent'), cancel: { signal: 'TERM', grace_seconds: 1, reason: null } },
        /^It replaces job_X, which is lost: its cancel is owed to web2, and this one starts once /,
      ],
      ['lost', { outcome: outcome('forgotten') }, /which is lost: it may still run on web2, and /],
      ['canceled', { outcome: outcome('canceled', { proof: 'none' }) }, /cannot prove that it is gone: /],
      ['canceled', { outcome: outcome('canceled') }, /^It replaces job_X, which is over: /],
    ] as const
  ).map(([state, fields, words]) => ({
    what: `a job that replaces one that is ${state} (${words.source})`,
    given: {
      replaced: someJob({ id: 'job_X', host: 'web2', state, ...fields }),
      health: { status: 'down' as const },
    },
    waits: 'replaced_job' as const,
    words,
  })),
  ...(
    [
      ['running', {}, /^Its batch batch_X has 5 jobs on their hosts \(max_parallel\): /],
      ['paused', {}, /^Its batch batch_X is paused: it starts once that is resumed\.$/],
      ['paused', { awaits_wave: true }, /is paused between two waves: /],
      ['paused', { stopped_because: 'max_failures' }, /is paused since max_failures was crossed: /],
      ['stopping', {}, /^Its batch batch_X is stopping: it is withdrawn in a moment\.$/],
    ] as const
  ).map(([state, fields, words]) => ({
    what: `a job that its batch holds back (${words.source})`,
    given: {
      job: { batch_id: 'batch_X', batch_index: 0 },
      queue: { held: true, place: 'later' as const },
      batch: { id: 'batch_X', state, stopped_because: null, awaits_wave: false, max_parallel: 5, ...fields },
    },
    waits: 'batch' as const,
    words,
  })),
  {
    what: 'a job of a batch whose host is down, which its batch has not held back',
    given: { job: { batch_id: 'batch_X', batch_index: 0 }, health: { status: 'down' as const } },
    waits: 'host_down',
    words: /^web1 is down since /,
  },
  {
    what: 'a job behind others',
    given: { queue: { ahead: 12, waiting: 20 } },
    waits: 'turn',
    words: /^12 jobs of web1 are before it\.$/,
  },
  { what: 'the next one', given: {}, waits: 'turn', words: /^It is the next to start on web1\.$/ },
  {
    what: 'a host whose tokens are used up',
    given: {
      host: { rate: RATE },
      queue: { tokens: 0, next_token_at: NOW + 600, ahead: 1, waiting: 2 },
    },
    waits: 'rate',
    words: /^web1 takes 100 requests in 60 s, .* \(in 1 s\)\. 1 job of web1 is before it\.$/,
  },
  {
    what: 'a host whose requests are all in use',
    given: { queue: { requests: 4, starts: 2 } },
    waits: 'max_requests',
    words: /^web1 takes 4 requests at once \(max_requests\), and all of them are in use\.$/,
  },
  {
    what: 'a host whose requests for starts are in use',
    given: { queue: { requests: 3, starts: 3 } },
    waits: 'max_requests',
    words: /3 of them for starts, and those are in use\.$/,
  },
  {
    what: 'a host that has not proven itself, and is being asked something',
    given: { health: { status: 'unknown' }, queue: { requests: 1 } },
    waits: 'max_requests',
    words: /not known to be up, so it gets one request at a time/,
  },
  {
    what: 'a host with as many jobs as it may have, though its requests and tokens are used up too',
    given: {
      host: { max_jobs: 2, rate: RATE },
      queue: { jobs: 2, requests: 4, starts: 3, tokens: 0, ahead: 3 },
    },
    waits: 'max_jobs',
    words: /^web1 may have 2 jobs at once \(max_jobs\), and has 2: .* 3 jobs of web1 are before it\.$/,
  },
  {
    what: 'an agent that asked for a pause',
    given: {
      health: { retry_at: NOW + 30 * SECOND },
      queue: { place: 'later', eligible_at: NOW + 30 * SECOND },
    },
    waits: 'host_paused',
    words: /^The agent of web1 is busy and has asked for a pause: it is asked again .* \(in 30 s\)\.$/,
  },
  {
    what: 'an agent that has no room for another job',
    given: {
      health: { no_starts_until: NOW + 60 * SECOND, no_starts_why: 'The agent answers disk_full' },
      queue: { place: 'later', eligible_at: NOW + 60 * SECOND },
    },
    waits: 'host_paused',
    words: /^The agent answers disk_full\. web1 is asked to start jobs again .* \(in 60 s\)\.$/,
  },
  {
    what: 'a host that failed once',
    given: {
      health: { status: 'suspect', failures: 1, cause: 'connect ECONNREFUSED', retry_at: NOW + 1_000 },
    },
    waits: 'host_suspect',
    words: /^web1 has not answered once: connect ECONNREFUSED; it is tried again .* The job starts when it/,
  },
  {
    what: 'a host that is down, whatever its limits',
    given: {
      health: { status: 'down', failures: 9, cause: 'timed out', silent_since: NOW - 300 * SECOND },
      host: { max_jobs: 1 },
      queue: { jobs: 1 },
    },
    waits: 'host_down',
    words:
      /^web1 is down since 2026-11-22T02:55:00Z \(5 min ago\): timed out\. The job starts when it answers\.$/,
  },
  {
    what: 'a host that refuses the token',
    given: { health: { status: 'misconfigured', cause: 'the token is refused', remedy: 'Set another.' } },
    waits: 'host_misconfigured',
    words:
      /^web1 is set up wrongly: the token is refused\. Set another\. The job starts when that is mended\.$/,
  },
  {
    what: 'a drained host, even if it is down',
    given: { health: { draining: true, status: 'down' } },
    waits: 'host_draining',
    words: /sluice hosts resume web1/,
  },
  {
    what: 'a host that was removed',
    given: { host: null },
    waits: 'host_unknown',
    words: /No host is registered/,
  },
  {
    what: 'a queue that nobody looks at',
    given: { queue: { look_at: NOW - 120 * SECOND } },
    waits: 'worker',
    words: /which was due 2026-11-22T02:58:00Z \(2 min ago\): is a worker running/,
  },
  {
    what: 'a job that a worker has just taken',
    given: { queue: { place: 'taken' } },
    waits: 'host_answer',
    words: /^A worker has it in hand, and asks web1 to start it\.$/,
  },
  {
    what: 'a start that its host has not answered',
    given: {
      job: { state: 'dispatching', dispatched_at: NOW - 5 * SECOND },
      health: { status: 'suspect', failures: 2, retry_at: NOW + SECOND },
      queue: { place: 'later', eligible_at: NOW + SECOND },
    },
    waits: 'host_answer',
    words: /^web1 was asked to start it .* \(5 s ago\) and has not said .* asked again .* 2 times in a row/,
  },
  {
    what: 'an unreachable job',
    given: {
      job: { state: 'unreachable', unreachable_since: NOW - 200 * SECOND, next_poll_at: NOW + SECOND },
    },
    waits: 'host_answer',
    words: /^web1 has not answered since .* \(3 min ago\); the job may well be running\. web1 is asked again/,
  },
  {
    what: 'a cancel that is to be delivered',
    given: { job: { state: 'canceling' }, health: { status: 'down', silent_since: NOW - SECOND } },
    waits: 'host_answer',
    words: /^Its cancel has not reached web1 yet\. web1 is down/,
  },
  {
    what: 'a cancel that is to be proven',
    given: { job: { state: 'canceling', cancel_delivered_at: NOW - SECOND } },
    waits: 'host_answer',
    words: /^Its cancel has reached web1, which has not said yet that everything is gone\.$/,
  },
  {
    what: 'a running job',
    given: { job: { state: 'running', started_at: NOW - 7_200 * SECOND, next_poll_at: NOW + 15 * SECOND } },
    waits: 'end',
    words: /^It is running on web1, since .* \(2 h ago\)\. web1 is asked about it .* \(in 15 s\)\.$/,
  },
  {
    what: 'a lost job',
    given: { job: { state: 'lost', next_poll_at: NOW + SECOND } },
    waits: 'nothing',
    words: /^It is lost \(accepted\)\. web1 is still asked about it, and its true end is taken over\.$/,
  },
  {
    what: 'a lost job that owes a cancel',
    given: { job: { state: 'lost', cancel: { signal: 'TERM', grace_seconds: 10, reason: null } } },
    waits: 'host_answer',
    words: /^It is lost, but its cancel has not reached web1 yet\.$/,
  },
  {
    what: 'a job that is over',
    given: { job: { state: 'timed_out' }, health: { status: 'down' } },
    waits: 'nothing',
    words: /^It is over: timed out \(accepted\)\.$/,
  },
];

describe('what a job waits for', () => {
  it.each(CASES)('$what: $waits', ({ given, waits, words }) => {
    const seen = look(given);
    expect(seen.what).toBe(waits);
    expect(seen.words).toMatch(words);
  });

  it('is each of the words in some case', () => {
    expect(new Set(CASES.map(({ waits }) => waits))).toEqual(new Set(WAITING_FOR));
  });

  it('is said without a blank, a null or an undefined in the sentence', () => {
    for (const { given } of CASES) expect(look(given).words).not.toMatch(/undefined|null|NaN| {2}|\.\./);
  });
});

describe('since when', () => {
  it('is the last change, or the beginning of the silence where that came later', () => {
    expect(look({}).since).toBe(NOW - 60 * SECOND);
    const down = look({ health: { status: 'down', silent_since: NOW - 10 * SECOND } });
    expect(down.since).toBe(NOW - 10 * SECOND);
    expect(look({ health: { status: 'down', silent_since: NOW - 1e6 } }).since).toBe(NOW - 60 * SECOND);
  });
});

describe('when it is lost', () => {
  it('is told only of jobs that a silence can end, and by the silence that counted', () => {
    const health = { status: 'down' as const, silent_since: NOW - 500 * SECOND, silent_ms: 100 * SECOND };
    const of = (job: Partial<Job>, more: Partial<HostHealth> = health) => {
      const { one, standing } = look({ job, health: more });
      return lostFrom(one, standing);
    };
    expect(of({ state: 'unreachable', lost_after_seconds: 600 })).toBe(NOW + 500 * SECOND);
    expect(of({ state: 'unreachable', lost_after_seconds: 60 })).toBe(NOW);
    expect(of({ state: 'queued' })).toBeNull();
    expect(of({ state: 'running' })).toBeNull();
    expect(of({ state: 'canceling' }, UP)).toBeNull();
  });
});

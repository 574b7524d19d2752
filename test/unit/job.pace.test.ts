/** The pace of questions: quick for short jobs, cheap for long ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FIRST_PAUSE_MS, inTurn, intervalMs, nextQuestionAt, pauseMs } from '../../src/job/pace.ts';

/** When questions are asked about a job, in ms after its start, until `untilMs`. */
function questions(untilMs: number, pollInterval: number): number[] {
  const times: number[] = [];
  for (let at = FIRST_PAUSE_MS; at < untilMs; at += pauseMs(at, pollInterval)) times.push(at);
  return times;
}

describe('the pace of questions', () => {
  it('never waits longer than poll_interval, nor less than the first pause', () => {
    fc.assert(
      fc.property(fc.nat(200_000_000), fc.integer({ min: 1, max: 3_600 }), (age, interval) => {
        const pause = pauseMs(age, interval);
        expect(pause).toBeGreaterThanOrEqual(Math.min(FIRST_PAUSE_MS, interval * 1_000));
        expect(pause).toBeLessThanOrEqual(interval * 1_000);
      }),
    );
  });

  it('notices an end within a quarter of the job’s own time and the first pause', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), (duration) => {
        const noticed = questions(duration * 2 + 1_000, 15).find((at) => at >= duration) as number;
        expect(noticed - duration).toBeLessThanOrEqual(duration / 4 + FIRST_PAUSE_MS + 1);
      }),
    );
  });

  it('asks about a job of two days about as often as a plain poll by interval would', () => {
    const plain = (2 * 86_400) / 15;
    expect(questions(2 * 86_400_000, 15).length).toBeLessThan(plain + 40);
  });

  it('lets a host be asked at least as often as its most urgent job wants, from one second up', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_000, max: 1e6 }), (pause) => {
        expect(intervalMs(pause)).toBeLessThanOrEqual(pause);
      }),
    );
    expect(intervalMs(100)).toBe(1_000);
  });
});

describe('the order of questions within a budget', () => {
  /** Due in this order; the last ones were started last. */
  const due = Array.from({ length: 12 }, (_, i) => ({ id: i, dispatched_at: i }));
  const order = inTurn(due).map(({ id }) => id);

  it('prefers those started last', () => {
    expect(order.slice(0, 3)).toEqual([11, 10, 9]);
  });

  it('asks every fourth time about the one that is due longest', () => {
    expect([order[3], order[7], order[11]]).toEqual([0, 1, 2]);
  });

  it('leaves nobody out and asks nobody twice', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000)), (started) => {
        const jobs = started.map((dispatched_at) => ({ dispatched_at }));
        expect(new Set(inTurn(jobs))).toEqual(new Set(jobs));
        expect(inTurn(jobs)).toHaveLength(jobs.length);
      }),
    );
  });
});

describe('the time of the next question', () => {
  const host = fc.stringMatching(/^[a-z0-9.-]{1,20}$/);
  const pause = fc.integer({ min: 100, max: 3_600_000 });

  it('is never now, never later than the pause', () => {
    fc.assert(
      fc.property(fc.nat(1e9), pause, host, fc.integer({ min: 1, max: 4 }), (now, pause, name, parts) => {
        const at = nextQuestionAt(now, pause, name, parts);
        expect(at).toBeGreaterThan(now);
        expect(at).toBeLessThanOrEqual(now + pause);
      }),
    );
  });

  it('is the same for all jobs of a host that may wait as long', () => {
    const times = new Set<number>();
    for (let now = 0; now < 3_600_000; now += 777) times.add(nextQuestionAt(now, 30_000, 'web1'));
    expect(times.size).toBeLessThanOrEqual(3_600 / 30 + 1);
  });

  it('has a job of steady pace asked about exactly once in each interval', () => {
    const first = nextQuestionAt(12_345, 30_000, 'web1');
    let at = first;
    for (let i = 1; i <= 100; i++) {
      // Some ms pass between a question and what is written of it.
      at = nextQuestionAt(at + (i % 40), 30_000, 'web1');
      expect(at).toBe(first + i * 30_000);
    }
  });

  it('is spread over the interval among a thousand hosts', () => {
    const perSecond = new Array<number>(30).fill(0);
    for (let i = 0; i < 1_000; i++) {
      const second = Math.floor(nextQuestionAt(0, 30_000, `sim-${String(i).padStart(5, '0')}`) / 1_000) % 30;
      perSecond[second] = (perSecond[second] ?? 0) + 1;
    }
    expect(Math.max(...perSecond)).toBeLessThan(70);
    expect(Math.min(...perSecond)).toBeGreaterThan(10);
  });

  it('leaves jobs that cost a request each apart', () => {
    const times = new Set<number>();
    for (let now = 0; now < 30_000; now += 100) times.add(nextQuestionAt(now, 30_000, 'web1', 4));
    expect(times.size).toBeGreaterThanOrEqual(6);
  });
});

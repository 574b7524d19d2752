/** What the rig of faults takes for a true end where a cancel meets a job that is to be tried again. */
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { createLedger, type Entry } from '../chaos/ledger.ts';
import type { Ended, JobEvent } from '../chaos/settle.ts';
import { judge } from '../chaos/verdict.ts';

const ID = 'job_01M831BYJXGXR7BNCKB12VTBNB';

/** A command that fails once and is run again; it ended as its first attempt did. */
function endedEarly(cancelRequestedAt: string | null): Ended {
  const events: JobEvent[] = (['queued', 'dispatching', 'running', 'failed'] as const).map((state, i) => ({
    ...{ version: i + 1, state },
    ...{ at: null, why: '' },
  }));
  const truth = { state: 'succeeded', returnCode: 0, stdout: null, attempts: 2, earlierCode: 1 } as const;
  const entry: Entry = {
    ...{ key: '0-0', host: 'full-0', kind: 'full', order: { what: 'fails once', body: {}, truth } },
    ...{ askedAt: 0, id: ID, acknowledgedAt: 0, cancelAsked: true },
  };
  return {
    ...{ entry, id: ID, events, stdout: null },
    job: {
      ...{ state: 'failed', version: 4, return_code: 1, outcome: null },
      cancel_requested_at: cancelRequestedAt,
    },
    ran: { starts: [1], ends: [{ at: 2, code: 1 }] },
  };
}

/** The promises that it broke, besides that nobody was told. */
function broken(one: Ended): string[] {
  const facts = { ended: [one], ledger: createLedger(tmpdir()), received: [], hosts: [], canForget: false };
  const promises = judge(facts).map(({ promise }) => promise);
  return promises.filter((promise) => promise !== 'every end is told');
}

describe('judge', () => {
  it('takes the end of an attempt for that of its job where a cancel let no other one follow', () => {
    expect(broken(endedEarly('2030-01-01T00:00:00.000Z'))).toEqual([]);
  });

  it('finds a false failure where no cancel was taken, though somebody asked for one', () => {
    expect(broken(endedEarly(null))).toEqual(['every end is true']);
  });
});

/**
 * Crash points: steps between which a process may die, by name. A test has a process end itself at one of them
 * (`SLUICE_CRASH_AT`), to see that what it leaves behind keeps the promises. Nobody else sets it.
 *
 * The work itself knows nothing of them: each program has a file that puts them around what it calls
 * (`workers/crash-points.ts`, `api/crash-points.ts`, `agent/crash-points.ts`), and does so only when one is asked for.
 */

/** Each point, and how things stand there. `docs/crash-points.md` is compared with this list by a test. */
export const CRASH_POINTS = {
  'accept.stored': 'a job is durable; nobody was woken, and its caller has no reply',
  'accept.woken': 'a job is durable and a worker was woken; its caller has no reply',
  'cancel.asked': 'a cancel is committed; nobody was woken, and its caller has no reply',
  'batch.stored': 'a batch is durable; nobody was woken, and its caller has no reply',
  'batch.ordered':
    'a pause, resume or cancel of a batch is committed; nobody was woken, and its caller has no reply',
  'batch.looked': 'it is known how many jobs of a batch may be made; none of them is',
  'batch.made':
    "a job of a batch is made, and the batch is at its next host; nobody was woken for the job's host",
  'batch.let_go': 'a job that its batch had held back may start; nobody was woken for its host',
  'dispatch.taken': 'jobs hold slots; their records still say `queued`, or what `dispatch.committed` says',
  'dispatch.committed': 'a record says `dispatching` with its launch token; nothing was sent',
  'dispatch.sent': 'a start was sent; its reply has not come',
  'dispatch.answered': "a start's reply is here; the record still says `dispatching`",
  'dispatch.settled': 'the record says what came of a start; its slot is still held',
  'follow.claimed': "a host's questions are this process's by its lease; nothing was asked",
  'follow.answered': 'a host said that a job is over; the record still says that it runs',
  'follow.unscheduled':
    "a host's last job is over and its questions were ended; nobody looked whether a new one came",
  'settle.committed': 'a move is committed with its entry in the outbox; nobody was woken to tell it',
  'cancel.due': 'a cancel is about to be sent to the host',
  'cancel.answered': 'the host has answered a cancel; nothing of it is in the record',
  'cancel.noted': 'the record says that the cancel was delivered; it still says `canceling`',
  'cancel.settled': 'the record says what came of a cancel',
  'deliver.read': 'changes were read from the outbox; no delivery was made of them',
  'deliver.expanded': 'a change became deliveries; nobody was told that they are due',
  'deliver.named': 'receivers with something due were taken off the list; nobody was woken for them',
  'deliver.claimed': 'deliveries are held by a lease; nothing was sent',
  'deliver.sent': 'a receiver has answered; the delivery is still pending',
  'deliver.settled': "a delivery's end is committed",
  'sweep.claimed': 'the sweep is this process by its lease; nothing was swept',
  'sweep.late_found': 'hosts that nobody drained were found; nobody was woken for them',
  'sweep.rescued': "a job that was in nobody's hands is back in its mailbox; nobody was woken for it",
  'sweep.removed': 'a record past its retention is gone',
  'agent.stored': "a launch token's directory is on the host's disk; nothing was started",
  'agent.spawned': "a job's supervisor was started; the gateway has no reply",
  'agent.ended': 'a command has ended; the agent has not written what it makes of it',
  'agent.recorded': 'what the agent makes of an end is on the disk; nobody was told',
  'agent.canceled': 'a job was stopped, or a tombstone left for it; the gateway has no reply',
} as const;
export type CrashPoint = keyof typeof CRASH_POINTS;

/** Where to end: at the `nth` time that `point` is reached in a process. */
export interface CrashAt {
  point: CrashPoint;
  nth: number;
}

/** Says that a point is reached. */
export type Reach = (point: CrashPoint) => void;

/** Reads `POINT` or `POINT:NTH`; null for anything else. */
export function parseCrashAt(text: string): CrashAt | null {
  const [, point = '', nth = '1'] = /^([a-z._]+)(?::([1-9]\d{0,8}))?$/.exec(text) ?? [];
  return Object.hasOwn(CRASH_POINTS, point) ? { point: point as CrashPoint, nth: Number(nth) } : null;
}

/** What is wrong with a text that `parseCrashAt` does not take. */
export function unknownCrashPoint(): string {
  return `must be a crash point, with :N for the Nth time that it is reached; there are ${Object.keys(CRASH_POINTS).join(', ')}`;
}

/** @param die ends the process at once, without any of its own clearing up */
export function createReach({ point, nth }: CrashAt, die: () => void): Reach {
  let times = 0;
  return (reached) => {
    if (reached === point && ++times === nth) die();
  };
}

/** The same work, with a look at each result before its caller has it. */
export function lookAfter<Args extends unknown[], Result>(
  work: (...args: Args) => Promise<Result>,
  look: (result: Result, ...args: Args) => void,
): (...args: Args) => Promise<Result> {
  return async (...args) => {
    const result = await work(...args);
    look(result, ...args);
    return result;
  };
}

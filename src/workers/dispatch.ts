/** Dispatch, put together: starting what waits in the hosts' mailboxes, and the deadline by which it must. */
import type { Logger } from 'pino';
import type { AgentPort } from '../job/agent-port.ts';
import type { Job } from '../job/record.ts';
import type { BatchStore } from '../store/batches.ts';
import type { Feed } from '../store/feed.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Limit, Mailbox } from '../store/mailbox.ts';
import type { Queues } from '../store/queues.ts';
import { envPlace, type Sealer } from '../store/sealing.ts';
import type { InSlot } from '../store/slots/in-slot.ts';
import type { Commit } from './commit.ts';
import type { Contact } from './contact.ts';
import { createAcceptance } from './dispatch/acceptance.ts';
import { createBatchGate } from './dispatch/batch-gate.ts';
import { createCommitStart, type ReplicatedStarts } from './dispatch/commit-start.ts';
import { createDeadline } from './dispatch/deadline.ts';
import { createDrain } from './dispatch/drain.ts';
import type { Effort } from './dispatch/effort.ts';
import { createStartFailure } from './dispatch/failure.ts';
import { createPutBack } from './dispatch/put-back.ts';
import { createStart } from './dispatch/start.ts';
import { createHasStarted, createKeepFromStarting } from './dispatch/tombstone.ts';

export function createDispatch(deps: {
  jobs: JobStore;
  /** Null: no replicas are asked for. */
  replicated: ReplicatedStarts | null;
  batches: Pick<BatchStore, 'get'>;
  mailbox: Mailbox;
  agents: AgentPort;
  contact: Contact;
  commit: Commit;
  inSlot: InSlot;
  effort: Effort;
  feed: Feed;
  queues: Pick<Queues, 'wake' | 'isCrowded'>;
  sealer: Sealer;
  onLimited: (limit: Limit) => void;
  stopping: AbortSignal;
  log: Logger;
}) {
  const { jobs, batches, mailbox, agents, contact, commit, inSlot, effort, feed, queues, sealer, log } = deps;
  const { wake, isCrowded } = queues;
  const hasStarted = createHasStarted({ agents, contact, commit });
  const keepFromStarting = createKeepFromStarting({ agents, contact, commit, hasStarted });
  const putBack = createPutBack({ jobs });
  const batchGate = createBatchGate({ batches, hasStarted, keepFromStarting, putBack });
  const deadline = createDeadline({ jobs, keepFromStarting });
  const startFailed = createStartFailure({
    ...{ jobs, agents, contact, commit, keepFromStarting, putBack, log },
  });
  const openEnv = (job: Job) => {
    const text = job.sealed_env === null ? '{}' : sealer.open(job.sealed_env, envPlace(job.id));
    return { env: {}, secret_env: {}, ...JSON.parse(text) };
  };
  const patient: Pick<AgentPort, 'prepare' | 'start'> = {
    prepare: agents.prepare,
    start: (...order) => effort.aside(() => agents.start(...order)),
  };
  const start = createStart({
    commitStart: createCommitStart({ jobs, putBack, replicated: deps.replicated }),
    ...{ jobs, contact, openEnv, commit, wake, deadline, batchGate, startFailed, log },
    agents: patient,
  });
  const { onAccepted, close } = createAcceptance(feed);
  const { onLimited, stopping } = deps;
  const drain = createDrain({
    ...{ mailbox, contact, inSlot, start, effort, wake, onAccepted, isCrowded, onLimited, stopping, log },
    takesBegin: deps.replicated === null,
  });
  return { drain, deadline, close };
}

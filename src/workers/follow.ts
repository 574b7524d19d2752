/** Following, put together: a host's poll, and what becomes of jobs about which there is no answer. */
import type { Logger } from 'pino';
import type { AgentPort } from '../job/agent-port.ts';
import type { Budget } from '../store/budget.ts';
import type { Followed } from '../store/followed.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Leases } from '../store/leases.ts';
import type { Schedules } from '../store/queues.ts';
import type { InSlot } from '../store/slots/in-slot.ts';
import type { Commit } from './commit.ts';
import type { Contact } from './contact.ts';
import { createAsk } from './follow/ask.ts';
import { createDeliverCancel } from './follow/cancel.ts';
import { createOvertime } from './follow/overtime.ts';
import { createPoll } from './follow/poll.ts';
import { createAskRunning } from './follow/running.ts';
import { createSilence } from './follow/silence.ts';
import { createUnanswered } from './follow/unanswered.ts';

export function createFollow(deps: {
  jobs: JobStore;
  followed: Followed;
  leases: Leases;
  schedules: Schedules;
  budget: Budget;
  inSlot: InSlot;
  agents: AgentPort;
  contact: Contact;
  commit: Commit;
  owner: string;
  stopping: AbortSignal;
  log: Logger;
}) {
  const { jobs, contact, log } = deps;
  const overtime = createOvertime(deps);
  const silence = createSilence({ jobs, contact, log });
  const unanswered = createUnanswered({ ...deps, silence });
  const askRunning = createAskRunning({ ...deps, unanswered });
  const ask = createAsk({ ...deps, overtime, unanswered, askRunning });
  const deliverCancel = createDeliverCancel({ ...deps, silence });
  return { poll: createPoll({ ...deps, ask, deliverCancel }), silence };
}

/** What each of the three ways to follow a job must offer; `agents.ts` picks one by `job.started_by`. */
import type { AgentPort } from '../../job/agent-port.ts';

export type Hold = NonNullable<Parameters<AgentPort['ask']>[2]>;
export type Answers = Awaited<ReturnType<AgentPort['ask']>>;

export type Driver = Pick<AgentPort, 'start' | 'ask' | 'cancel' | 'read'>;

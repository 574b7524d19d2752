/** What each of the three ways to follow a job must offer; `agents.ts` picks one by `job.started_by`. */
import type { AgentPort, DialHost } from '../../job/agent-port.ts';
import type { Job } from '../../job/record.ts';

export type Hold = NonNullable<Parameters<AgentPort['ask']>[2]>;
export type Answers = Awaited<ReturnType<AgentPort['ask']>>;

export interface Driver extends Pick<AgentPort, 'start' | 'cancel' | 'read'> {
  ask(host: DialHost, jobs: Job[], hold?: Hold): Promise<Answers>;
}

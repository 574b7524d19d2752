/**
 * One real agent of each column of the table of starts, and what they have in common: how they are asked about a job
 * behind the gateway's back, killed and started again.
 */
import { type BaseAgent, type Generation, startBaseAgent } from './base-agent.ts';
import { type RealAgent, startRealAgent } from './real-agent.ts';
import { ask, type HeldStart } from './starts.door.ts';
import { COLUMNS, type Column } from './starts.table.ts';
import { until } from './until.ts';

export interface FleetAgent {
  address: string;
  token: string;
  /** Whether the host is to be used through the launcher. */
  launcher: boolean;
  /**
   * Takes the start, is killed before it starts the command, and comes up again. Base agents keep no record of what
   * they take: it is as if it had not arrived.
   */
  dieOn(start: HeldStart): Promise<void>;
  /** SIGKILL and up again, with the same files; jobs run on. */
  restart(): Promise<void>;
  /** Waits until the agent itself says that this job of its own is over. */
  endOf(agentJobId: string): Promise<void>;
  close(): Promise<void>;
}

export async function startFleet(): Promise<Map<Column, FleetAgent>> {
  const agents = await Promise.all(COLUMNS.map(startAgent));
  return new Map(COLUMNS.map((column, i) => [column, agents[i]!]));
}

async function startAgent(column: Column): Promise<FleetAgent> {
  if (column === 'Full') return full(await startRealAgent());
  const agent = await startBaseAgent({ generation: column[0] as Generation, rate: null });
  return base(agent, column.endsWith('launcher'));
}

function full(agent: RealAgent): FleetAgent {
  return {
    ...{ address: agent.address, token: agent.token, launcher: true },
    async dieOn(start) {
      await agent.restart(['--dangerously-crash-at', 'agent.stored']);
      const answered = await start.forward().catch(() => null);
      if (answered) throw new Error('the agent did not die');
      await agent.restart([]);
    },
    restart: () => agent.restart([]),
    endOf: (id) => endOf(agent, id),
    close: agent.stop,
  };
}

function base(agent: BaseAgent, launcher: boolean): FleetAgent {
  async function restart(): Promise<void> {
    await agent.stopListening();
    await agent.startListening();
  }
  return {
    ...{ address: agent.address, token: agent.token, launcher },
    dieOn: restart,
    restart,
    endOf: (id) => endOf(agent, id),
    close: agent.close,
  };
}

async function endOf(agent: { address: string; token: string }, id: string): Promise<void> {
  await until(
    async () => {
      const { body } = await ask(agent, 'GET', `/status/${encodeURIComponent(id)}`, Buffer.alloc(0));
      return (JSON.parse(body.toString()) as { return_code?: number | null }).return_code != null;
    },
    { what: `the agent's own end of ${id}` },
  );
}

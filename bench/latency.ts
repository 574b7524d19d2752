/**
 * `latency`: what the gateway adds to a job of 0.2 s on an idle system: submitted with `Prefer: wait=10`, beside the
 * same command sent to the agent directly and held there.
 */
import { startRealAgent } from '../test/helpers/real-agent.ts';
import { createRig } from './rig.ts';
import { median, quantile, type Row } from './table.ts';

const COUNT = 40;
const COMMAND_MS = 200;

export async function run(): Promise<Row[]> {
  const rig = await createRig();
  const agent = await startRealAgent();
  try {
    await rig.api();
    await rig.worker();
    const { address, token, fingerprint } = agent;
    await rig.call('PUT', '/v1/hosts/h', { address, token, tls: { fingerprint } });
    const command = `sleep ${COMMAND_MS / 1_000}; echo done`;
    const throughGateway = async () => {
      const body = { target_server: 'h', command, mode: 'sync' };
      const reply = await rig.call('POST', '/v1/jobs', body, { prefer: 'wait=10' });
      if (reply.body.state !== 'succeeded' || reply.body.stdout !== 'done\n') {
        throw new Error(`the job came back as ${JSON.stringify(reply.body)}`);
      }
    };
    const direct = async () => {
      await agent.call('POST', '/run', {
        command,
        wait_seconds: 10,
        job_id: `direct-${Math.random()}`.replace('.', ''),
      });
    };
    await throughGateway();
    await direct();
    const overheads = { gateway: [] as number[], direct: [] as number[] };
    for (let i = 0; i < COUNT; i++) {
      overheads.gateway.push(await timed(throughGateway));
      overheads.direct.push(await timed(direct));
    }
    return [row('through the gateway', overheads.gateway), row('the agent directly', overheads.direct)];
  } finally {
    await agent.stop();
    await rig.stop();
  }
}

/** In ms, over the command's own time. */
async function timed(action: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await action();
  return performance.now() - began - COMMAND_MS;
}

function row(path: string, overheads: number[]): Row {
  return {
    path,
    'overhead ms (median)': Math.round(median(overheads)),
    'p95 ms': Math.round(quantile(overheads, 0.95)),
    'worst ms': Math.round(Math.max(...overheads)),
  };
}

/** `sluice agent`: the host agent in the foreground. Imports nothing of the gateway, as the agent itself. */
import { createJsonLog } from '../agent/log.ts';
import { startAgent } from '../agent/main.ts';
import { Failure } from './failure.ts';
import { describeListenError } from './listen-error.ts';
import { closeAll, listenForStop } from './stopping.ts';

export interface AgentCommandOptions {
  listen: string;
  data: string;
  tokenFile: string;
  policy?: string;
  cgroup?: string;
  maxJobs?: number;
  maxOutput?: string;
}

export async function serveAgent(options: AgentCommandOptions): Promise<void> {
  const { listen, data, tokenFile, policy, cgroup, maxJobs, maxOutput } = options;
  const stopping = listenForStop();
  try {
    const agent = await startAgent({
      listen,
      dataDir: data,
      tokenFile,
      ...(policy !== undefined && { policyFile: policy }),
      ...(cgroup !== undefined && { cgroup }),
      ...(maxJobs !== undefined && { maxJobs }),
      ...(maxOutput !== undefined && { maxOutput }),
      log: createJsonLog((line) => process.stderr.write(line)),
    });
    console.log(`listening ${agent.address} fingerprint ${agent.fingerprint}`);
    await stopping.requested;
    await closeAll([() => agent.close()]);
  } catch (error) {
    const cut = listen.lastIndexOf(':');
    const described = describeListenError(error, {
      host: listen.slice(0, cut),
      port: Number(listen.slice(cut + 1)),
    });
    throw described instanceof Failure ? described : new Failure((error as Error).message);
  } finally {
    stopping.done();
  }
}

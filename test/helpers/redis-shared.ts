/**
 * A Redis on which another gateway, of another prefix, is at work all the while: its API and workers run one job after
 * the other on a host of its own. What is tested beside it must not notice, and it must not notice what is tested:
 * `stop` fails if one of its jobs did not end well, or ran anything but once.
 */
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { startBaseAgent } from './base-agent.ts';
import { startGatewayParts } from './gateway-parts.ts';
import type { TestRedis } from './redis.ts';

const PREFIX = '{neighbour}';

export async function shareRedis(redis: TestRedis): Promise<TestRedis> {
  const gateway = await startGatewayParts(parseRedisUrl(redis.url), PREFIX);
  const agent = await startBaseAgent({ generation: 'C', rate: null });
  const { address, token, fingerprint } = agent;
  await gateway.call('PUT', '/v1/hosts/web1', { address, token, tls: { fingerprint } });
  let stopping = false;
  let jobs = 0;

  /** @returns what was wrong with one of the jobs; nothing if all went well */
  async function work(): Promise<string> {
    while (!stopping) {
      const command = `echo neighbour ${jobs++}`;
      const body = { target_server: 'web1', command, poll_interval: 1 };
      const submitted = await gateway.call('POST', '/v1/jobs', body, { prefer: 'wait=20' });
      const starts = agent.startsOf(command);
      if (submitted.body.state !== 'succeeded' || starts !== 1) {
        return `${command} was started ${starts} times: ${JSON.stringify(submitted.body)}`;
      }
    }
    return '';
  }
  const done = work().catch((error: Error) => error.message);

  return {
    ...redis,
    get pid() {
      return redis.pid;
    },
    async stop() {
      stopping = true;
      const wrong = await done;
      await gateway.close();
      await agent.close();
      await redis.stop();
      if (wrong || jobs === 0)
        throw new Error(`the other gateway was disturbed: ${wrong || 'it ran nothing'}`);
    },
  };
}

/** The same Redis in a container, by Testcontainers; only `redis.ts` asks for it. */
import { GenericContainer, getContainerRuntimeClient } from 'testcontainers';
import type { TestRedis } from './redis.ts';
import { answers } from './redis-process.ts';

/**
 * @param port the port on the host, fixed so that the address survives a restart
 * @param command what to run in the container
 */
export async function startRedisContainer(port: number, command: string[]): Promise<TestRedis> {
  const started = await new GenericContainer(process.env.TESTCONTAINERS_REDIS_IMAGE ?? 'redis:7')
    .withExposedPorts({ container: 6379, host: port })
    .withCommand(command)
    .start();
  const client = await getContainerRuntimeClient();
  const container = client.container.getById(started.getId());
  const host = started.getHost();
  const running = async () => (await container.inspect()).State.Running;
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (!(await running())) return;
    await container.kill({ signal });
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await container.wait();
  };
  await answers({ host, port });
  return {
    url: `redis://${host}:${port}`,
    dir: '',
    pid: 0,
    kill,
    async restart() {
      await kill();
      await container.start();
      await answers({ host, port });
    },
    async stop() {
      await container.remove({ force: true, v: true });
    },
  };
}

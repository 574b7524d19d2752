/** Real agents, registered with a gateway as web1, web2, ...: what commands about many hosts are tried on. */
import type { TestGateway } from './gateway.ts';
import { type RealAgent, startRealAgent } from './real-agent.ts';
import { freePort } from './redis.ts';

export interface WebHosts {
  agents: RealAgent[];
  stop(): Promise<void>;
}

/** @param count each has the label `tier=web`, and every second one, from web2 on, `side=b` */
export async function startWebHosts(gateway: TestGateway, count: number): Promise<WebHosts> {
  const agents = await Promise.all(Array.from({ length: count }, () => startRealAgent()));
  for (const [i, { address, token, fingerprint }] of agents.entries()) {
    await put(gateway, `web${i + 1}`, {
      ...{ address, token, tls: { fingerprint } },
      labels: { tier: 'web', side: i % 2 === 0 ? 'a' : 'b' },
    });
  }
  return {
    agents,
    stop: async () => void (await Promise.all(agents.map((agent) => agent.stop()))),
  };
}

/** Registers hosts at which nobody listens. */
export async function registerDeadHosts(gateway: TestGateway, ...names: string[]): Promise<void> {
  for (const name of names) {
    await put(gateway, name, { address: `127.0.0.1:${await freePort()}`, token: 'a-token' });
  }
}

async function put(gateway: TestGateway, name: string, host: unknown): Promise<void> {
  const { status } = await gateway.call('PUT', `/v1/hosts/${name}`, host);
  if (status >= 300) throw new Error(`registering ${name} was answered with ${status}`);
}

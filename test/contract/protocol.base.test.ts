/** The Base protocol, asked of the three generations and of the agent that this project ships. */
import { startBaseAgent } from '../helpers/base-agent.ts';
import { startRealAgent } from '../helpers/real-agent.ts';
import { baseContract } from './base-contract.ts';

for (const generation of ['A', 'B', 'C'] as const) {
  const wrongToken = { A: 500, B: 'accepted', C: 403 } as const;
  baseContract(`generation ${generation}`, async () => {
    const agent = await startBaseAgent({ generation });
    const { url, token, close } = agent;
    return { url, token, close, callersId: generation !== 'A', wrongToken: wrongToken[generation] };
  });
}

baseContract('the shipped agent', async () => {
  const agent = await startRealAgent();
  const { token, stop } = agent;
  return { url: `https://${agent.address}`, token, close: stop, callersId: true, wrongToken: 403 };
});

/**
 * A Base test agent as a process of its own, to be killed and started again with its jobs, its port and its certificate:
 *
 *   node base-agent.process.ts DIRECTORY GENERATION
 *
 * It writes one line of JSON once it listens, as `KeptBaseAgent`. SIGTERM ends it and everything that it started.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificate } from '../helpers/base-agent.certificate.ts';
import { type Generation, startBaseAgent } from '../helpers/base-agent.ts';

export interface KeptBaseAgent {
  address: string;
  token: string;
  fingerprint: string;
}

const [dir = '', generation = 'A'] = process.argv.slice(2);
const file = join(dir, 'kept.json');
const kept = existsSync(file)
  ? (JSON.parse(readFileSync(file, 'utf8')) as Kept)
  : { token: `token-${generation}-${process.pid}`, port: 0, certificate: await makeCertificate() };

interface Kept {
  token: string;
  port: number;
  certificate: Awaited<ReturnType<typeof makeCertificate>>;
}

const agent = await startBaseAgent({
  generation: generation as Generation,
  token: kept.token,
  // Its limit would decide how many jobs a run gets through; what it answers then is tested elsewhere.
  rate: null,
  kept: { root: dir, port: kept.port, certificate: kept.certificate },
});
writeFileSync(file, JSON.stringify({ ...kept, port: agent.port }));
const { address, token, fingerprint } = agent;
console.log(JSON.stringify({ address, token, fingerprint } satisfies KeptBaseAgent));

process.once('SIGTERM', () => {
  void agent.close().finally(() => process.exit(0));
});

/**
 * Runs the agent as a process: the entry of the one-file bundle, and `node src/agent/command-line.ts`.
 *
 *   --listen HOST:PORT --data DIR --token-file FILE [--policy FILE] [--cgroup DIR|own] [--max-jobs N]
 *   [--max-output BYTES] [--boot-id-file FILE] [--dangerously-crash-at POINT[:N]]
 *
 * The first line on stdout is `listening HOST:PORT fingerprint HEX`. SIGTERM and SIGINT stop it; jobs go on.
 */
import { parseArgs } from 'node:util';
import { type CrashAt, parseCrashAt, unknownCrashPoint } from '../job/crash-points.ts';
import { createJsonLog } from './log.ts';
import { startAgent } from './main.ts';

async function main(): Promise<void> {
  // Directories and scripts have exactly the modes that their users need, whatever it was started from.
  process.umask(0o022);
  const { values } = parseArgs({
    options: {
      listen: { type: 'string', default: '127.0.0.1:18443' },
      data: { type: 'string', default: '/var/lib/sluice-agent' },
      'token-file': { type: 'string', default: '/etc/sluice/agent-token' },
      policy: { type: 'string' },
      cgroup: { type: 'string' },
      'max-jobs': { type: 'string' },
      'max-output': { type: 'string' },
      'boot-id-file': { type: 'string' },
      // For tests only; see docs/crash-points.md.
      'dangerously-crash-at': { type: 'string' },
    },
  });
  const agent = await startAgent({
    listen: values.listen,
    dataDir: values.data,
    tokenFile: values['token-file'],
    ...(values.policy !== undefined && { policyFile: values.policy }),
    ...(values.cgroup !== undefined && { cgroup: values.cgroup }),
    ...(values['max-jobs'] !== undefined && { maxJobs: positive(values['max-jobs']) }),
    ...(values['max-output'] !== undefined && { maxOutput: values['max-output'] }),
    ...(values['boot-id-file'] !== undefined && { bootIdFile: values['boot-id-file'] }),
    ...(values['dangerously-crash-at'] !== undefined && { crashAt: crashAt(values['dangerously-crash-at']) }),
    log: createJsonLog((line) => process.stderr.write(line)),
  });
  process.stdout.write(`listening ${agent.address} fingerprint ${agent.fingerprint}\n`);
  const stop = () => void agent.close().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

function positive(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new Error(`--max-jobs takes a positive number, not ${text}`);
  return Number(text);
}

function crashAt(text: string): CrashAt {
  const at = parseCrashAt(text);
  if (!at) throw new Error(`--dangerously-crash-at ${unknownCrashPoint()}`);
  return at;
}

main().catch((error: Error) => {
  process.stderr.write(`sluice-agent: ${error.message}\n`);
  process.exitCode = 1;
});

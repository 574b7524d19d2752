/**
 * What callers ask for: commands whose truth is known beforehand. Each appends a line to a file that only it writes when
 * it starts and one when it ends, so that starts and what ran at once are told by the host, not by the gateway.
 */
import { createHash } from 'node:crypto';
import type { Random } from '../helpers/random.ts';
import type { HostKind } from './hosts.ts';

export interface Truth {
  state: 'succeeded' | 'failed' | 'timed_out';
  returnCode: number | null;
  /** Of what it writes to stdout; null: it may be anything. */
  stdout: { bytes: number; sha256: string } | null;
  /** It can provably not be started. */
  neverStarts?: true;
  /** So many attempts, each of which starts once; 1 where it says nothing. */
  attempts?: number;
  /** What attempts before the last end with; a cancel lets no other one follow, and this is then the end. */
  earlierCode?: number;
  /** Jobs of one such key never run at once; one may be canceled by the next. */
  uniqueKey?: string;
}

export interface Order {
  what: string;
  /** Fields of `POST /v1/jobs` besides `target_server` and `callback_url`. */
  body: Record<string, unknown>;
  truth: Truth;
}

interface Script {
  what: string;
  weight: number;
  on: HostKind[];
  /** A file system that is made full gets nothing whose output matters. */
  needsDisk?: true;
  make(random: Random, file: string): { script: string; truth: Truth; more?: Record<string, unknown> };
}

const EVERYWHERE: HostKind[] = ['full', 'launcher', 'bare'];
const KEPT_WELL: HostKind[] = ['full', 'launcher'];
const NOTHING = output('');
const well: Truth = { state: 'succeeded', returnCode: 0, stdout: NOTHING };
const seconds = (random: Random, least: number, most: number) => random.between(least, most).toFixed(2);

const SCRIPTS: readonly Script[] = [
  { what: 'quick', weight: 40, on: EVERYWHERE, make: () => ({ script: 'true', truth: well }) },
  {
    ...{ what: 'nap', weight: 28, on: EVERYWHERE },
    make: (random) => ({ script: `sleep ${seconds(random, 0.2, 2.5)}`, truth: well }),
  },
  {
    ...{ what: 'long', weight: 5, on: EVERYWHERE },
    make: (random) => ({ script: `sleep ${seconds(random, 4, 12)}`, truth: well }),
  },
  {
    ...{ what: 'fails', weight: 10, on: EVERYWHERE },
    make(random) {
      const code = 1 + random.integer(120);
      return { script: `(exit ${code})`, truth: { state: 'failed', returnCode: code, stdout: NOTHING } };
    },
  },
  {
    ...{ what: 'writes', weight: 9, on: KEPT_WELL, needsDisk: true },
    make(random) {
      const count = 1 + random.integer(20_000);
      const lines = Array.from({ length: count }, (_, i) => `${i + 1}\n`).join('');
      return { script: `seq 1 ${count}`, truth: { ...well, stdout: output(lines) } };
    },
  },
  {
    ...{ what: 'drips', weight: 3, on: KEPT_WELL, needsDisk: true },
    make: () => ({
      script: 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done',
      truth: { ...well, stdout: output('1\n2\n3\n4\n5\n6\n') },
    }),
  },
  {
    ...{ what: 'is killed', weight: 2, on: ['full'] },
    make: () => ({ script: 'kill -9 $$', truth: { state: 'failed', returnCode: 137, stdout: NOTHING } }),
  },
  {
    ...{ what: 'times out', weight: 3, on: KEPT_WELL },
    make: () => ({
      script: 'sleep 120',
      truth: { state: 'timed_out', returnCode: null, stdout: NOTHING },
      more: { timeout_seconds: 2 },
    }),
  },
  {
    ...{ what: 'ignores TERM', weight: 2, on: KEPT_WELL },
    make: () => ({ script: 'trap "" TERM; sleep 3', truth: well }),
  },
  {
    ...{ what: 'fails once', weight: 3, on: KEPT_WELL },
    make: (_random, file) => ({
      script: `[ $(grep -c ^s ${file}) -ge 2 ]`,
      truth: { ...well, attempts: 2, earlierCode: 1 },
      more: { retry: { max_attempts: 2, backoff_seconds: 1 } },
    }),
  },
  {
    ...{ what: 'alone', weight: 3, on: KEPT_WELL },
    make(random, file) {
      const key = `alone-${random.integer(4)}`;
      const end = `trap 'echo "e $EPOCHREALTIME 143" >> ${file}; exit 143' TERM`;
      return {
        script: `${end}; sleep ${seconds(random, 0.5, 4)}; trap - TERM`,
        truth: { ...well, uniqueKey: key },
        more: { unique_key: key, on_duplicate: 'replace' },
      };
    },
  },
  {
    ...{ what: 'cannot start', weight: 1, on: ['full'] },
    make: () => ({
      script: 'true',
      truth: { state: 'failed', returnCode: null, stdout: NOTHING, neverStarts: true },
      more: { workdir: '/nonexistent-for-chaos' },
    }),
  },
];

/** @param file to which the command appends what it does */
export function makeOrder(
  random: Random,
  { kind, smallDisk }: { kind: HostKind; smallDisk: boolean },
  file: string,
): Order {
  const able = SCRIPTS.filter(({ on, needsDisk }) => on.includes(kind) && !(smallDisk && needsDisk));
  const chosen = random.byWeight(able, ({ weight }) => weight);
  const { script, truth, more } = chosen.make(random, file);
  const noted = `echo "s $EPOCHREALTIME" >> ${file}; ${script}; c=$?; echo "e $EPOCHREALTIME $c" >> ${file}; exit $c`;
  return {
    what: chosen.what,
    truth,
    body: {
      // A Base agent pastes a command into a script of its own, which must live on to note the end.
      command: kind === 'bare' ? `bash -c '${noted}'` : noted,
      mode: random.chance(0.15) ? 'sync' : kind === 'full' && random.chance(0.04) ? 'tmux' : 'async',
      priority: random.integer(10),
      poll_interval: 1 + random.integer(3),
      ...(kind === 'bare' && random.chance(0.5) && { on_ambiguous_start: 'retry' }),
      ...more,
    },
  };
}

function output(text: string): { bytes: number; sha256: string } {
  return { bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex') };
}

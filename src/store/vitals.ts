/**
 * The vital signs of a gateway: counts and heads of Redis' structures, whose cost grows neither with jobs nor with
 * hosts, so that any process can tell them at any time. What only a look at all hosts can tell is read from the note
 * that the survey leaves (`survey.ts`); a note that is too old is left out.
 */
import { STATES, type State } from '../job/states.ts';
import { DEAD_KEPT_MS } from './deliveries/places.ts';
import { HOST_GROUPS, type HostGroup } from './hosts/health.ts';
import type { Keys } from './keys.ts';
import { overdueMs } from './queues/watch.ts';
import { QUEUE_NAMES, type QueueName } from './queues.ts';
import { clock } from './redis/replies.ts';
import { defineScript } from './redis/script.ts';
import { parseInfo, usedPart } from './redis/server-facts.ts';
import type { Redis } from './redis.ts';
import type { Survey } from './vitals/survey.ts';

/** What was learnt longer ago says nothing about a host, in ms. Hosts with jobs are asked every minute at least. */
const LEARNT_MS = 86_400_000;
/** Surveys come every 10 s. */
const SURVEY_KEPT_MS = 60_000;

export interface Vitals {
  /** The used part of `maxmemory`; 0 where there is no limit. */
  memory: number;
  jobs: Record<State, number>;
  hosts: Record<HostGroup, number>;
  registered: number;
  /** How late the most overdue work is, in ms; 0 where nothing is late. */
  lateMs: Record<QueueName | 'mailboxes', number>;
  /** How late the batch is that somebody should have gone on with first, in ms. */
  batchLateMs: number;
  /** Changes that wait to be made into deliveries. */
  outbox: number;
  deadDeliveries: number;
  /** Null: never. */
  sweptMsAgo: number | null;
  surveyedMsAgo: number | null;
  /** Null where there is none of the last minute. */
  survey: Survey | null;
}

export interface VitalsStore {
  read(): Promise<Vitals>;
  /** Notes that a sweep has ended. */
  swept(): Promise<void>;
  surveyed(survey: Survey): Promise<void>;
}

/** KEYS 1 vitals ARGV 1 what was done 2 what it found, or "" */
const noteScript = defineScript(`
redis.call('HSET', KEYS[1], ARGV[1] .. '_at', clock(), ARGV[1], ARGV[2])
`);

export function createVitals({ redis, keys }: { redis: Redis; keys: Keys }): VitalsStore {
  return {
    async read() {
      const now = await clock(redis);
      const [notes, memory, registered, outbox, deadDeliveries, [, armed], [, batchDue], late, jobs, hosts] =
        await Promise.all([
          redis.hgetall(keys.vitals),
          redis.info('memory'),
          redis.zcard(keys.hosts),
          redis.llen(keys.outbox),
          redis.zcount(keys.deliveriesDead, now - DEAD_KEPT_MS, '+inf'),
          redis.zrange(keys.armed, '0', '0', 'WITHSCORES'),
          redis.zrange(keys.batchesDue, '0', '0', 'WITHSCORES'),
          forEach(QUEUE_NAMES, (queue) => overdueMs(redis, keys.queuePrefix, queue)),
          forEach(STATES, (state) => redis.zcard(keys.jobsByState(state))),
          forEach(HOST_GROUPS, (group) => {
            const from = group === 'draining' ? 0 : now - LEARNT_MS;
            return redis.zcount(keys.hostsIn(group), from, '+inf');
          }),
        ]);
      const ago = (time: string | undefined) => (time === undefined ? null : Math.max(0, now - Number(time)));
      const surveyedMsAgo = ago(notes.survey_at);
      const isFresh = surveyedMsAgo !== null && surveyedMsAgo < SURVEY_KEPT_MS;
      return {
        memory: usedPart(parseInfo(memory)),
        jobs,
        hosts,
        registered,
        lateMs: { ...late, mailboxes: ago(armed) ?? 0 },
        batchLateMs: ago(batchDue) ?? 0,
        outbox,
        deadDeliveries,
        sweptMsAgo: ago(notes.sweep_at),
        surveyedMsAgo,
        survey: isFresh ? (JSON.parse(notes.survey as string) as Survey) : null,
      };
    },
    async swept() {
      await noteScript(redis, [keys.vitals], ['sweep', '']);
    },
    async surveyed(survey) {
      await noteScript(redis, [keys.vitals], ['survey', JSON.stringify(survey)]);
    },
  };
}

async function forEach<Name extends string>(
  names: readonly Name[],
  ask: (name: Name) => Promise<number>,
): Promise<Record<Name, number>> {
  const values = await Promise.all(names.map(async (name) => [name, await ask(name)]));
  return Object.fromEntries(values) as Record<Name, number>;
}

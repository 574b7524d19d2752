/**
 * The names of all keys of one gateway. They share the hash tag of its prefix (`{sluice}`), so that one script
 * may touch any of them, on a Redis Cluster too. BullMQ keeps its own under `<prefix>:queue`.
 */

export type Keys = ReturnType<typeof createKeys>;

/** @param prefix the gateway's key prefix with its hash tag, such as `{sluice}` */
export function createKeys(prefix: string) {
  return {
    prefix,
    /** BullMQ's prefix. */
    queuePrefix: `${prefix}:queue`,
    /** HASH: where the job stands. */
    job: (id: string) => `${prefix}:job:${id}`,
    /** STRING: what was asked, as JSON. */
    jobRequest: (id: string) => `${prefix}:job:${id}:request`,
    /** LIST: the changes that its hash has no room for; see `jobs/events.ts`. */
    jobEvents: (id: string) => `${prefix}:job:${id}:events`,
    /** HASH `stdout`, `stderr`: the last 8 KiB of each, once over. */
    jobTails: (id: string) => `${prefix}:job:${id}:tails`,
    /** HASH `stdout`, `stderr`, ...: the output of a `sync` job, for an hour. */
    jobOutput: (id: string) => `${prefix}:job:${id}:output`,
    /** ZSETs of job ids at score 0: a ULID's order is the order of acceptance. */
    jobsAll: `${prefix}:jobs:all`,
    jobsByOwner: (name: string) => `${prefix}:jobs:owner:${name}`,
    jobsByHost: (host: string) => `${prefix}:jobs:host:${host}`,
    jobsByState: (state: string) => `${prefix}:jobs:state:${state}`,
    /** ZSET id -> time by which its first attempt must have started. */
    deadlines: `${prefix}:jobs:deadlines`,
    /** ZSET id -> time from which its record may be removed. */
    expiring: `${prefix}:jobs:expiring`,
    /** HASH: how far the batch has come, and the limits that its scripts keep; see `batches/course.ts`. */
    batch: (id: string) => `${prefix}:batch:${id}`,
    /** STRING: what was asked, as JSON. */
    batchRequest: (id: string) => `${prefix}:batch:${id}:request`,
    /** LIST of its targets, in the order in which their jobs are made. */
    batchTargets: (id: string) => `${prefix}:batch:${id}:targets`,
    /** STRING: one letter for each target, where it stands; see `batches/marks.ts`. */
    batchMarks: (id: string) => `${prefix}:batch:${id}:marks`,
    /** SET of the hosts on which a job of it is `queued`. */
    batchWaiting: (id: string) => `${prefix}:batch:${id}:waiting`,
    /** SET of the hosts on which a job of it is `dispatching`. */
    batchStarting: (id: string) => `${prefix}:batch:${id}:starting`,
    /** SET of the numbers of those targets whose jobs are held at `HELD_AT` because the batch starts nothing now. */
    batchHeld: (id: string) => `${prefix}:batch:${id}:held`,
    /** SET of digests of the idempotency keys under which requests were answered with this batch that others had made. */
    batchAttached: (id: string) => `${prefix}:batch:${id}:attached`,
    /** ZSETs of batch ids at score 0. */
    batchesAll: `${prefix}:batches:all`,
    batchesByOwner: (name: string) => `${prefix}:batches:owner:${name}`,
    /** ZSET id -> when it was accepted: those that are not over. */
    batchesOpen: `${prefix}:batches:open`,
    /** ZSET id -> when somebody should go on with it. */
    batchesDue: `${prefix}:batches:due`,
    /** ZSET id -> time from which its record may be removed. */
    batchesExpiring: `${prefix}:batches:expiring`,
    /** STRING: the batch that holds a unique key of batches. */
    batchUnique: (owner: string, digest: string) => `${prefix}:batches:unique:${owner}:${digest}`,
    /** STRING: what was accepted under an `Idempotency-Key`; see `jobs/idempotency.ts`. */
    idempotency: (owner: string, digest: string) => `${prefix}:idempotency:${owner}:${digest}`,
    /** HASH `holder`, `next`: the jobs of a unique key; see `jobs/line.ts`. */
    line: (owner: string, digest: string) => `${prefix}:unique:${owner}:${digest}`,
    /** ZSET id -> when to look: jobs that wait for the one that holds their unique key. */
    succession: `${prefix}:jobs:succession`,
    /** SET of digests of the idempotency keys under which a job was answered that others had made. */
    jobAttached: (id: string) => `${prefix}:job:${id}:attached`,
    /** STREAM of all changes, bounded. */
    events: `${prefix}:events`,
    /** Channels on which changes are announced: what workers act on (a job waits, or runs), and everything else. */
    workChanges: `${prefix}:changes:work`,
    changes: `${prefix}:changes`,
    /** ZSET of registered names. */
    hosts: `${prefix}:hosts`,
    /** STRING: a host's configuration as JSON. */
    host: (name: string) => `${prefix}:host:${name}`,
    /** HASH: what is known of the host. */
    hostHealth: (name: string) => `${prefix}:host:${name}:health`,
    /** STRING: the name of the host at this address. */
    hostAddress: (address: string) => `${prefix}:address:${address}`,
    /**
     * ZSET place -> from when it may start: the host's mailbox. A place is a job with its priority and caller.
     * Not `:mailbox`, and slots not `:slots`: versions before places kept bare ids under these names, and old and
     * new processes run at once during an upgrade, neither of which could read the other's members. Jobs that wait
     * under the old name are brought over by the sweep.
     */
    mailbox: (host: string) => `${prefix}:host:${host}:waiting`,
    /** ZSET place -> turn: what may start now, in the order in which it will. */
    ready: (host: string) => `${prefix}:host:${host}:ready`,
    /** HASH: whose turn it is among the callers and priorities of the ready set, and what keeps it waiting. */
    turns: (host: string) => `${prefix}:host:${host}:turns`,
    /** ZSET of the ids that count against `max_jobs`; changed by moves only. */
    activeJobs: (host: string) => `${prefix}:host:${host}:active`,
    /** HASH: the host's token bucket, and how starts, questions and reads share it. */
    hostBudget: (host: string) => `${prefix}:host:${host}:budget`,
    /** ZSET `<kind>:<id>` -> expiry: requests under way to the agent, on Redis' clock. */
    slots: (host: string) => `${prefix}:host:${host}:requests`,
    /** ZSET id -> next question: the jobs that the host is asked about. */
    followed: (host: string) => `${prefix}:host:${host}:followed`,
    /** STRING with a lifetime: who does what only one process should do at a time. */
    lease: (name: string) => `${prefix}:lease:${name}`,
    /** ZSET host -> when its mailbox should be looked at. */
    armed: `${prefix}:hosts:armed`,
    /** ZSET host -> when it began to have followed jobs. */
    hostsFollowed: `${prefix}:hosts:followed`,
    /** ZSET host -> when it was last learnt that it is so (`draining`: since when), for counting. */
    hostsIn: (group: string) => `${prefix}:hosts:in:${group}`,
    /** HASH: when the last sweep and the last survey ended, and what the survey found. */
    vitals: `${prefix}:vitals`,
    /** LIST of changes that webhooks may have to tell. */
    outbox: `${prefix}:webhooks:outbox`,
    /** Webhook endpoints: ZSET of ids, STRING of each. */
    endpoints: `${prefix}:webhooks:endpoints`,
    endpoint: (id: string) => `${prefix}:webhook:${id}`,
    /** HASH: one delivery; ZSETs: origins with something due, dead ones, and by endpoint (or `callbacks`). */
    delivery: (id: string) => `${prefix}:delivery:${id}`,
    deliveriesDue: `${prefix}:deliveries:due`,
    deliveriesDead: `${prefix}:deliveries:dead`,
    deliveriesOf: (endpoint: string) => `${prefix}:deliveries:of:${endpoint}`,
    /** SET of a job's or batch's deliveries that are neither done nor dead: its record outlives them. */
    deliveriesPending: (id: string) => `${prefix}:job:${id}:deliveries`,
    /** API keys: ZSET of ids, HASH of each, STRING name -> id. */
    apiKeys: `${prefix}:keys`,
    apiKey: (id: string) => `${prefix}:key:${id}`,
    apiKeyName: (name: string) => `${prefix}:key:name:${name}`,
    /** STRING, empty, gone in a second: whether a write goes through; see `outages.ts`. */
    probe: `${prefix}:probe`,
    /** STRING, empty: what is written to ask replicas what they have; see `acknowledging.ts`. */
    replicated: `${prefix}:replicated`,
    /** STRING: the fingerprint of the secret key that this gateway's records are sealed with. */
    secretFingerprint: `${prefix}:secret:fingerprint`,
  };
}

/**
 * The names of all keys of one gateway. They share the hash tag of its prefix (`{sluice}`), so that one script
 * may touch any of them, on a Redis Cluster too. BullMQ keeps its own under `<prefix>:queue`.
 */

export type Keys = ReturnType<typeof createKeys>;

/** @param prefix the gateway's key prefix with its hash tag, such as `{sluice}` */
export function createKeys(prefix: string) {
  const key = (...parts: string[]) => [prefix, ...parts].join(':');
  return {
    prefix,
    /** BullMQ's prefix. */
    queuePrefix: key('queue'),
    /** HASH: where the job stands. */
    job: (id: string) => key('job', id),
    /** STRING: what was asked, as JSON. */
    jobRequest: (id: string) => key('job', id, 'request'),
    /** LIST: the changes that its hash has no room for; see `jobs/events.ts`. */
    jobEvents: (id: string) => key('job', id, 'events'),
    /** HASH `stdout`, `stderr`: the last 8 KiB of each, once over. */
    jobTails: (id: string) => key('job', id, 'tails'),
    /** HASH `stdout`, `stderr`, ...: the output of a `sync` job, for an hour. */
    jobOutput: (id: string) => key('job', id, 'output'),
    /** ZSETs of job ids at score 0: a ULID's order is the order of acceptance. */
    jobsAll: key('jobs', 'all'),
    jobsByOwner: (name: string) => key('jobs', 'owner', name),
    jobsByHost: (host: string) => key('jobs', 'host', host),
    jobsByState: (state: string) => key('jobs', 'state', state),
    /** ZSET id -> time by which its first attempt must have started. */
    deadlines: key('jobs', 'deadlines'),
    /** ZSET id -> time from which its record may be removed. */
    expiring: key('jobs', 'expiring'),
    /** STRING: what was accepted under an `Idempotency-Key`; see `jobs/idempotency.ts`. */
    idempotency: (owner: string, digest: string) => key('idempotency', owner, digest),
    /** STREAM of all changes, bounded. */
    events: key('events'),
    /** Channel on which each change is announced. */
    changes: key('changes'),
    /** ZSET of registered names. */
    hosts: key('hosts'),
    /** STRING: a host's configuration as JSON. */
    host: (name: string) => key('host', name),
    /** HASH: what is known of the host. */
    hostHealth: (name: string) => key('host', name, 'health'),
    /** STRING: the name of the host at this address. */
    hostAddress: (address: string) => key('address', address),
    /** ZSET place -> from when it may start: the host's mailbox. A place is a job with its priority and caller. */
    mailbox: (host: string) => key('host', host, 'mailbox'),
    /** ZSET place -> turn: what may start now, in the order in which it will. */
    ready: (host: string) => key('host', host, 'ready'),
    /** HASH: whose turn it is among the callers and priorities of the ready set, and what keeps it waiting. */
    turns: (host: string) => key('host', host, 'turns'),
    /** ZSET of the ids that count against `max_jobs`; changed by moves only. */
    activeJobs: (host: string) => key('host', host, 'active'),
    /** HASH: the host's token bucket, and how starts, questions and reads share it. */
    hostBudget: (host: string) => key('host', host, 'budget'),
    /** ZSET `<kind>:<id>` -> expiry: requests under way to the agent, on Redis' clock. */
    slots: (host: string) => key('host', host, 'slots'),
    /** ZSET id -> next question: the jobs that the host is asked about. */
    followed: (host: string) => key('host', host, 'followed'),
    /** STRING with a lifetime: who does what only one process should do at a time. */
    lease: (name: string) => key('lease', name),
    /** ZSET host -> when its mailbox should be looked at. */
    armed: key('hosts', 'armed'),
    /** ZSET host -> when it began to have followed jobs. */
    hostsFollowed: key('hosts', 'followed'),
    /** ZSET host -> when it was last learnt that it is so (`draining`: since when), for counting. */
    hostsIn: (group: string) => key('hosts', 'in', group),
    /** HASH: when the last sweep and the last survey ended, and what the survey found. */
    vitals: key('vitals'),
    /** LIST of changes that webhooks may have to tell. */
    outbox: key('webhooks', 'outbox'),
    /** Webhook endpoints: ZSET of ids, STRING of each. */
    endpoints: key('webhooks', 'endpoints'),
    endpoint: (id: string) => key('webhook', id),
    /** HASH: one delivery; ZSETs: origins with something due, dead ones, and by endpoint (or `callbacks`). */
    delivery: (id: string) => key('delivery', id),
    deliveriesDue: key('deliveries', 'due'),
    deliveriesDead: key('deliveries', 'dead'),
    deliveriesOf: (endpoint: string) => key('deliveries', 'of', endpoint),
    /** SET of a job's deliveries that are neither done nor dead: its record outlives them. */
    deliveriesPending: (jobId: string) => key('job', jobId, 'deliveries'),
    /** API keys: ZSET of ids, HASH of each, STRING name -> id. */
    apiKeys: key('keys'),
    apiKey: (id: string) => key('key', id),
    apiKeyName: (name: string) => key('key', 'name', name),
    /** STRING: the fingerprint of the secret key that this gateway's records are sealed with. */
    secretFingerprint: key('secret', 'fingerprint'),
  };
}

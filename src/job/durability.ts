/**
 * How durable a write is to be before its caller is told that it was taken. Chosen by the operator (`SLUICE_DURABILITY`,
 * `SLUICE_ACK_REPLICAS`); kept by Redis, whose settings are looked at and, but for the Redis of `sluice up`, never changed.
 */

/** How often Redis' file must be synced to its disk at least: before each write is answered, or each second. */
export const DURABILITIES = ['always', 'everysec'] as const;
export type Durability = (typeof DURABILITIES)[number];

export interface Needs {
  durability: Durability;
  /** How many replicas must have a write. */
  ackReplicas: number;
}

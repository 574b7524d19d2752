/** `rate` of a host: how many requests its agent gets in a time, as it is set and as it is in force. */
import Type from 'typebox';
import { burstOf, type HostConfig, type HostHealth, type HostRate, rateOf } from '../../../job/host.ts';

const count = (description: string, maximum: number) => Type.Integer({ minimum: 1, maximum, description });

const DAY_SECONDS = 86_400;

/** The schema of a rate, without its type: it may be null. */
export const RATE_FIELDS = {
  properties: {
    limit: count('Requests in each period, on average.', 1_000_000),
    period_seconds: count('The period, in seconds.', DAY_SECONDS),
    burst: count(
      'Requests that may come at once; 1 spreads them evenly. By default a tenth of the limit.',
      1_000_000,
    ),
  },
  required: ['limit', 'period_seconds'],
  additionalProperties: false,
};

export function rateView(description: string) {
  return Type.Unsafe<HostRate | null>({ ...RATE_FIELDS, type: ['object', 'null'], description });
}

/** The rate that holds now, its burst filled in; null: no limit. */
export function rateInForce(host: HostConfig, { agent }: Pick<HostHealth, 'agent'>): HostRate | null {
  const rate = rateOf(host, agent);
  return rate && { ...rate, burst: burstOf(rate) };
}

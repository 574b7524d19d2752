/**
 * One attempt of one delivery: whom it goes to now, signed with the secrets of now, and what the reply means. The
 * end is committed after the reply: who dies in between sends it again.
 */
import type { Logger } from 'pino';
import type { Reply, WebhookSender } from '../../net/webhook.ts';
import { signatureHeaders } from '../../protocol/webhook.ts';
import {
  CALLBACKS,
  type Claimed,
  type Delivery,
  type DeliveryAttempt,
  type DeliveryStore,
  type Verdict,
} from '../../store/deliveries.ts';
import type { EndpointStore } from '../../store/webhooks.ts';
import { isDelivered, isGone, judge, type Schedule } from './schedule.ts';

export interface AttemptDeps {
  deliveries: Pick<DeliveryStore, 'settle'>;
  endpoints: Pick<EndpointStore, 'get' | 'secrets' | 'disable'>;
  /** The secret of the callbacks of an API key's jobs and batches, by the key's name. */
  callbackSecret: (owner: string) => Promise<string | null>;
  sender: Pick<WebhookSender, 'send'>;
  schedule: Schedule;
  /** What an attempt came to; for metrics. */
  onAttempted?: ((result: Verdict['kind'] | 'superseded') => void) | undefined;
  log: Logger;
}

/** Where a delivery goes now, or why it goes nowhere: for good, or for now. */
type Receiver = { url: string; secrets: string[] } | { dead: string } | { wait: string };

export function createAttempt(deps: AttemptDeps): (claimed: Claimed) => Promise<void> {
  const { deliveries, endpoints, sender, schedule, log } = deps;

  return async (claimed) => {
    const { delivery } = claimed;
    const at = Date.now();
    const receiver = await findReceiver(delivery);
    const reply = 'url' in receiver ? await send(delivery, receiver, at) : notSent(receiver);
    const verdict: Verdict =
      'dead' in receiver ? { kind: 'dead', reason: receiver.dead } : judge(reply, delivery.tries, schedule);
    const attempt = record(reply, at);
    // Before the delivery's own end: else a death in between would leave the endpoint enabled.
    if (isGone(reply) && delivery.target !== CALLBACKS) {
      await endpoints.disable(delivery.target, 'the receiver answered 410 Gone');
    }
    const settled = await deliveries.settle(claimed, attempt, verdict);
    const result = settled ? verdict.kind : 'superseded';
    deps.onAttempted?.(result);
    logAttempt(delivery, attempt, result);
  };

  async function findReceiver({ target, owner, url }: Delivery): Promise<Receiver> {
    if (target === CALLBACKS) {
      const secret = await deps.callbackSecret(owner);
      return secret === null
        ? { wait: `the API key ${owner} has no callback secret` }
        : { url, secrets: [secret] };
    }
    const endpoint = await endpoints.get(target);
    if (!endpoint) return { dead: 'the endpoint was deleted' };
    if (endpoint.disabled_at !== null)
      return { dead: `the endpoint is disabled: ${endpoint.disabled_reason}` };
    return { url: endpoint.url, secrets: endpoints.secrets(endpoint) };
  }

  function send({ id, body }: Delivery, { url, secrets }: { url: string; secrets: string[] }, at: number) {
    return sender.send({ url, body, headers: signatureHeaders({ id, at: new Date(at), body, secrets }) });
  }

  function logAttempt(delivery: Delivery, attempt: DeliveryAttempt, result: string): void {
    const { id, subject, target, type, tries } = delivery;
    const { status, error, duration_ms } = attempt;
    log.info(
      {
        ...{ delivery: id, [subject.startsWith('batch_') ? 'batch' : 'job']: subject, target, type },
        ...{ attempt: tries + 1, status, error, duration_ms, result },
      },
      'webhook.delivery.attempted',
    );
  }
}

function notSent(receiver: { dead: string } | { wait: string }): Reply {
  const [error, detail] =
    'dead' in receiver ? ['no_receiver', receiver.dead] : ['callback_secret_missing', receiver.wait];
  return { status: null, retryAfterMs: null, text: null, error: error ?? null, detail: detail ?? null };
}

function record(reply: Reply, at: number): DeliveryAttempt {
  const { status, text } = reply;
  const refused = status !== null && !isDelivered(reply);
  return {
    at,
    duration_ms: Date.now() - at,
    status,
    error: refused ? 'http_status' : reply.error,
    detail: refused ? `the receiver answered ${status}` : reply.detail,
    response: text,
  };
}

import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';
import { BATCH_STATES } from '../../src/job/batch.ts';
import { STATES } from '../../src/job/states.ts';
import {
  createWebhookSecret,
  DEFAULT_EVENTS,
  EVENT_TYPES,
  isEventType,
  signatureHeaders,
} from '../../src/protocol/webhook.ts';

test('the signature of the published example comes out as published', () => {
  const headers = signatureHeaders({
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    at: new Date(1_614_265_330_000),
    body: '{"test": 2432232314}',
    secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
  });
  expect(headers).toEqual({
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  });
});

test('with two secrets a receiver that knows either of them accepts the message, and one that knows neither does not', () => {
  const [first, second, stranger] = [createWebhookSecret(), createWebhookSecret(), createWebhookSecret()];
  const body = '{"type":"job.succeeded"}';
  const headers = signatureHeaders({ id: 'msg_1', at: new Date(), body, secrets: [first, second] });
  expect(headers['webhook-signature']?.split(' ')).toHaveLength(2);
  expect(new Webhook(first).verify(body, headers)).toEqual({ type: 'job.succeeded' });
  expect(new Webhook(second).verify(body, headers)).toEqual({ type: 'job.succeeded' });
  expect(() => new Webhook(stranger).verify(body, headers)).toThrow();
  expect(() => new Webhook(first).verify(`${body} `, headers)).toThrow();
});

test('a secret is whsec_ and 32 random bytes in base64', () => {
  const secret = createWebhookSecret();
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(Buffer.from(secret.slice(6), 'base64')).toHaveLength(32);
  expect(createWebhookSecret()).not.toBe(secret);
});

test('there is an event for every state, and by default ends, corrections and paused batches are told', () => {
  expect(EVENT_TYPES).toHaveLength(STATES.length + 2 + BATCH_STATES.length + 1);
  expect(DEFAULT_EVENTS).toEqual([
    'job.succeeded',
    'job.failed',
    'job.timed_out',
    'job.canceled',
    'job.expired',
    'job.lost',
    'job.sighted',
    'job.recovered',
    'batch.succeeded',
    'batch.failed',
    'batch.stopped',
    'batch.canceled',
    'batch.paused',
  ]);
  expect(isEventType('job.running')).toBe(true);
  expect(isEventType('batch.wave_done')).toBe(true);
  expect(isEventType('job.exploded')).toBe(false);
});

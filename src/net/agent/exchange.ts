/**
 * One question to an agent and its checked answer: JSON out, JSON in, refusals as errors, and one event for each
 * request, whatever became of it. The drivers know only this.
 */
import type { DialHost } from '../../job/agent-port.ts';
import { type ErrorCode, SluiceError } from '../../job/errors.ts';
import { isBareServerError, refusalIn } from './refusal.ts';
import { type Checked, readReply } from './reply.ts';
import type { createWire, WireReply, WireRequest } from './wire.ts';

/** What became of one request to a host; for metrics and log lines. */
export interface RequestEvent {
  host: string;
  /** The endpoint: `ping`, `run`, `status`, `cancel`, `logs`. */
  what: Endpoint;
  ms: number;
  /** The HTTP status, or null where no reply arrived. */
  status: number | null;
  /** Null where all went well. */
  code: ErrorCode | null;
}

export type Endpoint = 'ping' | 'run' | 'status' | 'cancel' | 'logs';

export interface Question extends Omit<WireRequest, 'body' | 'maxBytes'> {
  what: Endpoint;
  body?: object;
  maxBytes?: number;
}

export interface Exchange {
  /** @throws SluiceError one of the `agent_…` codes */
  ask<T>(host: DialHost, question: Question, schema: Checked<T>): Promise<T>;
  /** The reply as it came, for those that read only its head; refusals are thrown all the same. */
  send(host: DialHost, question: Question): Promise<WireReply>;
}

/** More than any reply but output and batches needs. */
const DEFAULT_BYTES = 1_048_576;

export function createExchange(
  wire: Pick<ReturnType<typeof createWire>, 'exchange'>,
  onRequest: (event: RequestEvent) => void,
): Exchange {
  async function send(host: DialHost, question: Question): Promise<WireReply> {
    const { what, body, maxBytes = DEFAULT_BYTES, ...rest } = question;
    await host.beforeRequest?.();
    const begun = performance.now();
    let status: number | null = null;
    const told = (code: ErrorCode | null) =>
      onRequest({ host: host.name, what, ms: Math.round(performance.now() - begun), status, code });
    try {
      const reply = await wire.exchange(host, {
        ...rest,
        maxBytes,
        ...(body && { body: JSON.stringify(body) }),
      });
      status = reply.status;
      const refusal = refusalIn(reply);
      if (refusal) throw isBareServerError(reply) ? await explained(host, what, refusal) : refusal;
      told(null);
      return reply;
    } catch (error) {
      told(error instanceof SluiceError ? error.code : 'internal');
      throw error;
    }
  }

  /** The first generation's bare 500 is a wrong token if `/ping`, which needs nothing else, gets it too. */
  async function explained(host: DialHost, what: Endpoint, refusal: SluiceError): Promise<SluiceError> {
    const wrongToken = new SluiceError('agent_token_refused', 'The host refuses the token (HTTP 500 to all)');
    if (what === 'ping') return wrongToken;
    try {
      await send(host, { what: 'ping', method: 'POST', path: '/ping' });
      return refusal;
    } catch (error) {
      return error instanceof SluiceError && error.code === 'agent_token_refused' ? wrongToken : refusal;
    }
  }

  return {
    send,
    async ask(host, question, schema) {
      return readReply((await send(host, question)).body, schema);
    },
  };
}

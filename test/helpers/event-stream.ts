/** `GET /v1/events` as a caller follows it: what came is in `seen`, until `close`. */
import { expect } from 'vitest';
import { until } from './until.ts';

export interface SeenEvent {
  id: string;
  event: string;
  /** Of a job: id, version, state, host and owner; of a host: host and cause. */
  data: Record<string, unknown>;
}

export async function followEvents(url: string, token: string, from?: string) {
  const gone = new AbortController();
  const headers = { authorization: `Bearer ${token}`, ...(from && { 'last-event-id': from }) };
  const response = await fetch(`${url}/v1/events`, { headers, signal: gone.signal });
  expect(response.status).toBe(200);
  const seen: SeenEvent[] = [];
  let rest = '';
  const reading = (async () => {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks.filter((one) => !one.startsWith(':'))) {
        const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s)));
        seen.push({ ...fields, data: JSON.parse(fields.data) });
      }
    }
  })().catch(() => undefined);
  return {
    seen,
    /** Waits for an event of this job. */
    has: (id: string) => until(() => seen.find(({ data }) => data.id === id), { what: `an event of ${id}` }),
    /** Waits for an event of this name about this host. */
    hears: (event: string, host: string) =>
      until(() => seen.find((one) => one.event === event && one.data.host === host), {
        what: `${event} of ${host}`,
      }),
    async close() {
      gone.abort();
      await reading;
    },
  };
}

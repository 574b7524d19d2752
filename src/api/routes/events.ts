/** `GET /v1/events`: all changes that the caller may see, as they happen; resumed where it broke off. */
import Type from 'typebox';
import { type ApiKey, hasScope, mayUseHost } from '../../store/api-keys.ts';
import type { Feed, StreamedChange } from '../../store/feed.ts';
import { maySee } from '../access.ts';
import type { ChangeTail } from '../change-tail.ts';
import type { Holds } from '../holds.ts';
import type { Api } from '../instance.ts';
import { type EventStream, lastEventId, openEventStream } from '../sse.ts';

export interface EventsDeps {
  feed: Pick<Feed, 'since'>;
  changeTail: ChangeTail;
  holds: Holds;
  closing: AbortSignal;
}

const BATCH = 500;

export function eventsRoute(app: Api, { feed, changeTail, holds, closing }: EventsDeps): void {
  app.get(
    '/v1/events',
    {
      config: { scope: 'jobs:read' },
      exposeHeadRoute: false,
      schema: {
        tags: ['Jobs'],
        summary: 'Follow all changes',
        description:
          'Server-sent events: `event` is `job.<state>`, `job.sighted` or `job.recovered`, `data` has id, version, ' +
          'state, host and owner; or `batch.<state>` or `batch.wave_done`, and `data` has id, version, state and owner ' +
          'of the batch, whose counts change without an event. Keys with `hosts:read` also hear of the hosts that they may use: `host.up`, ' +
          '`host.suspect`, `host.down`, `host.misconfigured`, `host.draining` and `host.resumed`, with `data` host ' +
          'and cause. `Last-Event-ID` resumes after that event; `0` begins with the oldest that is kept.',
        headers: Type.Object({
          'last-event-id': Type.Optional(
            Type.String({
              pattern: '^\\d{1,16}(-\\d{1,16})?$',
              description: 'The last event that was seen.',
            }),
          ),
        }),
        produces: ['text/event-stream'],
      },
    },
    async (request, reply) => {
      const release = holds.take(request.caller.name);
      const stream = openEventStream(request, reply, { closing, onOver: release });
      const send = (change: StreamedChange) => {
        if (mayHear(request.caller, change)) tell(stream, change);
      };
      try {
        await follow(stream, lastEventId(request), send);
      } catch (error) {
        // Headers are sent: ending the stream makes the caller come back, and that is answered properly.
        const reason = error instanceof Error ? error.message : String(error);
        request.log.warn({ event: 'api.events.ended', reason }, 'a stream was cut');
        stream.end();
      }
    },
  );

  /** Subscribing comes before catching up; what comes twice is told once, by its place. */
  async function follow(
    stream: EventStream,
    from: string | undefined,
    send: (change: StreamedChange) => void,
  ): Promise<void> {
    let waiting: StreamedChange[] | null = [];
    const stop = await changeTail.subscribe((change) => (waiting ? waiting.push(change) : send(change)));
    stream.over.addEventListener('abort', stop);
    if (stream.over.aborted) return stop();
    let last = from;
    while (last !== undefined && !stream.over.aborted) {
      const missed: StreamedChange[] = await feed.since(last, BATCH);
      for (const change of missed) send(change);
      last = missed.at(-1)?.at ?? last;
      if (missed.length < BATCH) break;
    }
    const seen = last;
    for (const change of waiting) if (seen === undefined || isAfter(change.at, seen)) send(change);
    waiting = null;
  }
}

function mayHear(caller: ApiKey, change: StreamedChange): boolean {
  if ('id' in change) return maySee(caller, { created_by: change.owner });
  return hasScope(caller, 'hosts:read') && mayUseHost(caller, change.host);
}

function tell(stream: EventStream, { at, type, ...data }: StreamedChange): void {
  stream.send({ id: at, event: type, data });
}

/** Places are `<ms>-<count>`. */
function isAfter(place: string, other: string): boolean {
  const [ms = 0, count = 0] = place.split('-').map(Number);
  const [otherMs = 0, otherCount = 0] = other.split('-').map(Number);
  return ms > otherMs || (ms === otherMs && count > otherCount);
}

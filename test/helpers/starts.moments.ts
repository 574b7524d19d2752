/**
 * The moments of the table of starts at which the host, its agent or the way to it fails, while the gateway is well.
 * Each is a row of `docs/starts.md`, played for every column.
 */

import type { Moments, Scene } from './starts.scene.ts';
import { until } from './until.ts';

const isBackInLine = ({ stores }: Scene, id: string) =>
  until(async () => (await stores.jobs.events(id)).filter(({ state }) => state === 'queued').length > 1, {
    what: `${id} to be queued again`,
  });

const DEADLINE_SECONDS = 2;
const deadlineOf = (created_at: number) => created_at + DEADLINE_SECONDS * 1_000 + 200;

export const REFUSED: Moments = {
  async 'the connection is refused'(scene) {
    await scene.door.shut();
    const { id } = await scene.submit();
    await isBackInLine(scene, id);
    await scene.door.open();
  },
  async 'the host shows another certificate'(scene) {
    await scene.door.showAnotherCertificate();
    const { id } = await scene.submit();
    await isBackInLine(scene, id);
    scene.door.showFirstCertificate();
  },
  async 'the agent answers 429'(scene) {
    scene.door.onStart((start) => start.reply(429, { error: 'rate_limited' }, { 'retry-after': '1' }));
    await scene.submit();
  },
  async 'the agent answers 503'(scene) {
    scene.door.onStart((start) => start.reply(503, { error: 'draining' }, { 'retry-after': '1' }));
    await scene.submit();
  },
};

export const REPLIES: Moments = {
  async 'the agent answers 500, and has not acted'(scene) {
    scene.door.onStart((start) => start.reply(500, { error: 'boom' }));
    await scene.submit();
  },
  async 'the reply is lost, before the agent acted'(scene) {
    scene.door.onStart((start) => start.drop());
    await scene.submit();
  },
  async 'the reply is lost, after it acted'(scene) {
    scene.door.onStart(async (start) => {
      await start.forward();
      start.drop();
    });
    await scene.submit();
  },
  async 'the reply is lost, before the agent acted; `retry`'(scene) {
    scene.door.onStart((start) => start.drop());
    await scene.submit({ on_ambiguous_start: 'retry' });
  },
  async 'the reply is lost, after it acted; `retry`'(scene) {
    scene.door.onStart(async (start) => {
      await start.forward();
      start.drop();
    });
    await scene.submit({ on_ambiguous_start: 'retry' });
  },
  async 'the request arrives after our timeout'(scene) {
    const held = Promise.withResolvers<() => Promise<void>>();
    scene.door.onStart((start) => held.resolve(() => scene.forwardLate(start)));
    const { id } = await scene.submit();
    const forward = await held.promise;
    await scene.ended(id);
    await forward();
  },
};

const REFUSAL = { error: 'user_unknown', message: 'there is no such user any more' };

export const AGENTS: Moments = {
  async 'the same start is refused when it is sent again; then the first request arrives'(scene) {
    const held = Promise.withResolvers<() => Promise<void>>();
    scene.door.onStart((start) => {
      scene.door.onStart((again) => again.reply(422, REFUSAL));
      held.resolve(() => scene.forwardLate(start));
    });
    const { id } = await scene.submit();
    const forward = await held.promise;
    await scene.ended(id);
    await forward();
  },
  async 'the agent is killed between accepting and starting'(scene) {
    scene.door.onStart(async (start) => {
      await scene.agent.dieOn(start);
      start.drop();
    });
    await scene.submit();
  },
  async 'the agent is killed after it started the command, and comes up again'(scene) {
    scene.door.onStart(async (start) => {
      await start.forward();
      await scene.agent.restart();
      start.drop();
    });
    await scene.submit();
  },
};

export const MEANWHILE: Moments = {
  async 'the start deadline passes; nothing had arrived'(scene) {
    scene.door.onStart(async (start) => {
      start.drop();
      await scene.door.shut();
    });
    const { id, created_at } = await scene.submit({ start_deadline_seconds: DEADLINE_SECONDS });
    await scene.state(id, 'dispatching');
    await until(() => Date.now() > deadlineOf(created_at));
    await scene.door.open();
  },
  async 'the start deadline passes; the reply was lost after it acted'(scene) {
    scene.door.onStart(async (start) => {
      await start.forward();
      start.drop();
      await scene.door.shut();
    });
    const { id, created_at } = await scene.submit({ start_deadline_seconds: DEADLINE_SECONDS });
    await until(async () => (await scene.starts()) > 0);
    await until(() => Date.now() > deadlineOf(created_at));
    await scene.door.open();
    await scene.ended(id);
  },
  async 'the start deadline passes; then the request arrives'(scene) {
    const held = Promise.withResolvers<() => Promise<void>>();
    scene.door.onStart((start) => held.resolve(() => scene.forwardLate(start)));
    const { id } = await scene.submit({ start_deadline_seconds: DEADLINE_SECONDS });
    const forward = await held.promise;
    await scene.ended(id);
    await forward();
  },
  async 'a cancel comes; then the request arrives'(scene) {
    const held = Promise.withResolvers<() => Promise<void>>();
    scene.door.onStart((start) => held.resolve(() => scene.forwardLate(start)));
    const { id } = await scene.submit();
    const forward = await held.promise;
    await scene.stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
    await scene.ended(id);
    await forward();
  },
  async 'a cancel comes; the reply was lost after it acted'(scene) {
    const acted = Promise.withResolvers<void>();
    const canceled = Promise.withResolvers<void>();
    scene.door.onStart(async (start) => {
      await start.forward();
      acted.resolve();
      await canceled.promise;
      start.drop();
    });
    const { id } = await scene.submit({ command: 'sleep 60' });
    await acted.promise;
    await scene.stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
    canceled.resolve();
    await scene.ended(id);
  },
};

/**
 * The workers' own small HTTP listener: `/livez`, `/readyz` and `/metrics`, as the API has them. Plain HTTP and without a
 * key: it is for supervisors and Prometheus, and says no more than counts.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { Unready } from '../store/redis/readiness.ts';

export interface Operating {
  /** Such as `http://127.0.0.1:7789`. */
  url: string;
  close(): Promise<void>;
}

interface Answer {
  status: number;
  type?: string;
  body: string;
}

/** @returns null where there is nothing to listen on @throws Error of Node's `listen`, such as EADDRINUSE */
export async function openOperating(
  listen: { host: string; port: number } | null,
  deps: {
    registry: Pick<Registry, 'metrics' | 'contentType'>;
    readiness: () => Promise<Unready[]>;
    /** Queues whose worker only a restart can mend. */
    stuck: () => string[];
  },
): Promise<Operating | null> {
  if (listen === null) return null;
  const { registry, readiness, stuck } = deps;

  const routes: Record<string, () => Answer | Promise<Answer>> = {
    '/livez'() {
      const queues = stuck();
      return queues.length === 0
        ? json(200, { status: 'alive' })
        : json(503, { status: 'stuck', detail: `fetches nothing from: ${queues.join(', ')}` });
    },
    async '/readyz'() {
      const checks = await readiness();
      return checks.length === 0
        ? json(200, { status: 'ready' })
        : json(503, { status: 'not ready', checks });
    },
    '/metrics': async () => ({ status: 200, type: registry.contentType, body: await registry.metrics() }),
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, type, body } = await answer(request).catch((error: Error) =>
      json(500, { status: 'failed', detail: error.message }),
    );
    response.writeHead(status, { 'content-type': type ?? 'application/json', 'cache-control': 'no-store' });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  async function answer({ method, url = '' }: IncomingMessage): Promise<Answer> {
    const path = url.split('?', 1)[0] ?? '';
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (!route) return json(404, { status: 'not found', paths: Object.keys(routes) });
    if (method !== 'GET' && method !== 'HEAD') return json(405, { status: 'only GET' });
    return route();
  }

  const server = createServer((request, response) => void serve(request, response));
  server.listen(listen.port, listen.host);
  await once(server, 'listening');
  return {
    url: urlOf(server.address() as AddressInfo),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function json(status: number, body: object): Answer {
  return { status, body: JSON.stringify(body) };
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

/** What the API alone has to tell Prometheus: its requests by route and status, and those that it holds. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Holds } from './holds.ts';
import type { Api } from './instance.ts';
import { routeName } from './route-name.ts';

export interface MetricsDeps {
  registry: Registry;
  holds: Pick<Holds, 'count'>;
}

export function measureRequests(app: Pick<Api, 'addHook'>, { registry, holds }: MetricsDeps): void {
  const registers = [registry];
  const requests = new Counter({
    name: 'sluice_http_requests_total',
    help: 'HTTP requests by route, method and status.',
    labelNames: ['method', 'route', 'status'],
    registers,
  });
  const duration = new Histogram({
    name: 'sluice_http_request_duration_seconds',
    help: 'Time to the reply by route; long polls are as long as they were held.',
    labelNames: ['method', 'route'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60],
    registers,
  });
  new Gauge({
    name: 'sluice_http_held_requests',
    help: 'Long polls and streams that are open now.',
    registers,
    collect() {
      this.set(holds.count());
    },
  });

  app.addHook('onResponse', async (request, reply) => {
    const { method } = request;
    // The route and not the path: paths are made up by callers, and each would be a series of its own.
    const route = routeName(request) ?? 'none';
    requests.inc({ method, route, status: reply.statusCode });
    duration.observe({ method, route }, reply.elapsedTime / 1_000);
  });
}

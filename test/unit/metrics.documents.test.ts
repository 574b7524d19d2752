/** What people watch a gateway by names only metrics that its programs tell, and the documents name all of them. */
import { readFileSync } from 'node:fs';
import { fastify } from 'fastify';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { measureRequests } from '../../src/api/metrics.ts';
import { createProcessMetrics } from '../../src/metrics/process.ts';
import { measureWorkers } from '../../src/workers/metrics.ts';

interface Told {
  name: string;
  help: string;
  kind: string;
  labels: string[];
  by: string;
}

interface Rule {
  alert: string;
  expr: string;
  for: string;
  labels: { severity: string };
  annotations: { summary: string; action: string };
}

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string }[];
}

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const told = metricsOfPrograms();
const operating = read('docs/operating.md');
const rules = (
  parse(read('packaging/prometheus/alerts.yaml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);

it('docs/operating.md has a row for each metric, with its type, labels and help', () => {
  const rows = operating.match(/^\| `sluice_\w+` \|.*$/gm) ?? [];
  const expected = told
    .filter(({ name }) => name.startsWith('sluice_'))
    .map(
      ({ name, kind, labels, by, help }) =>
        `| \`${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${by} | ${help} |`,
    );
  expect(rows).toEqual(expected);
});

it('no metric has a label whose values callers or hosts choose', () => {
  const labels = new Set(told.flatMap((metric) => (metric.name.startsWith('sluice_') ? metric.labels : [])));
  const bounded = ['endpoint', 'for', 'hosts', 'limit', 'method', 'outcome', 'queue', 'result', 'route'];
  expect([...labels].sort()).toEqual([...bounded, 'state', 'status', 'step', 'work'].sort());
});

it('each alert waits a while, says how bad it is and what to do, and goes by metrics that exist', () => {
  expect(rules.length).toBeGreaterThan(10);
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  for (const rule of rules) {
    expect(rule.for, rule.alert).toMatch(/^\d+[mh]$/);
    expect(['page', 'warning'], rule.alert).toContain(rule.labels.severity);
    expect(rule.annotations.summary.length, rule.alert).toBeGreaterThan(10);
    expect(rule.annotations.action.length, rule.alert).toBeGreaterThan(10);
    expect(unknownIn(rule.expr), rule.alert).toEqual([]);
  }
});

it('docs/operating.md has a row for each alert with its severity, in the order of the rules', () => {
  const rows = [...operating.matchAll(/^\| `(Sluice\w+)` \| (\w+) \| [^|]+ \| [^|]+ \|$/gm)];
  expect(rows.map(([, alert, severity]) => [alert, severity])).toEqual(
    rules.map(({ alert, labels }) => [alert, labels.severity]),
  );
});

it('the dashboard loads, and its panels go by metrics that exist and do not cover each other', () => {
  const dashboard = JSON.parse(read('packaging/grafana/sluice.json')) as {
    schemaVersion: number;
    title: string;
    uid: string;
    panels: Panel[];
  };
  expect(dashboard).toMatchObject({ schemaVersion: 39, title: 'Sluice', uid: 'sluice' });
  const { panels } = dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  for (const { type, title, targets = [] } of panels) {
    expect(targets.length > 0, title).toBe(type !== 'row');
    expect(
      targets.flatMap(({ expr }) => unknownIn(expr)),
      title,
    ).toEqual([]);
  }
});

it('every metric of the gateway is on the dashboard', () => {
  const used = namesIn(read('packaging/grafana/sluice.json'));
  const ours = told.filter(({ name }) => name.startsWith('sluice_')).map(({ name }) => name);
  expect(ours.filter((name) => !used.some((one) => one.startsWith(name)))).toEqual([]);
});

function metricsOfPrograms(): Told[] {
  const { registry } = createProcessMetrics();
  const api = new Registry();
  measureRequests(fastify() as never, { registry: api, holds: { count: () => 0 } });
  const workers = new Registry();
  measureWorkers(workers, { holds: { size: () => 0 } });
  return [...metricsIn(registry, 'both'), ...metricsIn(api, 'api'), ...metricsIn(workers, 'worker')];
}

function metricsIn(registry: Registry, by: string): Told[] {
  return registry.getMetricsAsArray().map((metric) => {
    const { name, help } = metric;
    const { labelNames = [] } = metric as { labelNames?: string[] };
    return { name, help, kind: metric.constructor.name.toLowerCase(), labels: labelNames, by };
  });
}

function namesIn(text: string): string[] {
  return text.match(/\b(?:sluice|process|nodejs)_\w+/g) ?? [];
}

function unknownIn(expr: string): string[] {
  const names = namesIn(expr);
  expect(names.length, expr).toBeGreaterThan(0);
  return names.filter((name) => !told.some((metric) => isSeriesOf(name, metric)));
}

function isSeriesOf(name: string, metric: Told): boolean {
  if (metric.kind !== 'histogram') return name === metric.name;
  return ['_bucket', '_sum', '_count'].some((suffix) => name === metric.name + suffix);
}

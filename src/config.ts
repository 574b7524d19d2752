/**
 * The configuration: environment and one YAML file (`SLUICE_CONFIG`), read once into one frozen `Config`. The
 * environment wins over the file. All mistakes are reported at once, each with its place, and none of them shows
 * a secret. Only this module and its folder read `process.env`.
 */
import { readFileSync } from 'node:fs';
import { Compile } from 'typebox/compile';
import { Settings as TypeSystem } from 'typebox/system';
import { Value } from 'typebox/value';
import { splitHostAndPort } from './config/formats.ts';
import { readRedisTls } from './config/redis-tls.ts';
import { parseRedisUrl, type RedisAddress } from './config/redis-url.ts';
import { type LOG_LEVELS, Settings } from './config/schema.ts';
import { fromEnvironment, fromYaml, type Mistake, type Source, unknownVariables } from './config/sources.ts';
import { type CrashAt, parseCrashAt } from './job/crash-points.ts';
import type { Needs } from './job/durability.ts';
import type { AddressPattern } from './job/host.ts';

export interface Config {
  /** Null: none given; `sluice up` then starts its own. */
  redis: RedisAddress | null;
  needs: Needs;
  /** Where commands find the gateway; null: where `sluice up` says. */
  gatewayUrl: string | null;
  apiKey: string | null;
  callbackSecret: string | null;
  secretKeyFile: string | null;
  /** Null: the default place. */
  dataDir: string | null;
  listen: { host: string; port: number };
  /** Where a worker tells its metrics; null: nowhere. */
  metricsListen: { host: string; port: number } | null;
  /** Null: plain HTTP. */
  tls: { certFile: string; keyFile: string; clientCaFile: string | null } | null;
  prefix: string;
  heldHosts: number;
  dispatchConcurrency: number;
  pollConcurrency: number;
  logLevel: (typeof LOG_LEVELS)[number];
  /** For tests: where the process kills itself; null: nowhere. */
  crashAt: CrashAt | null;
  webhooks: { allow: string[]; deny: string[]; scheduleSeconds: number[]; timeoutMs: number };
  addressPatterns: AddressPattern[];
  /** Environment variables that look like settings and are none; for a warning at start. */
  unknownVariables: string[];
}

/** Everything that is wrong with the configuration, a line for each. */
export class ConfigError extends Error {
  readonly mistakes: readonly Mistake[];

  constructor(mistakes: readonly Mistake[]) {
    super(mistakes.map(({ place, what }) => `${place}: ${what}`).join('\n'));
    this.name = 'ConfigError';
    this.mistakes = mistakes;
  }
}

type Environment = Record<string, string | undefined>;

/**
 * @param flags what the command line sets, by the variable it stands for: `--tls-cert` is `SLUICE_TLS_CERT`
 * @throws ConfigError with every mistake
 */
export function loadConfig(flags: Environment = {}, env: Environment = process.env): Config {
  const sources = [fromEnvironment(flags, flagNamed), fromEnvironment(env), ...fileSource(env.SLUICE_CONFIG)];
  const merged = sources.reduceRight<Record<string, unknown>>((all, { values }) => merge(all, values), {});
  const values = Value.Default(Settings, { redis_tls: {}, tls: {}, webhooks: {}, ...merged });
  const mistakes = [...sources.flatMap((source) => source.mistakes), ...mistakesIn(values, sources)];
  if (mistakes.length > 0) throw new ConfigError(mistakes);

  const config = {
    ...toConfig(values as Settings, sources, mistakes),
    unknownVariables: unknownVariables(env),
  };
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return deepFreeze(config);
}

/** For programs that are started on behalf of the user, such as `redis-server`. */
export function inheritedEnvironment(): Environment {
  return { ...process.env };
}

function flagNamed(variable: string): string {
  return `--${variable.replace('SLUICE_', '').replaceAll('_', '-').toLowerCase()}`;
}

function fileSource(file: string | undefined): Source[] {
  if (!file) return [];
  try {
    return [fromYaml(readFileSync(file, 'utf8'), file)];
  } catch (error) {
    throw new ConfigError([{ place: 'SLUICE_CONFIG', what: (error as Error).message }]);
  }
}

const checker = Compile(Settings);

function mistakesIn(values: unknown, sources: Source[]): Mistake[] {
  const mistakes = new Map<string, Mistake>();
  for (const { keyword, instancePath, message, params } of allErrors(values)) {
    // Said by the name itself: "additionalProperties" only repeats it for the object around.
    if (keyword === 'additionalProperties') continue;
    const path = instancePath.split('/').slice(1);
    const what = keyword === 'boolean' ? 'there is no such setting' : phrase(message, params);
    const key = path.join('.');
    if (!mistakes.has(key)) mistakes.set(key, { place: placeOf(path, sources), what: `${key}: ${what}` });
  }
  return [...mistakes.values()];
}

/** By default TypeBox stops after eight. */
function allErrors(values: unknown) {
  const { maxErrors } = TypeSystem.Get();
  TypeSystem.Set({ maxErrors: 1_000 });
  try {
    return checker.Errors(values);
  } finally {
    TypeSystem.Set({ maxErrors });
  }
}

function phrase(message: string, params: object): string {
  if ('allowedValues' in params) return `must be one of ${(params.allowedValues as string[]).join(', ')}`;
  return message;
}

function placeOf(path: string[], sources: Source[]): string {
  return sources.map((source) => source.placeOf(path)).find(Boolean) ?? 'configuration';
}

/** Checks what only several settings together, or a file, can tell. */
function toConfig(
  values: Settings,
  sources: Source[],
  mistakes: Mistake[],
): Omit<Config, 'unknownVariables'> {
  const { tls, webhooks } = values;
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    mistakes.push({
      place: placeOf(['tls', tls.cert ? 'cert' : 'key'], sources),
      what: 'tls.cert and tls.key belong together',
    });
  }
  if (tls.client_ca !== undefined && tls.cert === undefined) {
    mistakes.push({
      place: placeOf(['tls', 'client_ca'], sources),
      what: 'tls.client_ca needs tls.cert and tls.key',
    });
  }
  return {
    redis: redisOf(values, (path, what) => mistakes.push({ place: placeOf(path, sources), what })),
    needs: { durability: values.durability, ackReplicas: values.ack_replicas },
    gatewayUrl: values.url?.replace(/\/+$/, '') ?? null,
    apiKey: values.api_key ?? null,
    callbackSecret: values.callback_secret ?? null,
    secretKeyFile: values.secret_key_file ?? null,
    dataDir: values.data_dir ?? null,
    listen: splitHostAndPort(values.listen) ?? { host: '', port: 0 },
    metricsListen: values.metrics_listen === undefined ? null : splitHostAndPort(values.metrics_listen),
    tls:
      tls.cert && tls.key
        ? { certFile: tls.cert, keyFile: tls.key, clientCaFile: tls.client_ca ?? null }
        : null,
    prefix: values.prefix,
    heldHosts: values.held_hosts,
    dispatchConcurrency: values.dispatch_concurrency,
    pollConcurrency: values.poll_concurrency,
    logLevel: values.log_level,
    crashAt: parseCrashAt(values.dangerously_crash_at ?? ''),
    webhooks: {
      allow: webhooks.allow,
      deny: webhooks.deny,
      scheduleSeconds: webhooks.schedule_seconds,
      timeoutMs: Math.round(webhooks.timeout_seconds * 1_000),
    },
    addressPatterns: values.address_patterns.map(({ token, token_file, ...rest }, i) => {
      const read = () =>
        readToken(token_file ?? '', placeOf(['address_patterns', `${i}`, 'token_file'], sources), mistakes);
      return { ...rest, token: token ?? read() } as AddressPattern;
    }),
  };
}

function redisOf(
  { redis_url, redis_tls }: Settings,
  mistake: (path: string[], what: string) => void,
): RedisAddress | null {
  const address = redis_url === undefined ? null : parseRedisUrl(redis_url);
  const [setting] = Object.keys(redis_tls);
  if (setting !== undefined && !address?.tls) {
    mistake(['redis_tls', setting], `redis_tls.${setting} needs a redis_url that begins with rediss`);
  }
  if (!address?.tls) return address;
  return { ...address, tls: readRedisTls(redis_tls, (name, what) => mistake(['redis_tls', name], what)) };
}

function readToken(file: string, place: string, mistakes: Mistake[]): string {
  try {
    const token = readFileSync(file, 'utf8').trim();
    if (token.length < 1) mistakes.push({ place, what: `${file} is empty` });
    return token;
  } catch (error) {
    mistakes.push({ place, what: (error as Error).message });
    return '';
  }
}

/** Values of `over` win; objects are merged, everything else is replaced. */
function merge(under: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const all = { ...under };
  for (const [name, value] of Object.entries(over)) {
    const both = isObject(value) && isObject(all[name]);
    all[name] = both ? merge(all[name] as Record<string, unknown>, value as Record<string, unknown>) : value;
  }
  return all;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}

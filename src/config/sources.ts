/**
 * Where settings come from: the environment and one YAML file. Each source yields plain values in the schema's
 * shape and can say where a value stands, so that a mistake is reported with its variable or its line.
 */
import { LineCounter, parseDocument } from 'yaml';
import { Settings } from './schema.ts';

export interface Mistake {
  /** `SLUICE_LISTEN`, or `file:line`. */
  place: string;
  what: string;
}

export interface Source {
  values: Record<string, unknown>;
  mistakes: Mistake[];
  /** Where the value at this path stands, if it came from here. */
  placeOf(path: string[]): string | undefined;
}

/** What this module needs to know of a TypeBox schema. */
interface Described {
  env?: string;
  type?: string;
  properties?: Record<string, Described>;
  items?: Described;
}

export interface Setting {
  path: string[];
  env: string;
  schema: Described;
}

/** All settings that have an environment variable. */
export function envSettings(schema: Described = Settings as Described, path: string[] = []): Setting[] {
  const own = schema.env === undefined ? [] : [{ path, env: schema.env, schema }];
  const below = Object.entries(schema.properties ?? {});
  return [...own, ...below.flatMap(([name, child]) => envSettings(child, [...path, name]))];
}

/** An empty variable is one that is not set: compose files and unit files pass those. */
export function fromEnvironment(
  env: Record<string, string | undefined>,
  placeNamed: (variable: string) => string = (variable) => variable,
): Source {
  const values: Record<string, unknown> = {};
  const places = new Map<string, string>();
  for (const { path, env: name, schema } of envSettings()) {
    const text = env[name];
    if (text === undefined || text === '') continue;
    put(values, path, parse(text, schema));
    places.set(path.join('.'), placeNamed(name));
  }
  return {
    values,
    mistakes: [],
    placeOf: (path) => path.map((_, i) => places.get(path.slice(0, path.length - i).join('.'))).find(Boolean),
  };
}

/** Read elsewhere: by `loadConfig`, by commands on hosts, by whoever verifies webhooks, by tests. */
const OTHER_VARIABLES = /^SLUICE_(CONFIG|JOB_ID|WEBHOOK_SECRET|TEST_.*)$/;
/** What Kubernetes puts into every container beside a service named `sluice`. */
const SERVICE_LINKS = /^SLUICE_(.*_)?(SERVICE_(HOST|PORT)|PORT)(_|$)/;

/** Variables that look like settings and are none: misspelt, most likely. */
export function unknownVariables(env: Record<string, string | undefined>): string[] {
  const known = new Set(envSettings().map((setting) => setting.env));
  const ours = Object.keys(env).filter((name) => name.startsWith('SLUICE_') && !known.has(name));
  return ours.filter((name) => !OTHER_VARIABLES.test(name) && !SERVICE_LINKS.test(name)).sort();
}

export function fromYaml(text: string, file: string): Source {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number | undefined) =>
    offset === undefined ? file : `${file}:${lines.linePos(offset).line}`;
  const mistakes = document.errors.map((error) => ({ place: at(error.pos[0]), what: error.message }));
  const value: unknown = mistakes.length > 0 ? null : document.toJS();
  if (value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    mistakes.push({ place: at(0), what: 'must be settings, each as `name: value`' });
  }
  return {
    values: mistakes.length === 0 && value !== null ? (value as Record<string, unknown>) : {},
    mistakes,
    placeOf(path) {
      for (let length = path.length; length > 0; length--) {
        const node = document.getIn(path.slice(0, length).map(indexOrName), true);
        const offset = (node as { range?: [number, number, number] } | undefined)?.range?.[0];
        if (offset !== undefined) return at(offset);
      }
      return undefined;
    },
  };
}

function indexOrName(part: string): string | number {
  return /^\d+$/.test(part) ? Number(part) : part;
}

/** A text that is not of the schema's type stays a text: the schema then says what is wrong with it. */
function parse(text: string, schema: Described): unknown {
  if (schema.type === 'array') {
    const parts = text.split(',').map((part) => part.trim());
    return parts.filter(Boolean).map((part) => parse(part, schema.items ?? {}));
  }
  if (schema.type !== 'integer' && schema.type !== 'number') return text;
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
}

function put(values: Record<string, unknown>, [name = '', ...rest]: string[], value: unknown): void {
  if (rest.length === 0) {
    values[name] = value;
    return;
  }
  const below = (values[name] ?? {}) as Record<string, unknown>;
  values[name] = below;
  put(below, rest, value);
}

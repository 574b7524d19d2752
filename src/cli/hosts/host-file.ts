/**
 * Hosts in a file, YAML (or JSON, which is YAML) or CSV, as items of `PUT /v1/hosts`. Fields are named as the API names
 * them; `token_file`, `fingerprint` and `burst` are short for what would be awkward in a table. Nothing in the file is
 * run. What is wrong is said with its line or entry, before anything is sent.
 */
import { readFileSync } from 'node:fs';
import { dirname, extname, resolve } from 'node:path';
import { parse as parseCsv } from 'csv-parse/sync';
import { parse as parseYaml } from 'yaml';
import { Failure } from '../failure.ts';
import { pairs } from '../pairs.ts';
import { rate } from '../program/values.ts';

export interface HostEntry {
  /** Its file and line, or entry. */
  where: string;
  host: { name: string } & Record<string, unknown>;
}

/** What one host may say. A cell of a CSV file is text, in YAML it may have its own type already. */
const FIELDS: Record<string, (value: unknown, dir: string) => unknown> = {
  name: text,
  address: text,
  token: text,
  token_file: (value, dir) => readFileSync(resolve(dir, text(value)), 'utf8').trim(),
  tls: (value) => value,
  fingerprint: text,
  max_requests: numberOf,
  max_jobs: numberOf,
  rate: (value) => (typeof value === 'string' ? rate(value) : value),
  burst: numberOf,
  labels: (value) => (typeof value === 'string' ? pairs(parts(value)) : texts(value)),
  allowed_users: (value) => (typeof value === 'string' ? parts(value) : texts(value)),
  launcher: (value) => (value === 'true' ? true : value === 'false' ? false : value),
};

/** @throws Failure that names file and entry */
export function readHostFile(file: string): HostEntry[] {
  const text = attempt(file, () => readFileSync(file, 'utf8'));
  const rows = attempt(file, () => (extname(file).toLowerCase() === '.csv' ? csvRows(text) : yamlRows(text)));
  if (rows.length === 0) throw new Failure(`${file} has no hosts`);
  const seen = new Map<string, string>();
  return rows.map(({ where, row }) =>
    attempt(`${file}, ${where}`, () => {
      const host = hostOf(row, dirname(file));
      const first = seen.get(host.name);
      if (first !== undefined) throw new Error(`${host.name} is there twice, first in ${first}`);
      seen.set(host.name, where);
      return { where: `${file}, ${where}`, host };
    }),
  );
}

interface Row {
  where: string;
  row: Record<string, unknown>;
}

/** A header, then a host in each line; `labels` are `tier=db;dc=ams`, and an empty cell says nothing. */
function csvRows(text: string): Row[] {
  const options = { columns: true, trim: true, skip_empty_lines: true, bom: true, info: true } as const;
  const found = parseCsv(text, options) as unknown as {
    record: Record<string, string>;
    info: { lines: number };
  }[];
  return found.map(({ record, info }) => ({
    where: `line ${info.lines}`,
    row: Object.fromEntries(Object.entries(record).filter(([, cell]) => cell !== '')),
  }));
}

/** A list of hosts, by itself or under `hosts`. */
function yamlRows(text: string): Row[] {
  const parsed: unknown = parseYaml(text);
  const list = isMapping(parsed) ? parsed.hosts : parsed;
  if (!Array.isArray(list)) throw new Error('must be a list of hosts, by itself or under `hosts`');
  return list.map((row: unknown, i) => {
    if (!isMapping(row))
      throw new Error(`entry ${i + 1} is no host, but ${JSON.stringify(row)?.slice(0, 60)}`);
    return { where: `entry ${i + 1}`, row };
  });
}

function hostOf(row: Record<string, unknown>, dir: string): HostEntry['host'] {
  const unknown = Object.keys(row).find((field) => !Object.hasOwn(FIELDS, field));
  if (unknown !== undefined) {
    throw new Error(`${unknown} is no field of a host; there are ${Object.keys(FIELDS).join(', ')}`);
  }
  const read = Object.entries(row).map(([field, value]) => [field, fieldOf(field, value, dir)]);
  const { token_file, fingerprint, burst, ...host } = Object.fromEntries(read);
  if (typeof host.name !== 'string') throw new Error('name is missing');
  if (token_file !== undefined) host.token = token_file;
  if (fingerprint !== undefined) host.tls = { fingerprint };
  if (burst !== undefined) {
    if (!isMapping(host.rate)) throw new Error('burst belongs to a rate');
    host.rate = { ...host.rate, burst };
  }
  return host as HostEntry['host'];
}

function fieldOf(field: string, value: unknown, dir: string): unknown {
  if (value === null || value === '') return value;
  try {
    return FIELDS[field]?.(value, dir);
  } catch (error) {
    throw error instanceof NoText ? new Error(`${field} ${error.message}`) : error;
  }
}

class NoText extends Error {}

/** Not made text of: YAML reads 0123456 as the number 123456, and a token would have lost its zero. */
function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new NoText(`takes text, but a ${typeof value} stands here: put it in quotes`);
}

function texts(value: unknown): unknown {
  if (Array.isArray(value) || isMapping(value)) {
    for (const each of Object.values(value)) if (each !== null) text(each);
  }
  return value;
}

function numberOf(value: unknown): unknown {
  return typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value;
}

const parts = (text: string) =>
  text
    .split(';')
    .map((part) => part.trim())
    .filter(Boolean);

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function attempt<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Failure(`${where}: ${(error as Error).message.split('\n')[0]}`);
  }
}

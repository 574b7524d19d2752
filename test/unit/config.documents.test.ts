/** The documents about settings say what the schema says: no more, no less. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Settings } from '../../src/config/schema.ts';
import { envSettings } from '../../src/config/sources.ts';
import { loadConfig } from '../../src/config.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

interface Described {
  description?: string;
  default?: unknown;
}

it('docs/configuration.md has a row for each setting, with its default and description', () => {
  const rows = read('docs/configuration.md').match(/^\| `[a-z_.]+` \| `[A-Z_]+`.*$/gm) ?? [];
  const expected = envSettings().map(({ path, env, schema }) => {
    const { description, default: value } = schema as Described;
    const shown = value === undefined ? '' : `\`${[value].flat().join(',') || 'none'}\``;
    return `| \`${path.join('.')}\` | \`${env}\` | ${shown} | ${description} |`;
  });
  expect(rows).toEqual(expected);
});

it('docs/configuration.md describes the settings that only the file can have', () => {
  const text = read('docs/configuration.md');
  const items = Settings.properties.address_patterns.items.properties;
  for (const name of Object.keys(items)) expect(text).toContain(`\`${name}\``);
});

it('.env.example lists each variable once, and is valid as it stands', () => {
  const lines = read('.env.example').match(/^#?[A-Z_]+=.*$/gm) ?? [];
  const variables = lines.map((line) => line.replace(/^#/, '').split('=') as [string, string]);
  const known = ['SLUICE_CONFIG', ...envSettings().map(({ env }) => env)];
  expect(variables.map(([name]) => name).sort()).toEqual(known.sort());
  const { SLUICE_CONFIG: _, ...env } = Object.fromEntries(variables.filter(([, value]) => value !== ''));
  expect(loadConfig({}, env).unknownVariables).toEqual([]);
});

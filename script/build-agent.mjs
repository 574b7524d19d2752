/**
 * Bundles the host agent into one file (dist/sluice-agent.cjs, or the one named on the command line) that needs
 * nothing but Node 20 or later.
 *
 * esbuild lowers syntax, not library calls: the agent must not use what Node 20 lacks. Its shell scripts are put in
 * as text (src/agent/scripts.ts reads them from beside itself otherwise).
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src/agent');
const scripts = ['supervisor.sh', 'processes.sh', 'inner.sh', 'tmux.sh', 'pane.sh'];
const texts = Object.fromEntries(scripts.map((name) => [name, readFileSync(join(source, name), 'utf8')]));

await build({
  entryPoints: [join(source, 'command-line.ts')],
  outfile: process.argv[2] ?? join(root, 'dist/sluice-agent.cjs'),
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  banner: { js: '#!/usr/bin/env node' },
  define: { EMBEDDED_SCRIPTS: JSON.stringify(texts) },
  // In the bundle nothing is read from beside it, so that there is no import.meta.url does not matter.
  logOverride: { 'empty-import-meta': 'silent' },
  legalComments: 'eof',
  logLevel: 'info',
});

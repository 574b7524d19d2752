/** Builds `dist/`, what a package ships: the sources as JavaScript, and beside them the files that they read. */
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

rmSync(dist, { recursive: true, force: true });
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const built = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
const isAsset = (file: string) => statSync(file).isDirectory() || !file.endsWith('.ts');
cpSync(join(root, 'src'), dist, { recursive: true, filter: isAsset });
process.exitCode = built.status ?? 1;

/**
 * The shell half of the agent: the supervisor, the inner process and what they source.
 *
 * They are installed into a directory named after their content, by rename: a running shell reads its file as it
 * goes, so an upgrade must never touch a file that some supervisor is still reading. Run from source they are read
 * from beside this module; in the bundle esbuild has put their text into EMBEDDED_SCRIPTS.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

const NAMES = ['supervisor.sh', 'processes.sh', 'inner.sh', 'tmux.sh', 'pane.sh'] as const;

declare const EMBEDDED_SCRIPTS: Record<string, string> | undefined;

/** Installs the scripts below `binDir` unless this very version is there. @returns its directory */
export function installScripts(binDir: string): string {
  const texts = NAMES.map((name) => [name, scriptText(name)] as const);
  const version = createHash('sha256').update(JSON.stringify(texts)).digest('hex').slice(0, 16);
  const target = join(binDir, version);
  if (existsSync(target)) return target;
  const fresh = mkdtempSync(join(binDir, 'new-'));
  for (const [name, text] of texts) writeFileSync(join(fresh, name), text, { mode: 0o755 });
  chmodSync(fresh, 0o755);
  try {
    renameSync(fresh, target);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}

function scriptText(name: string): string {
  if (typeof EMBEDDED_SCRIPTS !== 'undefined') return EMBEDDED_SCRIPTS[name] ?? '';
  return readFileSync(new URL(name, import.meta.url), 'utf8');
}

/** Makes the directory if there is none, with exactly this mode whatever the umask is. */
export function ensureDirectory(path: string, mode: number): void {
  if (existsSync(path)) return;
  mkdirSync(path, { recursive: true, mode });
  chmodSync(path, mode);
}

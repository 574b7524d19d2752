/** Ctrl-C while a job is waited for: the job goes on, and its caller is told how to come back to it. */
import { commandName } from '../command-name.ts';

export function leaveOnInterrupt(id: string): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => {
    const name = commandName();
    process.stderr.write(
      `\n${id} goes on; \`${name} wait ${id}\` waits for it, \`${name} cancel ${id}\` ends it\n`,
    );
    process.exit(130);
  });
  return controller.signal;
}

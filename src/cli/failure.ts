/** A command's end that a person can act on: one line that says what is wrong and what to do, no stack. */
import { ConfigError } from '../config.ts';

export class Failure extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'Failure';
    this.exitCode = exitCode;
  }
}

/** Prints what went wrong and sets the exit code; an error that nobody foresaw shows its stack. */
export function reportFailure(error: unknown): void {
  const foreseen = error instanceof Failure || error instanceof ConfigError;
  const text = foreseen
    ? error.message
    : error instanceof Error
      ? (error.stack ?? error.message)
      : String(error);
  for (const line of text.split('\n')) console.error(`sluice: ${line}`);
  process.exitCode = error instanceof Failure ? error.exitCode : 1;
}

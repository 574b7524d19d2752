/**
 * Ctrl-C while a batch is waited for. On a terminal the first one asks what to do; a later one, or one where nobody can be
 * asked, leaves. Leaving ends this program only, and its caller is told how to come back to the batch.
 */
import { commandName } from '../command-name.ts';

const QUESTION = 'leave it running (l), cancel it (c), or go on waiting (w)? ';
const CTRL_C = '\x03';

export interface Interrupted {
  id: string;
  /** Shows a question; null takes it away. */
  ask(question: string | null): void;
  /** Takes away what is drawn, before this program ends. */
  close(): void;
  /** Settles once the gateway has taken the cancel. */
  cancel(): Promise<unknown>;
}

/** @returns stops listening */
export function onInterrupt({ id, ask, close, cancel }: Interrupted): () => void {
  const { stdin } = process;
  let question: 'not asked' | 'asked' | 'answered' = 'not asked';
  let canceling: Promise<unknown> | undefined;
  let isLeaving = false;

  function onSignal(): void {
    if (question !== 'not asked' || !stdin.isTTY || !process.stderr.isTTY) {
      leave();
      return;
    }
    question = 'asked';
    // Keys one by one, and Ctrl-C is one of them.
    stdin.setRawMode(true).resume().on('data', onKeys);
    ask(QUESTION);
  }

  function onKeys(bytes: Buffer): void {
    for (const key of bytes.toString().toLowerCase()) {
      if (key === CTRL_C || (key === 'l' && question === 'asked')) leave();
      else if (key === 'c' && question === 'asked') canceling = cancel();
      else if (key !== 'w') continue;
      stopAsking();
    }
  }

  function stopAsking(): void {
    if (question !== 'asked') return;
    question = 'answered';
    stdin.off('data', onKeys).setRawMode(false).pause();
    ask(null);
  }

  /** Who said cancel does not take it back by leaving; a further Ctrl-C waits for nothing. */
  function leave(): void {
    if (canceling && !isLeaving) {
      isLeaving = true;
      void canceling.finally(end);
    } else end();
  }

  function end(): void {
    close();
    const name = commandName();
    const text = canceling
      ? `${id} is being canceled; \`${name} batch wait ${id}\` waits for its end`
      : `${id} goes on; \`${name} batch wait ${id}\` waits for it, \`${name} batch cancel ${id}\` ends it`;
    process.stderr.write(`\n${text}\n`);
    process.exit(130);
  }

  process.on('SIGINT', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    stopAsking();
  };
}

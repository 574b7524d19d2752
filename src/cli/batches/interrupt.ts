/**
 * Ctrl-C while a batch is waited for. On a terminal the first one asks what to do; a later one, or one where nobody can be
 * asked, leaves. Leaving ends this program only, and its caller is told how to come back to the batch.
 */
import { commandName } from '../command-name.ts';

const QUESTION = 'leave it running (l), cancel it (c), or go on waiting (w)? ';
const CTRL_C = '\x03';

export interface Interrupted {
  id: string;
  /** Shows a question, where null takes it away; null itself where none can be shown. */
  ask: ((question: string | null) => void) | null;
  /** Takes away what is drawn, before this program ends. */
  close(): void;
  /** Settles once the gateway has answered: whether it took the cancel. */
  cancel(): Promise<boolean>;
}

/** @returns stops listening */
export function onInterrupt({ id, ask, close, cancel }: Interrupted): () => void {
  const { stdin } = process;
  let question: 'not asked' | 'asked' | 'answered' = 'not asked';
  let canceling: Promise<void> | undefined;
  let canceled: 'not asked' | 'asked' | 'taken' | 'refused' = 'not asked';
  let isLeaving = false;

  function onSignal(): void {
    // Keys that answer a question which nobody has seen could cancel everything.
    if (question !== 'not asked' || ask === null || !stdin.isTTY) {
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
      else if (key === 'c' && question === 'asked') canceling = askToCancel();
      else if (key !== 'w') continue;
      stopAsking();
    }
  }

  function stopAsking(): void {
    if (question !== 'asked') return;
    question = 'answered';
    stdin.off('data', onKeys).setRawMode(false).pause();
    ask?.(null);
  }

  async function askToCancel(): Promise<void> {
    canceled = 'asked';
    canceled = (await cancel()) ? 'taken' : 'refused';
  }

  /** Who said cancel does not take it back by leaving; a further Ctrl-C waits for nothing. */
  function leave(): void {
    if (canceling && !isLeaving) {
      isLeaving = true;
      void canceling.finally(end);
    } else end();
  }

  function end(): void {
    stopAsking();
    close();
    process.stderr.write(`\n${lastWords()}\n`);
    process.exit(130);
  }

  function lastWords(): string {
    const wait = `\`${commandName()} batch wait ${id}\``;
    if (canceled === 'taken') return `${id} is being canceled; ${wait} waits for its end`;
    if (canceled === 'asked') return `${id} was asked to end, and nobody has answered; ${wait} waits for it`;
    return `${id} goes on; ${wait} waits for it, \`${commandName()} batch cancel ${id}\` ends it`;
  }

  process.on('SIGINT', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    stopAsking();
  };
}

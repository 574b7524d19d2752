/** The output of a batch: hosts that said and ended the same stand together, the most of them first. */
import type { BatchOutput } from '../../protocol/batch-view.ts';
import { untilAnswered } from '../client/again.ts';
import type { Client } from '../client.ts';
import { headingOfOutput } from './words.ts';

export async function readOutput(client: Client, id: string): Promise<BatchOutput[]> {
  const path = `/v1/batches/${encodeURIComponent(id)}/output`;
  return (await untilAnswered(() => client.request<{ items: BatchOutput[] }>('GET', path))).items;
}

export function printOutput(groups: BatchOutput[]): void {
  for (const group of groups) {
    process.stdout.write(`${headingOfOutput(group)}\n${withNewline(group.stdout)}`);
    if (group.stderr) process.stdout.write(`-- stderr\n${withNewline(group.stderr)}`);
  }
}

function withNewline(text: string | null): string {
  return text === null || text === '' || text.endsWith('\n') ? (text ?? '') : `${text}\n`;
}

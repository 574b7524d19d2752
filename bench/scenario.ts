/** What every scenario of the bench is: a module with `run`. */
import type { Row } from './table.ts';

export interface Options {
  /** Fewer rounds and cases: to see whether it works, not how fast. */
  short: boolean;
}

export interface Scenario {
  run(options: Options): Promise<Row[]>;
}

/** Rows of the table of starts (`docs/starts.md`). */
import { describeStarts } from '../helpers/starts.cases.ts';
import { MEANWHILE } from '../helpers/starts.moments.ts';

describeStarts(MEANWHILE);

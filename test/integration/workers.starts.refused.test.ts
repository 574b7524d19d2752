/** Rows of the table of starts (`docs/starts.md`). */
import { describeStarts } from '../helpers/starts.cases.ts';
import { REFUSED } from '../helpers/starts.moments.ts';

describeStarts(REFUSED);

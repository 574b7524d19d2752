/**
 * Holds the rules of `.dependency-cruiser.mjs` over `src/`. dependency-cruiser reports success when it could not
 * read a single file (a TypeScript it does not know is enough), so seeing no module is a failure here.
 */
import { cruise, format, type ICruiseResult } from 'dependency-cruiser';
import extractOptions from 'dependency-cruiser/config-utl/extract-depcruise-options';
import extractTsConfig from 'dependency-cruiser/config-utl/extract-ts-config';

const options = await extractOptions('./.dependency-cruiser.mjs');
const { output } = await cruise(['src'], options, undefined, { tsConfig: extractTsConfig('tsconfig.json') });
const result = output as ICruiseResult;
const report = await format(result, { outputType: 'err-long' });
console.log(report.output);

const seen = result.modules.filter((module) => module.source.startsWith('src/')).length;
if (seen === 0) console.error('no module of src/ was read: nothing was checked');
process.exitCode = seen === 0 || report.exitCode !== 0 ? 1 : 0;

/**
 * Validation: bodies are taken as they are, with no coercion and no field dropped, so that nothing bad is accepted as something
 * else; only queries, which are text, are coerced. A refusal names the field and never shows its value, which
 * may be a secret.
 */
import { Ajv, type ErrorObject } from 'ajv';
import addFormats from 'ajv-formats';
import type { FastifySchemaCompiler } from 'fastify';
import { type ErrorCode, SluiceError } from '../job/errors.ts';

export function createValidatorCompiler(): FastifySchemaCompiler<object> {
  // All errors, so that a misspelt field is named rather than the required one that it should have been; bodies are
  // small enough for that.
  const strict = new Ajv({
    allErrors: true,
    useDefaults: true,
    coerceTypes: false,
    removeAdditional: false,
    ...SHARED,
  });
  const coercing = new Ajv({ useDefaults: true, coerceTypes: 'array', removeAdditional: false, ...SHARED });
  for (const ajv of [strict, coercing]) addFormats.default(ajv, ['date-time', 'uri']);
  return ({ schema, httpPart }) => (httpPart === 'body' ? strict : coercing).compile(schema);
}

// A nullable field is `type: ['string', 'null']`, which ajv's strict mode takes for a mistake.
const SHARED = { allowUnionTypes: true, strictTypes: false } as const;

/** What a failed validation means for the caller. */
export function validationProblem(errors: ErrorObject[], part: string | undefined): SluiceError {
  const first = (word: string) => errors.find(({ keyword }) => keyword === word);
  const error = first('additionalProperties') ?? first('propertyNames') ?? errors[0];
  if (!error) return new SluiceError('invalid_request');
  const [code, field, what] = describe(error);
  const where = part === 'querystring' ? 'query parameter ' : '';
  const detail = field === '' ? `the body ${what}` : `${where}${field} ${what}`;
  return new SluiceError(code, detail, { fields: field === '' ? {} : { field } });
}

function describe(error: ErrorObject): [ErrorCode, field: string, what: string] {
  const at = error.instancePath.split('/').slice(1).map(unescapePointer);
  const field = (name?: unknown) => [...at, ...(name === undefined ? [] : [short(name)])].join('.');
  switch (error.keyword) {
    case 'additionalProperties':
      return ['unknown_field', field(error.params.additionalProperty), 'is not known here'];
    case 'required':
      return ['invalid_request', field(error.params.missingProperty), 'is required'];
    case 'propertyNames':
      return ['invalid_request', field(error.params.propertyName), 'is not a valid name'];
    case 'enum':
      return ['invalid_request', field(), `must be one of ${error.params.allowedValues.join(', ')}`];
    case 'type':
      return ['invalid_request', field(), `must be ${[error.params.type].flat().join(' or ')}`];
    default:
      return ['invalid_request', field(), error.message ?? 'is not valid'];
  }
}

/** A name made up by the caller may be long, and ends up in a reply and a log line. */
function short(name: unknown): string {
  return String(name).slice(0, 100);
}

function unescapePointer(part: string): string {
  return short(part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** RFC 9457 problem details: how every error of the API is told. Clients build on `code`, people on `detail`. */
import Type, { type Static } from 'typebox';

export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'An address that names the class of error; ends in its code.' }),
    title: Type.String({ description: 'The class of error in one short sentence.' }),
    status: Type.Integer({ description: 'The HTTP status.' }),
    detail: Type.String({ description: 'What is wrong this time, for people.' }),
    instance: Type.String({ description: 'The path of the request.' }),
    code: Type.String({ description: 'A stable word for programs, such as `target_unknown`.' }),
    request_id: Type.String({ description: 'The request, as the logs of the gateway name it.' }),
    field: Type.Optional(
      Type.String({ description: 'The field at fault, as a path such as `env.PATH` or `jobs.0.id`.' }),
    ),
  },
  { additionalProperties: true, description: 'An error (RFC 9457). A 429 or 503 carries `Retry-After`.' },
);
export type Problem = Static<typeof Problem>;

/** The address of a class of errors, which answers with what it means. */
export function problemType(code: string): string {
  return `/problems/${code}`;
}

/** The shapes of fields in replies, as JSON schemas: words of a list, times, and what may be null. */
import Type, { type Static } from 'typebox';

/** Strings and numbers that may be null, as one JSON schema with two types: quick to serialize. */
export function orNull<T extends 'string' | 'integer' | 'boolean'>(
  type: T,
  description: string,
  more: object = {},
) {
  type Value = T extends 'string' ? string : T extends 'integer' ? number : boolean;
  return Type.Unsafe<Value | null>({ type: [type, 'null'], description, ...more });
}

export function time(description: string) {
  return orNull('string', `${description} RFC 3339, UTC.`);
}

export function oneOf<const T extends readonly string[]>(words: T, description: string) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...words], description });
}

export function oneOfOrNull<const T extends readonly string[]>(words: T, description: string) {
  return Type.Unsafe<T[number] | null>({ type: ['string', 'null'], enum: [...words, null], description });
}

/** What may be there or not. */
export const nullable = <T extends Type.TSchema>(schema: T) =>
  Type.Unsafe<Static<T> | null>({ anyOf: [schema, { type: 'null' }] });

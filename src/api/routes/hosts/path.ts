/** The paths of one host. A name may contain colons; the verb is what follows the last one. */
import Type from 'typebox';

export const HOST_NAME = '^[A-Za-z0-9._:-]{1,253}$';
export const HOST_PATH = '/v1/hosts/:name(^[A-Za-z0-9._:-]+$)';

export const HostParams = Type.Object({
  name: Type.String({ pattern: HOST_NAME, description: "The host's name." }),
});

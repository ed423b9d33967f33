import { z } from 'zod';
import { pendingFields } from './farm.ts';
import { KINDS } from './resource.ts';

/** The schema of resource files for editors (JSON Schema draft 7, which yaml-language-server reads), with the fields that files alone have. */
export function resourceJsonSchema(): Record<string, unknown> {
  const kinds = Object.values(KINDS) as unknown as [z.core.$ZodTypeDiscriminable];
  const schema = z.toJSONSchema(z.discriminatedUnion('kind', kinds), {
    io: 'input',
    target: 'draft-7',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const { properties } = jsonSchema;
      if (!(zodSchema instanceof z.ZodObject) || properties === undefined) return;
      for (const [key, field] of Object.entries(zodSchema.shape))
        if (pendingFields.has(field as object)) delete properties[key];
      if (zodSchema === (KINDS.Secret as unknown))
        properties.data = { ...(properties.data as object), ...SECRET_VALUES };
    },
  });
  return {
    ...schema,
    title: 'Sipfleet resource',
    description: 'A document of a file for sipfleet apply: a Site, a Farm or a Secret',
  };
}

/** In files a value may come from another file. */
const SECRET_VALUES: z.core.JSONSchema.BaseSchema = {
  additionalProperties: {
    anyOf: [
      { type: 'string', minLength: 1 },
      {
        type: 'object',
        properties: { file: { type: 'string', description: 'Path of a text file, relative to this document' } },
        required: ['file'],
        additionalProperties: false,
      },
    ],
  },
};

import { resourceJsonSchema } from '@sipfleet/contract';
import { z } from 'zod';
import { type App, addRoute } from './route.ts';

/** `GET /v1/schema.json`: what editors check files of resources by. Says nothing of what is stored: anybody may read it. */
export function schemaRoute(app: App): void {
  const text = JSON.stringify(resourceJsonSchema());
  addRoute(
    app,
    {
      method: 'get',
      path: '/v1/schema.json',
      summary: 'JSON Schema (draft 7) of resource files, for editors',
      answers: { 200: { description: 'The schema', schema: z.object({}).loose() } },
      problems: [],
    },
    (c) => c.body(text, 200, { 'content-type': 'application/schema+json', 'cache-control': 'public, max-age=3600' }),
  );
}

import { join } from 'node:path';
import { build } from 'esbuild';

const ROOT = join(import.meta.dirname, '..', '..');

/** Where `npm run bundle` puts what Lambda runs. */
export const BUNDLE = join(ROOT, 'dist', 'lambda');

/**
 * Makes one file of the control plane's functions and everything they import: `main.http`, `main.websocket`, `main.stream`, `main.reconcile`.
 * The AWS SDK is in it, in the version that was tested. Zip the directory, or have CDK do it.
 */
export async function bundleLambda(directory: string = BUNDLE): Promise<void> {
  await build({
    entryPoints: { main: join(ROOT, 'control-plane/src/lambda/main.ts') },
    outdir: directory,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minify: true,
    // Names stay in stack traces and in errors that are told apart by name.
    keepNames: true,
    sourcemap: 'linked',
    legalComments: 'linked',
    // CommonJS packages inside ask for Node's own modules by require, which an ES module does not have.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'warning',
  });
}

if (import.meta.main) {
  await bundleLambda();
  console.log(BUNDLE);
}

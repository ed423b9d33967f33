import { parseArgs } from 'node:util';
import { parseHostPort } from '../../control-plane/contract/src/address.ts';
import { type Pbx, startPbx } from './pbx.ts';
import { ALGORITHMS, type Algorithm } from './registrar.ts';

const USAGE = `Demo PBXs for trying Sipfleet out; no part of the product.

usage: node test/demo-pbx/main.ts [--listen HOST:PORT]… [--media ADDRESS] [--digest LIST] [--any-port]
  --listen    one PBX per option; port 0: any (default 127.0.0.1:0, twice)
  --media     the address that phones send their media to (default: that of the PBX)
  --digest    algorithms offered, the preferred first (default SHA-256,MD5)
  --any-port  take another port where the asked one is taken
`;

interface Settings {
  mediaHost?: string;
  algorithms: Algorithm[];
}

async function start(text: string, settings: Settings, anyPort: boolean): Promise<Pbx> {
  const at = parseHostPort(text);
  if (!at) throw new Error(`--listen: found ${text}; allowed: HOST:PORT`);
  const options = { ...at, ...settings };
  try {
    return await startPbx(options);
  } catch (error) {
    if (anyPort && at.port !== 0 && (error as NodeJS.ErrnoException).code === 'EADDRINUSE')
      return startPbx({ ...options, port: 0 });
    throw error;
  }
}

function algorithm(text: string): Algorithm {
  const found = ALGORITHMS.find((a) => a === text);
  if (!found) throw new Error(`--digest: found ${text}; allowed: ${ALGORITHMS.join(', ')}`);
  return found;
}

/** Until told to stop: by SIGTERM or Ctrl-C, or, started by `sipfleet up`, by the end of the channel to it. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string', multiple: true, default: ['127.0.0.1:0', '127.0.0.1:0'] },
      media: { type: 'string' },
      digest: { type: 'string', default: ALGORITHMS.join(',') },
      'any-port': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const settings: Settings = {
    algorithms: values.digest.split(',').map(algorithm),
    ...(values.media === undefined ? {} : { mediaHost: values.media }),
  };
  const pbxs: Pbx[] = [];
  for (const listen of values.listen) pbxs.push(await start(listen, settings, values['any-port']));
  const stop = () => {
    process.channel?.unref();
    for (const pbx of pbxs.splice(0)) void pbx.close();
  };
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
  // Ctrl-C reaches the whole group of processes; whoever started this one decides when it ends.
  process.on('SIGINT', process.send ? () => {} : stop);
  for (const [i, pbx] of pbxs.entries()) process.stdout.write(`demo PBX ${i + 1} on ${pbx.host}:${pbx.port}\n`);
  process.send?.({ type: 'ready', pbxs: pbxs.map(({ host, port }) => ({ host, port })) });
}

try {
  await main();
} catch (error) {
  process.stderr.write(`demo PBX: ${(error as Error).message}\n`);
  process.exit(1);
}

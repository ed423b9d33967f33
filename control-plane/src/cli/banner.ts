import { relative } from 'node:path';
import type { Colors } from './io.ts';
import { formatHostPort, type HostPort } from './ports.ts';
import { DEMO_USERS } from './quickstart.ts';
import type { Running } from './up.ts';

/** What stands on the terminal once everything runs: what to register where, what to dial, where to look. */
export function banner({ options, url, admin, status }: Running, cwd: string, colors: Colors): string {
  const up = status.backends.filter((b) => b.state === 'up').length;
  const lines: string[][] = [];
  const section = (title: string, ...rows: string[]) =>
    rows.forEach((row, i) => {
      lines.push([i === 0 ? title : '', row]);
    });
  const places = listening(status.listeners);
  if (options.file) section('SIP', ...places);
  else {
    section('Register', ...DEMO_USERS.map((u) => `${u.user}  password ${u.password}`));
    section('Registrar', ...places.map((p) => `${p}   (proxy, domain and registrar alike)`));
    section('Dial', 'clyde or bonnie: the other phone', 'echo: hear yourself');
  }
  const fromHere = relative(cwd, options.data) || '.';
  const data = fromHere.startsWith('..') ? options.data : fromHere;
  const flags = `${url === 'http://127.0.0.1:8080' ? '' : ` --url ${url}`}${data === 'var' ? '' : ` --token-file ${data}/token`}`;
  section(
    'Look',
    `npx sipfleet status${flags}`,
    `npx sipfleet checks${flags}`,
    `http://${formatHostPort(admin)}/metrics`,
    `${url}/v1   with the token in ${data}/token`,
  );
  section('Logs', `${data}/log/`);
  const count = `${up} of ${status.backends.length} backends up`;
  const head = `\n${colors.bold('Sipfleet is up')}: ${up === status.backends.length ? colors.green(count) : colors.yellow(count)}\n`;
  const down = status.backends
    .filter((b) => b.state !== 'up')
    .map((b) => `  ${b.farm}/${b.backend} is ${b.state}: ${b.reason}\n`);
  const body = lines.map(([title = '', row = '']) => `  ${colors.dim(title.padEnd(10))} ${row}\n`);
  return `${[head, ...down].join('')}\n${body.join('')}\nCtrl-C ends it.\n`;
}

/** `127.0.0.1:5060  UDP and TCP`, one per address. */
function listening(listeners: Running['status']['listeners']): string[] {
  const byPlace = new Map<string, string[]>();
  for (const { transport, address, port } of listeners) {
    const place = formatHostPort({ host: address, port } satisfies HostPort);
    byPlace.set(place, [...(byPlace.get(place) ?? []), transport.toUpperCase()]);
  }
  return [...byPlace].map(([place, transports]) => `${place}  ${transports.join(' and ')}`);
}

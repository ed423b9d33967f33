import { value, values } from '../netns/wire.ts';
import type { Message } from './phone-dialog.ts';
import { uriOf } from './phone-dialog.ts';
import { type Binding, HOST, hostOf, type Kind, type Way } from './stand-in.ts';

/**
 * **Stand-ins**, not the PBXs themselves: what Asterisk, FreeSWITCH and OpenSIPS do with a registration and how they send to its phone, as far as an edge
 * notices it, from their documentation and sources.
 */

const BAD_EXTENSION: [string, string] = ['420 Bad Extension', 'Unsupported: path'];
const TOO_LONG = 255;

const pathOf = (register: Message): string[] => values(register, 'path').map(uriOf);
const saysPath = (register: Message): boolean => values(register, 'supported').some((tag) => /^path$/i.test(tag));
/** Path without the phone's consent, where only that is taken (RFC 3327 §5.3). */
const unasked = (register: Message) =>
  value(register, 'path') !== '' && !saysPath(register) ? BAD_EXTENSION : undefined;

/** Along its Path, else straight to its URI. */
function byPath({ uri, path }: Binding): Way {
  return { uri, routes: path.map((p) => `<${p}>`), to: hostOf(path[0] ?? uri) };
}

/** Parameters of a URI, without those that begin with a prefix. */
const without = (uri: string, prefix: string): string =>
  uri
    .split(';')
    .filter((part) => !part.startsWith(prefix))
    .join(';');

/**
 * chan_pjsip. `support_path=yes`: Path is kept, and refused with 420 where the phone did not say that it supports it; without, it is not looked at. `rewrite_contact=yes`:
 * host and port of a Contact become those that the REGISTER came from, the first ones stand in `x-ast-orig-host` and come back in the answer.
 */
export function pjsip({ supportPath, rewriteContact }: { supportPath: boolean; rewriteContact: boolean }): Kind {
  return {
    name: `chan_pjsip${rewriteContact ? ', rewrite_contact' : ''}`,
    refuse: (register) => (supportPath ? unasked(register) : undefined),
    bind: (contact, register, { address, port }) => {
      const path = supportPath ? pathOf(register) : [];
      const source = { address, port };
      if (!rewriteContact) return { uri: contact, path, source };
      const [, host = '', before = '0'] = HOST.exec(contact) ?? [];
      const [, user = ''] = /^sips?:([^@]*@)?/.exec(contact) ?? [];
      // What comes by UDP loses its transport parameter.
      const rest = without(contact.slice(contact.indexOf('@') + 1), 'transport=')
        .split(';')
        .slice(1);
      const original = host === address ? [] : [`x-ast-orig-host=${host}:${before}`];
      return { uri: [`sip:${user}${address}:${port}`, ...rest, ...original].join(';'), path, source };
    },
    contact: ({ uri }) => {
      const original = /;x-ast-orig-host=([^;]+)/.exec(uri)?.[1]?.replace(/:0$/, '');
      return `<${original ? without(uri, 'x-ast-orig-host').replace(/@[^;]+/, `@${original}`) : uri}>`;
    },
    call: byPath,
    // qualify_frequency
    ping: byPath,
  };
}

/** chan_sip. `supportpath=yes` as with chan_pjsip; `nat=force_rport`: what has no Path goes to where the REGISTER came from, for the URI that was registered. */
export function chanSip(): Kind {
  const way = (binding: Binding): Way =>
    binding.path.length > 0 ? byPath(binding) : { uri: binding.uri, routes: [], to: binding.source };
  return {
    name: 'chan_sip',
    refuse: unasked,
    bind: (uri, register, { address, port }) => ({ uri, path: pathOf(register), source: { address, port } }),
    contact: ({ uri }) => `<${uri}>`,
    call: way,
    ping: way,
  };
}

/**
 * FreeSWITCH. What it learns beside the Contact stands in the Contact's URI as it keeps it: `fs_path`, escaped, and `fs_nat` where the REGISTER did not come from there.
 * A user has one binding. A call goes by Route, with the URI's `lr` behind the brackets; pings and message-waiting notifications go to the same place without a Route.
 */
export function freeSwitch(): Kind {
  const pathIn = (uri: string) => decodeURIComponent(/;fs_path=([^;]+)/.exec(uri)?.[1] ?? '');
  const plain = (uri: string) => without(uri, 'fs_');
  return {
    name: 'FreeSWITCH',
    // multiple-registrations is off.
    same: () => true,
    bind: (contact, register, { address, port }) => {
      const [path] = pathOf(register);
      const nat = hostOf(contact).address !== address ? ';fs_nat=yes' : '';
      const by = path ?? (nat ? `sip:${address}:${port}` : undefined);
      const uri = `${contact}${nat}${by === undefined ? '' : `;fs_path=${encodeURIComponent(by)}`}`;
      return { uri, path: [], source: { address, port } };
    },
    contact: (_binding, asked) => `<${uriOf(asked)}>`,
    call: ({ uri }) => {
      const path = pathIn(uri);
      const routes = path ? [`<${path.split(';')[0]}>;${path.split(';').slice(1).join(';')}`] : [];
      return { uri: plain(uri), routes, to: hostOf(path || plain(uri)) };
    },
    ping: ({ uri }) => ({ uri: plain(uri), routes: [], to: hostOf(pathIn(uri) || plain(uri)) }),
  };
}

/**
 * OpenSIPS: `save("location", "path-strict,…")`, `fix_nated_register` and `lookup`: Path first, else where the REGISTER came from; a Contact of more than 255 bytes is refused,
 * and the answer says where each came from.
 */
export function openSips(): Kind {
  const way = (binding: Binding): Way =>
    binding.path.length > 0 ? byPath(binding) : { uri: binding.uri, routes: [], to: binding.source };
  return {
    name: 'OpenSIPS',
    refuse: (register) =>
      values(register, 'contact').some((contact) => uriOf(contact).length > TOO_LONG)
        ? ['400 Bad Request', 'P-Registrar-Error: Contact/received too long']
        : unasked(register),
    bind: (uri, register, { address, port }) => ({ uri, path: pathOf(register), source: { address, port } }),
    contact: ({ uri, source }) => `<${uri}>;q=;received="sip:${source.address}:${source.port}"`,
    call: way,
    // nathelper with sipping_bflag
    ping: way,
  };
}

import { hostPort } from '../netns/host.ts';

export interface KamailioConfig {
  addresses: string[];
  port: number;
  /** User → password. */
  users: Record<string, string>;
  /** INVITE and other requests of users are challenged with 407, as a PBX does that trusts no address. */
  challengeCalls?: boolean;
  /** Where a request goes whose callee is not registered here (the seed's server A → server B); left out: 404. */
  relayTo?: string;
  /** TLS beside UDP and TCP: its port, and the files of its certificate and key. */
  tls?: { port: number; certificate: string; privateKey: string };
  /** False: it does not know Path (RFC 3327). */
  usePath?: boolean;
  /** Socket that kamcmd asks it by. */
  control: string;
  /** Where every call to a phone is sent, whatever its Path says. */
  outboundProxy?: string;
  /** Seconds between OPTIONS to every registered phone, sent along its Path. */
  pingPhones?: number;
}

const MODULES = [
  'kex',
  'tm',
  'sl',
  'rr',
  'pv',
  'maxfwd',
  'textops',
  'siputils',
  'xlog',
  'usrloc',
  'registrar',
  'auth',
  'htable',
  'nathelper',
  'ctl',
];

/** Sent by a PBX to its peer with a request that it has authenticated already. */
const RELAYED = 'X-Relayed-By';

/** A Kamailio 5.6 configuration: the registrar and call routing of an ordinary PBX, nothing made for a balancer but Path. */
export function kamailioConfig(config: KamailioConfig): string {
  return `#!KAMAILIO
debug=1
log_stderror=yes
log_prefix="{$mt $rm $ci} "
children=2
tcp_children=2
auto_aliases=no
dns=no
rev_dns=no
server_header="Server: kamailio"
${tlsParameters(config)}
${config.addresses.flatMap((a) => [`listen=udp:${hostPort(a, config.port)}`, `listen=tcp:${hostPort(a, config.port)}`]).join('\n')}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
${(config.tls ? [...MODULES, 'tls'] : MODULES).map((name) => `loadmodule "${name}.so"`).join('\n')}

${tlsModule(config)}
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "nat_bflag", 1)
modparam("ctl", "binrpc", "unix:${config.control}")
modparam("registrar", "use_path", ${config.usePath === false ? 0 : 1})
# 2: a REGISTER with Path and without "Supported: path" is refused with 420, as Asterisk does.
modparam("registrar", "path_mode", 2)
modparam("registrar", "max_contacts", 5)
modparam("registrar", "min_expires", 10)
modparam("auth", "nonce_expire", 300)
modparam("rr", "enable_full_lr", 1)
modparam("htable", "htable", "users=>size=4;")
${
  config.pingPhones
    ? `modparam("nathelper", "natping_interval", ${config.pingPhones})
modparam("nathelper", "sipping_bflag", 2)
modparam("nathelper", "sipping_method", "OPTIONS")
modparam("nathelper", "sipping_from", "sip:keepalive@${config.addresses[0]}")
modparam("nathelper", "natping_processes", 1)`
    : ''
}

event_route[htable:mod-init] {
${Object.entries(config.users)
  .map(([user, password]) => `  $sht(users=>${user}) = "${password}";`)
  .join('\n')}
}

request_route {
  if (!mf_process_maxfwd_header("10")) {
    sl_send_reply("483", "Too Many Hops");
    exit;
  }
  if (is_method("CANCEL")) {
    if (t_check_trans()) t_relay();
    exit;
  }
  if (has_totag()) {
    route(IN_DIALOG);
    exit;
  }
  if (is_method("OPTIONS") && $rU == $null) {
    sl_send_reply("200", "OK");
    exit;
  }
  t_check_trans();
  if (is_method("REGISTER")) {
    route(REGISTRAR);
    exit;
  }
  route(CALL);
}

# Runs for every response, also of requests that this PBX made itself.
reply_route {
  if (is_method("OPTIONS")) xlog("L_NOTICE", "phone $tU answered $rs to OPTIONS\\n");
}

route[REGISTRAR] {
  if ($au == $null || $sht(users=>$au) == $null || !pv_www_authenticate("$td", "$sht(users=>$au)", "0")) {
    www_challenge("$td", "0");
    exit;
  }
  if ($au != $tU) {
    sl_send_reply("403", "Forbidden");
    exit;
  }
  setbflag(1);
  setbflag(2);
  if (!save("location")) {
    xlog("L_NOTICE", "refused $tU path $hdr(Path)\\n");
    exit;
  }
  xlog("L_NOTICE", "registered $tU contact $ct path $hdr(Path)\\n");
}

route[CALL] {
${
  config.challengeCalls
    ? `  if ($hdr(${RELAYED}) == $null) {
    if ($au == $null || $sht(users=>$au) == $null || !pv_proxy_authenticate("$fd", "$sht(users=>$au)", "0")) {
      proxy_challenge("$fd", "0");
      exit;
    }
    consume_credentials();
  }`
    : ''
}
  record_route();
  if (lookup("location")) {
    xlog("L_NOTICE", "call $rm from $fU to $tU here\\n");
${config.outboundProxy ? `    $du = "${config.outboundProxy}";` : ''}
    t_relay();
    exit;
  }
${
  config.relayTo
    ? `  if ($hdr(${RELAYED}) == $null) {
    xlog("L_NOTICE", "call $rm from $fU to $tU relayed\\n");
    append_hf("${RELAYED}: ${config.addresses[0]}\\r\\n");
    $du = "${config.relayTo}";
    t_relay();
    exit;
  }`
    : ''
}
  xlog("L_NOTICE", "call $rm from $fU to $tU unknown\\n");
  sl_send_reply("404", "Not Found");
}

route[IN_DIALOG] {
  if (loose_route()) {
    xlog("L_NOTICE", "in-dialog $rm from $si:$sp\\n");
    t_relay();
    exit;
  }
  if (is_method("ACK")) {
    if (t_check_trans()) t_relay();
    exit;
  }
  xlog("L_NOTICE", "in-dialog $rm without a route from $si:$sp\\n");
  sl_send_reply("481", "Call/Transaction Does Not Exist");
}
`;
}

const tlsParameters = ({ tls, addresses }: KamailioConfig): string =>
  tls ? ['enable_tls=yes', ...addresses.map((a) => `listen=tls:${hostPort(a, tls.port)}`)].join('\n') : '';

const tlsModule = ({ tls }: KamailioConfig): string =>
  tls
    ? `modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "${tls.certificate}")
modparam("tls", "private_key", "${tls.privateKey}")`
    : '';

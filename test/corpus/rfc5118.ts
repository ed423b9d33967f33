import type { Entry } from './corpus.ts';
import { answered, DIALOG, forwarded, REGISTRATION } from './expected.ts';

/** RFC 5118, SIP Torture Test Messages for IPv6: every message of §4, in order. Where a section has two, they are numbered. */
export const RFC5118: readonly Entry[] = [
  {
    file: 'rfc5118/4.1-ipv6-good.sip',
    about: 'IPv6 references in Request-URI, Via and Contact',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc5118/4.2-ipv6-bad.sip',
    about: 'an IPv6 address without its brackets: 400',
    expected: answered(400),
  },
  {
    file: 'rfc5118/4.3-port-ambiguous.sip',
    about: 'what looks like a port is the end of the address',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc5118/4.4-port-unambiguous.sip',
    about: 'the port behind the bracket',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc5118/4.5.1-via-received-param-with-delim.sip',
    about: 'received in brackets, as old stacks write it',
    expected: forwarded(2, 69),
  },
  {
    file: 'rfc5118/4.5.2-via-received-param-no-delim.sip',
    about: 'received without brackets',
    expected: forwarded(2, 69),
  },
  {
    file: 'rfc5118/4.6-ipv6-in-sdp.sip',
    about: 'IPv6 addresses in SDP do not concern a proxy',
    expected: forwarded(2, 69, { body: 251, gains: DIALOG }),
  },
  {
    file: 'rfc5118/4.7-mult-ip-in-header.sip',
    about: 'Vias of both families',
    expected: forwarded(4, 69),
  },
  {
    file: 'rfc5118/4.8-mult-ip-in-sdp.sip',
    about: 'media of both families',
    expected: forwarded(2, 69, { body: 189, gains: DIALOG }),
  },
  {
    file: 'rfc5118/4.9-ipv4-mapped-ipv6.sip',
    about: 'IPv4-mapped addresses in Via, Contact and SDP',
    expected: forwarded(3, 69, { body: 245, gains: DIALOG }),
  },
  {
    file: 'rfc5118/4.10.1-ipv6-bug-abnf-3-colons.sip',
    about: "three colons, which RFC 3261's own grammar let happen, are tolerated",
    expected: forwarded(2, 69),
  },
  {
    file: 'rfc5118/4.10.2-ipv6-correct-abnf-2-colons.sip',
    about: 'the same with the two colons that were meant',
    expected: forwarded(2, 69),
  },
];

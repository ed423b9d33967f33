import type { Entry } from './corpus.ts';
import { answered, DIALOG, forwarded, REGISTRATION, response } from './expected.ts';

/** RFC 4475, SIP Torture Test Messages: every message of §3, in order, with what its text expects of a proxy. */
export const RFC4475: readonly Entry[] = [
  {
    file: 'rfc4475/3.1.1.1-wsinv.sip',
    about: 'well-formed under all its folds, blanks and leading zeros; the unknown header goes on unchanged',
    expected: forwarded(4, 67, { body: 150 }),
  },
  {
    file: 'rfc4475/3.1.1.2-intmeth.sip',
    about: 'every character that method, URI, tag and header name may have, an escaped NUL and UTF-8 among them',
    expected: forwarded(2, 254),
  },
  {
    file: 'rfc4475/3.1.1.3-esc01.sip',
    about: 'escapes are kept as they are; the user part that reads like a SIPS URI is none',
    expected: forwarded(2, 86, { body: 150, gains: DIALOG }),
  },
  {
    file: 'rfc4475/3.1.1.4-escnull.sip',
    about: '%00 ends no string',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc4475/3.1.1.5-esc02.sip',
    about: 'a percent sign is no escape here: RE%47IST%45R is an unknown method and no REGISTER',
    expected: forwarded(2, 69),
  },
  {
    file: 'rfc4475/3.1.1.6-lwsdisp.sip',
    about: 'no blank between display name and bracket',
    expected: forwarded(2, 69),
  },
  {
    file: 'rfc4475/3.1.1.7-longreq.sip',
    about: 'long values everywhere, 34 Vias without a branch on top',
    expected: forwarded(35, 69, { body: 150, gains: DIALOG }),
  },
  {
    file: 'rfc4475/3.1.1.8-dblreq.sip',
    about: 'bytes behind the body of a datagram are noise, also where they look like an INVITE',
    expected: forwarded(2, 7, { gains: REGISTRATION }),
    stream: 'datagram',
  },
  {
    file: 'rfc4475/3.1.1.9-semiuri.sip',
    about: 'a semicolon within the user part',
    expected: forwarded(2, 2),
  },
  {
    file: 'rfc4475/3.1.1.10-transports.sip',
    about: 'Vias of transports that nobody knows',
    expected: forwarded(6, 69),
  },
  {
    file: 'rfc4475/3.1.1.11-mpart01.sip',
    about: 'a binary body with NULs, framed by Content-Length alone',
    expected: forwarded(2, 69, { body: 553 }),
  },
  {
    file: 'rfc4475/3.1.1.12-unreason.sip',
    about: 'a reason phrase in UTF-8',
    expected: response('above', 'forwarded'),
  },
  {
    file: 'rfc4475/3.1.1.13-noreason.sip',
    about: 'an empty reason phrase',
    expected: response('above', 'heard'),
  },
  {
    file: 'rfc4475/3.1.2.1-badinv01.sip',
    about: 'separators with nothing between them in Via and Contact: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.2-clerr.sip',
    about: 'Content-Length beyond the datagram: 400; a stream waits for the rest',
    expected: answered(400),
    stream: 'waits',
  },
  {
    file: 'rfc4475/3.1.2.3-ncl.sip',
    about: 'a negative Content-Length: an error; on a stream framing is lost for good',
    expected: answered(400),
    stream: 'closed',
  },
  {
    file: 'rfc4475/3.1.2.4-scalar02.sip',
    about: 'CSeq beyond its range: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.5-scalarlg.sip',
    about: 'a response with a CSeq beyond its range is discarded',
    expected: response('above', 'dropped'),
  },
  {
    file: 'rfc4475/3.1.2.6-quotbal.sip',
    about: 'a quote that never closes: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.7-ltgtruri.sip',
    about: 'a Request-URI in brackets: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.8-lwsruri.sip',
    about: 'a blank within the Request-URI: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.9-lwsstart.sip',
    about: 'more than one space in the request line: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.10-trws.sip',
    about: 'spaces behind the version: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.11-escruri.sip',
    about: 'headers in the Request-URI must not be sent on: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.12-baddate.sip',
    about: 'who does not need the Date should not reject it',
    expected: forwarded(2, 69, { body: 150, gains: DIALOG }),
  },
  {
    file: 'rfc4475/3.1.2.13-regbadct.sip',
    about: 'a Contact without its brackets is for the registrar to judge',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc4475/3.1.2.14-badaspec.sip',
    about: 'blanks inside the brackets of To may be ignored',
    expected: forwarded(2, 69),
  },
  {
    file: 'rfc4475/3.1.2.15-baddn.sip',
    about: 'a comma in an unquoted display name must not be sent on: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.16-badvers.sip',
    about: 'SIP/7.0: 505',
    expected: answered(505),
  },
  {
    file: 'rfc4475/3.1.2.17-mismatch01.sip',
    about: 'the method of CSeq is another: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.18-mismatch02.sip',
    about: 'an unknown method, and that of CSeq is another: 501, or 400 as well',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.1.2.19-bigcode.sip',
    about: 'a status code beyond 32 bits is discarded',
    expected: response('above', 'dropped'),
  },
  {
    file: 'rfc4475/3.2.1-badbranch.sip',
    about: 'a branch of nothing but the magic cookie breaks nobody',
    expected: forwarded(2, 2),
  },
  {
    file: 'rfc4475/3.3.1-insuf.sip',
    about: 'no Call-ID, From and To: must not break; ideally 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.3.2-unkscm.sip',
    about: 'a scheme that nobody knows: 416',
    expected: answered(416),
  },
  {
    file: 'rfc4475/3.3.3-novelsc.sip',
    about: 'a known scheme that is not for SIP: 416',
    expected: answered(416),
  },
  {
    file: 'rfc4475/3.3.4-unksm2.sip',
    about: 'foreign schemes in To, From and Contact do not concern a proxy',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc4475/3.3.5-bext01.sip',
    about: 'Proxy-Require of what we do not know: 420 that lists it, and not what Require lists',
    expected: answered(420, 'Unsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis'),
  },
  {
    file: 'rfc4475/3.3.6-invut.sip',
    about: 'an unknown type of body does not concern a proxy',
    expected: forwarded(2, 69, { body: 40, gains: DIALOG }),
  },
  {
    file: 'rfc4475/3.3.7-regaut01.sip',
    about: 'an unknown scheme of authorization is for the registrar',
    expected: forwarded(2, 7, { gains: REGISTRATION }),
  },
  {
    file: 'rfc4475/3.3.8-multi01.sip',
    about: 'two values where one may stand: 400',
    expected: answered(400),
  },
  {
    file: 'rfc4475/3.3.9-mcl01.sip',
    about: 'two values of Content-Length: 400; on a stream framing is lost for good',
    expected: answered(400),
    stream: 'closed',
  },
  {
    file: 'rfc4475/3.3.10-bcast.sip',
    about: 'a response whose next Via is the broadcast address goes nowhere',
    expected: response('first', 'dropped'),
  },
  {
    file: 'rfc4475/3.3.11-zeromf.sip',
    about: 'Max-Forwards 0: not sent on; RFC 3261 §16.3 item 3 lets us answer OPTIONS ourselves in place of 483',
    expected: answered(200),
  },
  {
    file: 'rfc4475/3.3.12-cparam01.sip',
    about: 'an unknown parameter of the Contact header',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc4475/3.3.13-cparam02.sip',
    about: 'an unknown parameter of the Contact URI',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc4475/3.3.14-regescrt.sip',
    about: 'the escaped Route stays part of the Contact URI',
    expected: forwarded(2, 69, { gains: REGISTRATION }),
  },
  {
    file: 'rfc4475/3.3.15-sdp01.sip',
    about: 'an Accept without SDP is for the callee to judge',
    expected: forwarded(2, 4, { body: 150, gains: DIALOG }),
  },
  {
    file: 'rfc4475/3.4.1-inv2543.sip',
    about: 'RFC 2543: no branch, no From tag, no Max-Forwards, and the body ends with the datagram',
    expected: forwarded(2, 70, { body: 105, gains: ['Max-Forwards', ...DIALOG] }),
    stream: 'closed',
  },
];

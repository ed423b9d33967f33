#define _GNU_SOURCE
#include "messages.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { ID_DIGITS = 8, USER_DIGITS = 5 }; /* MAX_REQUESTS and MAX_USERS are what fits */

/* In a template, runs of # hold the request's number and runs of ~ its user. */
#define ID "########"
#define USER "~~~~~"
#define HEADERS                                                                                                        \
  "Via: SIP/2.0/%4$s %1$s;branch=z9hG4bK-%2$08x-" ID ";rport\r\n"                                                       \
  "Max-Forwards: 70\r\n"                                                                                               \
  "From: Bonnie <sip:bonnie" USER "@example.com>;tag=1928301774" ID "\r\n"

#define SDP                                                                                                            \
  "v=0\r\no=bonnie 2890844526 2890844526 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"                   \
  "m=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"

/* Arguments: 1 own address and port, 2 run, 3 length of the SDP, 4 transport. */
static const char *const TEMPLATES[KINDS] = {
    [INVITE] = "INVITE sip:clyde" USER "@example.com SIP/2.0\r\n" HEADERS
    "To: Clyde <sip:clyde" USER "@example.com>\r\n"
    "Call-ID: %2$08x-" ID "@bench.invalid\r\n"
    "CSeq: 314159 INVITE\r\n"
    "Contact: <sip:bonnie@%1$s>\r\n"
    "User-Agent: blast/1.0\r\n"
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\n"
    "Content-Type: application/sdp\r\n"
    "Content-Length: %3$zu\r\n\r\n" SDP,
    [OPTIONS] = "OPTIONS sip:clyde" USER "@example.com SIP/2.0\r\n" HEADERS
    "To: <sip:clyde" USER "@example.com>\r\n"
    "Call-ID: %2$08x-" ID "@bench.invalid\r\n"
    "CSeq: 1 OPTIONS\r\n"
    "Contact: <sip:bonnie@%1$s>\r\n"
    "Accept: application/sdp\r\n"
    "User-Agent: blast/1.0\r\n"
    "Content-Length: 0\r\n\r\n",
    [REGISTER] = "REGISTER sip:example.com SIP/2.0\r\n" HEADERS
    "To: Bonnie <sip:bonnie" USER "@example.com>\r\n"
    "Call-ID: %2$08x-" ID "@bench.invalid\r\n"
    "CSeq: 1 REGISTER\r\n"
    "Contact: <sip:bonnie" USER "@%1$s>\r\n"
    "Supported: path\r\n"
    "Expires: 120\r\n"
    "User-Agent: blast/1.0\r\n"
    "Content-Length: 0\r\n\r\n",
};

void start_series(struct series *series, const struct sockaddr_in *own, unsigned run) {
  series->run = run;
  snprintf(series->own, sizeof series->own, "%s:%u", inet_ntoa(own->sin_addr), ntohs(own->sin_port));
  series_transport(series, "UDP");
  snprintf(series->branch, sizeof series->branch, ";branch=z9hG4bK-%08x-", run);
  snprintf(series->call_id, sizeof series->call_id, "\r\nCall-ID: %08x-", run);
}

void series_transport(struct series *series, const char *transport) {
  snprintf(series->transport, sizeof series->transport, "%s", transport);
  snprintf(series->sent_by, sizeof series->sent_by, "SIP/2.0/%s %s;", series->transport, series->own);
}

static int find_runs(const char *text, char mark, int digits, size_t *at) {
  int found = 0;
  for (const char *p = text; (p = strchr(p, mark)) != NULL; p += digits) {
    if (found == MAX_MARKS) die("a template has more than %d runs of %c", MAX_MARKS, mark);
    at[found++] = (size_t)(p - text);
  }
  return found;
}

void prepare_request(struct request *request, const struct series *series, int kind) {
  int length =
      snprintf(request->text, sizeof request->text, TEMPLATES[kind], series->own, series->run, strlen(SDP),
               series->transport);
  if (length < 0 || (size_t)length >= sizeof request->text) die("request template %d does not fit", kind);
  request->length = (size_t)length;
  request->ids = find_runs(request->text, '#', ID_DIGITS, request->id_at);
  request->users = find_runs(request->text, '~', USER_DIGITS, request->user_at);
}

static void write_digits(char *at, int digits, long value) {
  for (int i = digits - 1; i >= 0; i--, value /= 10) at[i] = (char)('0' + value % 10);
}

void number_request(struct request *request, long id, long user) {
  for (int mark = 0; mark < request->ids; mark++) write_digits(request->text + request->id_at[mark], ID_DIGITS, id);
  for (int mark = 0; mark < request->users; mark++)
    write_digits(request->text + request->user_at[mark], USER_DIGITS, user);
}

/* The ID_DIGITS at `text`; -1 where they are not there. */
static long read_id(const char *text, const char *end) {
  if (end - text < ID_DIGITS) return -1;
  long value = 0;
  for (int i = 0; i < ID_DIGITS; i++) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

/* The number that follows `prefix` in text; -1 where there is none. */
static long number_after(const char *prefix, const char *text, const char *end) {
  size_t length = strlen(prefix);
  const char *at = memmem(text, (size_t)(end - text), prefix, length);
  return at ? read_id(at + length, end) : -1;
}

long answered(const struct series *series, const char *text, const char *end) {
  static const char VIA[] = "\r\nVia: ";
  const char *via = memmem(text, (size_t)(end - text), VIA, sizeof VIA - 1);
  if (!via) return -1;
  via += sizeof VIA - 1;
  const char *via_end = memmem(via, (size_t)(end - via), "\r\n", 2);
  size_t sent_by = strlen(series->sent_by);
  if (!via_end || (size_t)(via_end - via) < sent_by || memcmp(via, series->sent_by, sent_by) != 0) return -1;
  long id = number_after(series->branch, via, via_end);
  return id >= 0 && id == number_after(series->call_id, text, end) ? id : -1;
}

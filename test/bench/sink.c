/*
 * A user agent server that answers every request 200 at once, to where it came from (RFC 3261 §8.2.6, RFC 3581): the header
 * fields that a response must copy, a To tag, a Contact. ACK is not answered. A request that comes again gets the same again.
 *
 * Stateless, unless --reliable FILE asks for the 2xx of an INVITE to be sent again until its ACK comes (unacked.h); counts go into FILE at SIGTERM.
 *
 * A request with the header field "X-Bench-Echo" gets itself back as the body of the 200: so the bench sees what a proxy
 * made of it.
 */
#define _GNU_SOURCE
#include "udp.h"
#include "unacked.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

static const char ECHO[] = "X-Bench-Echo:";
/* Copied into the response, RFC 3261 §8.2.6.2 and §12.1.1. The proxies under test keep the generator's long forms. */
static const char *const COPIED[] = {"Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"};

struct reply {
  char text[2 * DATAGRAM];
  size_t length;
};

/* Two sinks are two user agents. */
struct identity {
  char contact[64], tag[32];
};

static volatile sig_atomic_t stopped;

static void stop(int signal) {
  (void)signal;
  stopped = 1;
}

static bool begins(const char *line, const char *end, const char *with) {
  size_t length = strlen(with);
  return (size_t)(end - line) >= length && memcmp(line, with, length) == 0;
}

/* False: it does not fit, and nothing was added. */
static bool append(struct reply *reply, const char *text, size_t length) {
  if (length > sizeof reply->text - reply->length) return false;
  memcpy(reply->text + reply->length, text, length);
  reply->length += length;
  return true;
}

static bool append_text(struct reply *reply, const char *text) { return append(reply, text, strlen(text)); }

/* Copies one header line (without its CRLF) where a response needs it. */
static bool copy_line(struct reply *reply, const char *line, const char *end, const char *tag) {
  for (size_t i = 0; i < sizeof COPIED / sizeof *COPIED; i++) {
    if (!begins(line, end, COPIED[i])) continue;
    if (!append(reply, line, (size_t)(end - line))) return false;
    bool untagged_to = COPIED[i][0] == 'T' && !memmem(line, (size_t)(end - line), ";tag=", 5);
    return append_text(reply, untagged_to ? tag : "\r\n");
  }
  return true;
}

/* Writes the response to the request; false where it is none that can be answered. */
static bool answer(struct reply *reply, const char *request, size_t length, const struct identity *own) {
  const char *end = request + length;
  if (begins(request, end, "SIP/2.0") || begins(request, end, "ACK ")) return false;
  const char *line = memmem(request, length, "\r\n", 2);
  if (!line) return false;
  reply->length = 0;
  bool echo = false, fits = append_text(reply, "SIP/2.0 200 OK\r\n");
  for (line += 2; fits; ) {
    const char *line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
    if (!line_end) return false;
    if (line_end == line) break;
    if (begins(line, line_end, ECHO)) echo = true;
    fits = copy_line(reply, line, line_end, own->tag);
    line = line_end + 2;
  }
  char tail[128];
  snprintf(tail, sizeof tail, "%s%sContent-Length: %zu\r\n\r\n", own->contact,
           echo ? "Content-Type: message/sip\r\n" : "", echo ? length : 0);
  return fits && append_text(reply, tail) && (!echo || append(reply, request, length));
}

/* Keeps the reply to an INVITE until its ACK; a BYE ends the wait too, since nobody minds an ended call's ACK. */
static void mind_ack(const char *request, size_t length, const struct reply *reply, const struct sockaddr_in *to) {
  if (begins(request, request + length, "INVITE ")) await_ack(request, length, reply->text, reply->length, to);
  else if (begins(request, request + length, "ACK ")) settle(request, length, ACKED);
  else if (begins(request, request + length, "BYE ")) settle(request, length, BYED);
}

/* Answers what came with one system call. */
static void serve(int fd, const struct identity *own, bool reliable) {
  static struct inbox inbox;
  static struct reply replies[BATCH];
  static struct mmsghdr out[BATCH];
  static struct iovec parts[BATCH];
  int received = receive(fd, &inbox, MSG_WAITFORONE), queued = 0;
  for (int i = 0; i < received; i++) {
    struct reply *reply = &replies[queued];
    bool answers = answer(reply, inbox.data[i], inbox.headers[i].msg_len, own);
    if (reliable) mind_ack(inbox.data[i], inbox.headers[i].msg_len, reply, &inbox.from[i]);
    if (!answers) continue;
    parts[queued] = (struct iovec){reply->text, reply->length};
    compose(&out[queued], &inbox.from[i], &parts[queued], 1);
    queued++;
  }
  send_all(fd, out, queued);
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"listen", required_argument, NULL, 'l'}, {"reliable", required_argument, NULL, 'r'}, {0}};
  struct sockaddr_in local = {0};
  const char *counts = NULL;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'l') local = address_option("--listen", optarg);
    else if (option == 'r') counts = optarg;
    else die("usage: sink --listen ADDRESS:PORT [--reliable FILE]");
  }
  if (!local.sin_port) die("--listen is needed");

  int fd = open_socket(&local);
  struct identity own;
  snprintf(own.contact, sizeof own.contact, "Contact: <sip:%s:%u>\r\n", inet_ntoa(local.sin_addr), ntohs(local.sin_port));
  snprintf(own.tag, sizeof own.tag, ";tag=sink%u\r\n", ntohl(local.sin_addr.s_addr) & 0xff);
  if (!counts)
    for (;;) serve(fd, &own, false);

  /* Woken for the timers where nothing comes. */
  struct timeval tick = {.tv_usec = 5000};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick) != 0) die("SO_RCVTIMEO: %s", strerror(errno));
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
  while (!stopped) {
    serve(fd, &own, true);
    send_unacked(fd, clock_ns());
  }
  write_counts(counts, dropped(fd));
  return 0;
}

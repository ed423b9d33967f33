/*
 * Whole calls over a network that loses: INVITE, ACK, BYE at a steady rate from one socket, sent again as RFC 3261 asks of a user agent on UDP. INVITE
 * until anything answers it, BYE until it is answered finally, an ACK for every 2xx and every failure that comes, the first time or again. A call that is
 * established is ended at once.
 *
 * Runs until nothing is open and nothing comes any more, at most 70 s after the last INVITE. Prints one line of JSON; times from a call's first INVITE
 * to its 2xx, in microseconds.
 */
#define _GNU_SOURCE
#include "calls.h"
#include "messages.h"
#include "quantiles.h"
#include "timers.h"
#include "udp.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { TICK_NS = 100000, USERS = 10000, OUTBOX = 4 * BATCH };
static const int64_t QUIET_NS = 2000000000, PATIENCE_NS = 70000000000;

enum state { CALLING, PROCEEDING, ESTABLISHED, ENDED, REFUSED, GIVEN_UP };

struct datagram {
  size_t length;
  char text[];
};

struct call {
  int64_t began;
  struct datagram *bye; /* while it is not answered */
  uint32_t took;        /* from INVITE to 2xx, µs */
  uint32_t callee;      /* hash of the To of its first 2xx */
  uint8_t state, sent;  /* how often the request that is open was sent */
};

struct caller {
  struct sockaddr_in to, local;
  long rate, seconds;
  int fd;
  struct series series;
  struct request invite;
  struct call *calls;
  struct timers timers;
  long begun, established, ended, refused, broken, gave_up;
  long invites_again, byes_again, acks_again, repeated, forked, wrong;
};

static struct caller caller;

/* What timers are of: a call's INVITE, or its BYE. */
static long invite_of(long id) { return 2 * id; }
static long bye_of(long id) { return 2 * id + 1; }

/* Datagrams on their way out. */
static struct {
  char text[OUTBOX][DATAGRAM];
  struct iovec parts[OUTBOX];
  struct mmsghdr headers[OUTBOX];
  int count;
} outbox;

static void flush(void) {
  if (outbox.count > 0) send_all(caller.fd, outbox.headers, outbox.count);
  outbox.count = 0;
}

/* Where the next datagram is written; post() takes it. */
static char *draft(void) {
  if (outbox.count == OUTBOX) flush();
  return outbox.text[outbox.count];
}

static void post(size_t length) {
  if (length == 0) return;
  outbox.parts[outbox.count] = (struct iovec){outbox.text[outbox.count], length};
  compose(&outbox.headers[outbox.count], &caller.to, &outbox.parts[outbox.count], 1);
  outbox.count++;
}

static void post_invite(long id) {
  number_request(&caller.invite, id, id % USERS);
  memcpy(draft(), caller.invite.text, caller.invite.length);
  post(caller.invite.length);
}

static void begin(int64_t now) {
  long id = caller.begun++;
  caller.calls[id] = (struct call){.began = now, .sent = 1};
  post_invite(id);
  arm(&caller.timers, INVITE_REQUEST, 1, now, invite_of(id));
}

/* Ends the call whose 2xx is in [text, end). */
static void post_bye(long id, int64_t now, const char *text, const char *end) {
  struct call *call = &caller.calls[id];
  char *out = draft();
  size_t length = in_dialog(out, DATAGRAM, &caller.series, "BYE", id, text, end);
  call->bye = malloc(sizeof *call->bye + length);
  if (!call->bye) die("no memory for a BYE");
  call->bye->length = length;
  memcpy(call->bye->text, out, length);
  post(length);
  call->sent = 1;
  arm(&caller.timers, CAPPED, 1, now, bye_of(id));
}

static void close_call(struct call *call, enum state state, long *count) {
  call->state = (uint8_t)state;
  free(call->bye);
  call->bye = NULL;
  ++*count;
}

/* FNV-1a of the line To: who answered. */
static uint32_t callee_of(const char *text, const char *end) {
  uint32_t hash = 2166136261u;
  const char *at = memmem(text, (size_t)(end - text), "\r\nTo: ", 6);
  if (at)
    for (at += 6; at < end && *at != '\r'; at++) hash = (hash ^ (uint8_t)*at) * 16777619u;
  return hash;
}

static void take_answer_to_invite(long id, int64_t at, const char *text, const char *end) {
  struct call *call = &caller.calls[id];
  bool open = call->state == CALLING || call->state == PROCEEDING;
  if (text[8] == '1') {
    if (call->state == CALLING) call->state = PROCEEDING;
    return;
  }
  if (text[8] != '2') {
    post(ack_of_failure(draft(), DATAGRAM, &caller.series, id, id % USERS, text, end));
    if (open) close_call(call, REFUSED, &caller.refused);
    else caller.repeated++;
    return;
  }
  post(in_dialog(draft(), DATAGRAM, &caller.series, "ACK", id, text, end));
  if (!open) {
    caller.acks_again++;
    if (call->callee != 0 && call->callee != callee_of(text, end)) caller.forked++;
    return;
  }
  int64_t took = (at - call->began) / 1000;
  call->took = took < 1 ? 1 : (uint32_t)took;
  call->callee = callee_of(text, end);
  call->state = ESTABLISHED;
  caller.established++;
  post_bye(id, at, text, end);
}

static void take_answer_to_bye(struct call *call, const char *text) {
  if (call->state != ESTABLISHED) caller.repeated++;
  else if (text[8] == '2') close_call(call, ENDED, &caller.ended);
  else if (text[8] != '1') close_call(call, GIVEN_UP, &caller.broken);
}

static int take_replies(void) {
  static struct inbox inbox;
  int received = receive(caller.fd, &inbox, MSG_DONTWAIT);
  for (int i = 0; i < received; i++) {
    const char *text = inbox.data[i], *end = text + inbox.headers[i].msg_len;
    bool response = end - text > 12 && memcmp(text, "SIP/2.0 ", 8) == 0;
    long id = response ? answered(&caller.series, text, end) : -1;
    if (id < 0 || id >= caller.begun) caller.wrong++;
    else if (memmem(text, (size_t)(end - text), " BYE\r\n", 6)) take_answer_to_bye(&caller.calls[id], text);
    else take_answer_to_invite(id, received_at(&inbox.headers[i].msg_hdr), text, end);
  }
  return received;
}

/* Sends again what nothing answered. */
static void send_again(int64_t now) {
  for (long of; come_due(&caller.timers, now, &of);) {
    long id = of / 2;
    struct call *call = &caller.calls[id];
    bool bye = of == bye_of(id);
    if (call->state != (bye ? ESTABLISHED : CALLING)) continue;
    if (!arm(&caller.timers, bye ? CAPPED : INVITE_REQUEST, ++call->sent, now, of)) {
      close_call(call, GIVEN_UP, &caller.gave_up);
    } else if (bye) {
      caller.byes_again++;
      memcpy(draft(), call->bye->text, call->bye->length);
      post(call->bye->length);
    } else {
      caller.invites_again++;
      post_invite(id);
    }
  }
}

static void run(void) {
  long total = caller.rate * caller.seconds;
  caller.calls = calloc((size_t)total, sizeof *caller.calls);
  if (!caller.calls) die("no memory for %ld calls", total);
  int64_t start = clock_ns(), last = start, heard = start;
  for (;;) {
    int64_t now = clock_ns();
    long due = (long)((double)(now - start) * 1e-9 * (double)caller.rate) - caller.begun;
    if (due > total - caller.begun) due = total - caller.begun;
    if (due > BATCH) due = BATCH;
    if (due > 0) last = now;
    for (long i = 0; i < due; i++) begin(now);
    int received = take_replies();
    send_again(now);
    flush();
    if (received > 0) heard = now;
    long open = caller.begun - caller.ended - caller.refused - caller.broken - caller.gave_up;
    if (caller.begun == total && ((open == 0 && now - heard > QUIET_NS) || now - last > PATIENCE_NS)) break;
    if (due <= 0 && received < BATCH) nanosleep(&(struct timespec){0, TICK_NS}, NULL);
  }
  printf("{\"tried\":%ld,\"seconds\":%.4f,\"established\":%ld,\"ended\":%ld,\"refused\":%ld,\"broken\":%ld,\"gaveUp\":%ld,",
         caller.begun, (double)(last - start) * 1e-9, caller.established, caller.ended, caller.refused, caller.broken,
         caller.gave_up);
  printf("\"invitesAgain\":%ld,\"byesAgain\":%ld,\"acksAgain\":%ld,\"repeated\":%ld,\"forked\":%ld,\"wrong\":%ld,\"dropped\":%u,",
         caller.invites_again, caller.byes_again, caller.acks_again, caller.repeated, caller.forked, caller.wrong,
         dropped(caller.fd));
}

static void report_times(void) {
  uint32_t *took = malloc((size_t)caller.begun * sizeof *took);
  if (!took) die("no memory for %ld times", caller.begun);
  for (long id = 0; id < caller.begun; id++) took[id] = caller.calls[id].took;
  struct quantiles us = quantiles_of(took, caller.begun, caller.established);
  printf("\"p50\":%.0f,\"p99\":%.0f,\"max\":%.0f}\n", us.p50, us.p99, us.max);
  free(took);
}

static void read_options(int argc, char **argv) {
  static const struct option options[] = {
      {"to", required_argument, NULL, 't'},   {"from", required_argument, NULL, 'f'},
      {"rate", required_argument, NULL, 'r'}, {"seconds", required_argument, NULL, 's'},
      {0},
  };
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 't') caller.to = address_option("--to", optarg);
    else if (option == 'f') caller.local = address_option("--from", optarg);
    else if (option == 'r') caller.rate = number_option("--rate", optarg, 1, 1000000);
    else if (option == 's') caller.seconds = number_option("--seconds", optarg, 1, 86400);
    else die("usage: caller --from ADDRESS:PORT --to ADDRESS:PORT --rate N --seconds N");
  }
  if (!caller.to.sin_port || !caller.local.sin_port || !caller.rate || !caller.seconds)
    die("--from, --to, --rate and --seconds are needed");
  if (caller.rate * caller.seconds >= MAX_REQUESTS) die("--rate times --seconds: allowed are less than %d calls", MAX_REQUESTS);
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  caller.fd = open_socket(&caller.local);
  /* A number of its own for every run: a proxy takes a repeated branch for a retransmission (RFC 3261 §17.2.3). */
  start_series(&caller.series, &caller.local, (unsigned)getpid() ^ (unsigned)(clock_ns() >> 10));
  prepare_request(&caller.invite, &caller.series, INVITE);
  int on = 1;
  if (setsockopt(caller.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) die("receive timestamps: %s", strerror(errno));
  /* Timers to the microsecond; the default slack of 50 µs would make bursts of the steady rate. */
  prctl(PR_SET_TIMERSLACK, 1000);
  run();
  report_times();
  return 0;
}

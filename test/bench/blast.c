/*
 * SIP load: distinct requests at a steady rate from one socket, and the replies to them counted by number. With --calls
 * each request is an INVITE whose 2xx is answered with ACK and BYE, and the 2xx of the BYE is what counts.
 *
 * A reply counts once, if it is 2xx and answers a request of this run (messages.h). A request's latency runs from just before
 * its batch is sent to the kernel's receive timestamp of its reply, so that waiting for this process to be scheduled is
 * not counted.
 *
 * Prints one line of JSON; latencies in microseconds.
 */
#define _GNU_SOURCE
#include "calls.h"
#include "messages.h"
#include "quantiles.h"
#include "udp.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
  TICK_NS = 100000,     /* how long to sleep when nothing is due */
  ENDED = -1,           /* instead of when it was sent: the call is over */
  SETTLE_NS = 500000000 /* replies later than this after the last request count as lost: RFC 3261's T1 */
};

struct load {
  struct sockaddr_in targets[MAX_TARGETS];
  int target_count;
  struct sockaddr_in local;
  long rate, seconds, users;
  long mix[KINDS];
  bool calls;
  struct series series;
  int fd;
};

struct counts {
  long sent, answered, replies, provisional, duplicate, wrong, refused;
};

/* ACKs and BYEs on their way out: at most two for each reply of one inbox. */
struct follow_ups {
  char text[2 * BATCH][DATAGRAM];
  struct iovec parts[2 * BATCH];
  struct mmsghdr out[2 * BATCH];
  int count;
};

/* Queues what the 2xx to INVITE number `id` asks for. */
static void follow_up(const struct load *load, struct follow_ups *queue, long id, const char *text, const char *end) {
  static const char *const METHODS[] = {"ACK", "BYE"};
  for (int i = 0; i < 2; i++) {
    int at = queue->count;
    size_t length = in_dialog(queue->text[at], DATAGRAM, &load->series, METHODS[i], id, text, end);
    if (length == 0) return;
    queue->parts[at] = (struct iovec){queue->text[at], length};
    struct sockaddr_in *to = (struct sockaddr_in *)&load->targets[id % load->target_count];
    compose(&queue->out[at], to, &queue->parts[at], 1);
    queue->count++;
  }
}

/* The reply is to a BYE: its CSeq says so. */
static bool ends_call(const char *text, const char *end) { return memmem(text, (size_t)(end - text), " BYE\r\n", 6); }

/* Takes all replies that are there. `latency` is 0 for a request that is not answered yet, else nanoseconds. */
static int take_replies(const struct load *load, struct counts *counts, int64_t *sent_at, uint32_t *latency) {
  static struct inbox inbox;
  static struct follow_ups queue;
  queue.count = 0;
  int received = receive(load->fd, &inbox, MSG_DONTWAIT);
  for (int i = 0; i < received; i++) {
    const char *text = inbox.data[i], *end = text + inbox.headers[i].msg_len;
    bool response = end - text > 12 && memcmp(text, "SIP/2.0 ", 8) == 0;
    long id = response ? answered(&load->series, text, end) : -1;
    if (id < 0 || id >= counts->sent) counts->wrong++;
    else if (text[8] == '1') counts->provisional++;
    else if (text[8] != '2') counts->refused++;
    else if (load->calls && ends_call(text, end)) {
      if (sent_at[id] == ENDED) counts->duplicate++;
      else counts->replies++;
      sent_at[id] = ENDED;
    } else if (latency[id] != 0) counts->duplicate++;
    else {
      int64_t took = received_at(&inbox.headers[i].msg_hdr) - sent_at[id];
      latency[id] = took < 1 ? 1 : took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
      counts->answered++;
      if (load->calls) follow_up(load, &queue, id, text, end);
      else counts->replies++;
    }
  }
  if (queue.count > 0) send_all(load->fd, queue.out, queue.count);
  return received;
}

/* Which kind of request number `id` is: the mix's shares in turn. */
static int kind_of(const struct load *load, long id) {
  long total = 0;
  for (int kind = 0; kind < KINDS; kind++) total += load->mix[kind];
  long turn = id % total;
  int kind = 0;
  while (turn >= load->mix[kind]) turn -= load->mix[kind++];
  return kind;
}

static void send_requests(struct load *load, struct request (*slots)[KINDS], long first, int count, int64_t *sent_at) {
  static struct mmsghdr out[BATCH];
  static struct iovec parts[BATCH];
  for (int i = 0; i < count; i++) {
    long id = first + i;
    struct request *request = &slots[i][kind_of(load, id)];
    number_request(request, id, id % load->users);
    parts[i] = (struct iovec){request->text, request->length};
    compose(&out[i], &load->targets[id % load->target_count], &parts[i], 1);
  }
  int64_t now = clock_ns();
  for (int i = 0; i < count; i++) sent_at[first + i] = now;
  send_all(load->fd, out, count);
}

static void report(const struct load *load, const struct counts *counts, double seconds, uint32_t *latency) {
  struct quantiles ns = quantiles_of(latency, counts->sent, counts->answered);
  printf("{\"sent\":%ld,\"seconds\":%.4f,\"replies\":%ld,\"provisional\":%ld,\"duplicate\":%ld,\"wrong\":%ld,"
         "\"answered\":%ld,\"refused\":%ld,\"dropped\":%u,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n",
         counts->sent, seconds, counts->replies, counts->provisional, counts->duplicate, counts->wrong,
         counts->answered, counts->refused,
         dropped(load->fd), ns.p50 / 1000, ns.p99 / 1000, ns.max / 1000);
}

static void run(struct load *load) {
  long total = load->rate * load->seconds;
  int64_t *sent_at = calloc((size_t)total, sizeof *sent_at);
  uint32_t *latency = calloc((size_t)total, sizeof *latency);
  struct request(*slots)[KINDS] = calloc(BATCH, sizeof *slots);
  if (!sent_at || !latency || !slots) die("no memory for %ld requests", total);
  /* Touched now, so that no page fault falls into the measurement. */
  memset(sent_at, 0xff, (size_t)total * sizeof *sent_at);
  memset(latency, 0, (size_t)total * sizeof *latency);
  for (int i = 0; i < BATCH; i++)
    for (int kind = 0; kind < KINDS; kind++) prepare_request(&slots[i][kind], &load->series, kind);

  struct counts counts = {0};
  int64_t start = clock_ns(), last = start;
  for (;;) {
    int64_t now = clock_ns();
    long due = (long)((double)(now - start) * 1e-9 * (double)load->rate) - counts.sent;
    if (due > total - counts.sent) due = total - counts.sent;
    if (due > BATCH) due = BATCH;
    if (due > 0) {
      long first = counts.sent;
      counts.sent += due;
      send_requests(load, slots, first, (int)due, sent_at);
      last = now;
    }
    int received = take_replies(load, &counts, sent_at, latency);
    if (counts.sent == total && (counts.replies == total || now - last > SETTLE_NS)) break;
    if (due <= 0 && received < BATCH) nanosleep(&(struct timespec){0, TICK_NS}, NULL);
  }
  report(load, &counts, (double)(last - start) * 1e-9, latency);
  free(slots);
  free(latency);
  free(sent_at);
}

/* "invite=8,options=1,register=1" → shares. */
static void read_mix(char *text, long mix[KINDS]) {
  static char *const names[] = {"invite", "options", "register", NULL};
  char *rest = text, *value;
  memset(mix, 0, KINDS * sizeof *mix);
  while (*rest) {
    int kind = getsubopt(&rest, names, &value);
    if (kind < 0 || !value) die("--mix: allowed are shares such as invite=8,options=1,register=1");
    mix[kind] = number_option("--mix", value, 0, 1000);
  }
  if (mix[0] + mix[1] + mix[2] == 0) die("--mix: at least one share must be above 0");
}

static void read_options(int argc, char **argv, struct load *load) {
  static const struct option options[] = {
      {"to", required_argument, NULL, 't'},      {"from", required_argument, NULL, 'f'},
      {"rate", required_argument, NULL, 'r'},    {"seconds", required_argument, NULL, 's'},
      {"users", required_argument, NULL, 'u'},   {"mix", required_argument, NULL, 'm'},
      {"calls", no_argument, NULL, 'c'},         {0},
  };
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 't' && load->target_count < MAX_TARGETS)
      load->targets[load->target_count++] = address_option("--to", optarg);
    else if (option == 'f') load->local = address_option("--from", optarg);
    else if (option == 'r') load->rate = number_option("--rate", optarg, 1, 1000000);
    else if (option == 's') load->seconds = number_option("--seconds", optarg, 1, 60);
    else if (option == 'u') load->users = number_option("--users", optarg, 1, MAX_USERS);
    else if (option == 'm') read_mix(optarg, load->mix);
    else if (option == 'c') load->calls = true;
    else
      die("usage: blast --from ADDRESS:PORT --to ADDRESS:PORT (up to %d of them, in turn) --rate N --seconds N [--users N] "
          "[--mix invite=N,options=N,register=N | --calls]",
          MAX_TARGETS);
  }
  if (!load->target_count || !load->local.sin_port || !load->rate || !load->seconds)
    die("--from, --to, --rate and --seconds are needed");
}

int main(int argc, char **argv) {
  struct load load = {.users = 10000, .mix = {1, 0, 0}};
  read_options(argc, argv, &load);
  load.fd = open_socket(&load.local);
  /* A number of its own for every run: a proxy takes a repeated branch for a retransmission (RFC 3261 §17.2.3). */
  start_series(&load.series, &load.local, (unsigned)getpid() ^ (unsigned)(clock_ns() >> 10));
  int on = 1;
  if (setsockopt(load.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0)
    die("receive timestamps: %s", strerror(errno));
  /* Timers to the microsecond; the default slack of 50 µs would make bursts of the steady rate. */
  prctl(PR_SET_TIMERSLACK, 1000);
  run(&load);
  return 0;
}

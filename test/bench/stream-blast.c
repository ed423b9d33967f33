/*
 * SIP load over TCP or TLS: OPTIONS at a steady rate, either over connections that stay open (--connections N), or each over
 * a connection of its own that is closed after the answer (--connections 0). Replies are told apart as blast.c does it.
 *
 * Prints one line of JSON; latencies in microseconds, with --connections 0 from before connect() to the answer.
 */
#define _GNU_SOURCE
#include "messages.h"
#include "quantiles.h"
#include "stream.h"
#include "udp.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { SETTLE_NS = 1000000000, TICK_MS = 1, USERS = 10000 };

struct load {
  struct sockaddr_in to;
  bool tls;
  long connections, rate, seconds;
  struct series series;
  struct request request;
  int64_t *sent_at;
  uint32_t *latency;
  long total, sent, replies, wrong, failed, open;
};

static struct load load;

static void take_reply(const char *text, const char *end) {
  long id = answered(&load.series, text, end);
  if (id < 0 || id >= load.sent || load.latency[id] != 0 || memcmp(text, "SIP/2.0 2", 9) != 0) {
    load.wrong++;
    return;
  }
  int64_t took = clock_ns() - load.sent_at[id];
  load.latency[id] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
  load.replies++;
}

/* The sink's responses have no body: a message ends with its header. */
static bool on_data(struct stream *stream) {
  char *from = stream->in, *end = stream->in + stream->in_length, *blank;
  while ((blank = memmem(from, (size_t)(end - from), "\r\n\r\n", 4)) != NULL) {
    take_reply(from, blank + 2);
    from = blank + 4;
    if (load.connections == 0) return false;
  }
  stream->in_length = (size_t)(end - from);
  memmove(stream->in, from, stream->in_length);
  return true;
}

static void on_open(struct stream *stream) {
  load.open++;
  if (load.connections > 0) return;
  number_request(&load.request, stream->id, stream->id % USERS);
  stream_send(stream, load.request.text, load.request.length);
}

static void on_failed(struct stream *stream) {
  (void)stream;
  load.failed++;
}

static const struct stream_events EVENTS = {on_open, on_data, on_failed};

static void send_one(struct stream **streams) {
  long id = load.sent++;
  load.sent_at[id] = clock_ns();
  if (load.connections == 0) {
    stream_open(&load.to, load.tls, id);
    return;
  }
  struct stream *stream = streams[id % load.connections];
  number_request(&load.request, id, id % USERS);
  if (stream_is_open(stream)) stream_send(stream, load.request.text, load.request.length);
}

static void report(double seconds) {
  struct quantiles ns = quantiles_of(load.latency, load.sent, load.replies);
  printf("{\"sent\":%ld,\"seconds\":%.4f,\"replies\":%ld,\"provisional\":0,\"duplicate\":0,\"wrong\":%ld,\"refused\":%ld,"
         "\"dropped\":0,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n",
         load.sent, seconds, load.replies, load.wrong, load.failed, ns.p50 / 1000, ns.p99 / 1000, ns.max / 1000);
}

/* NULL where the peer does not take them all: the run has failed then. */
static struct stream **open_all(void) {
  struct stream **streams = calloc((size_t)load.connections + 1, sizeof *streams);
  if (!streams) die("no memory");
  int64_t deadline = clock_ns() + 20000000000;
  for (long i = 0; i < load.connections; i++) {
    streams[i] = stream_open(&load.to, load.tls, i);
    streams_poll(TICK_MS);
  }
  while (load.open < load.connections && load.failed == 0) {
    if (clock_ns() > deadline) return NULL;
    streams_poll(TICK_MS);
  }
  return load.failed > 0 ? NULL : streams;
}

static void run(void) {
  load.total = load.rate * load.seconds;
  load.sent_at = calloc((size_t)load.total, sizeof *load.sent_at);
  load.latency = calloc((size_t)load.total, sizeof *load.latency);
  if (!load.sent_at || !load.latency) die("no memory for %ld requests", load.total);
  memset(load.sent_at, 0xff, (size_t)load.total * sizeof *load.sent_at);
  prepare_request(&load.request, &load.series, OPTIONS);
  struct stream **streams = open_all();
  if (!streams) {
    load.sent = load.total;
    report(1);
    return;
  }
  int64_t start = clock_ns(), last = start;
  for (;;) {
    int64_t now = clock_ns();
    long due = (long)((double)(now - start) * 1e-9 * (double)load.rate) - load.sent;
    if (due > load.total - load.sent) due = load.total - load.sent;
    if (due > BATCH) due = BATCH;
    if (due > 0) last = now;
    for (long i = 0; i < due; i++) send_one(streams);
    streams_poll(due > 0 ? 0 : TICK_MS);
    if (load.sent == load.total && (load.replies == load.total || now - last > SETTLE_NS)) break;
  }
  report((double)(last - start) * 1e-9);
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"to", required_argument, NULL, 't'},      {"tls", no_argument, NULL, 'e'},
      {"rate", required_argument, NULL, 'r'},    {"connections", required_argument, NULL, 'n'},
      {"seconds", required_argument, NULL, 's'}, {0},
  };
  load.connections = -1;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 't') load.to = address_option("--to", optarg);
    else if (option == 'e') load.tls = true;
    else if (option == 'r') load.rate = number_option("--rate", optarg, 1, 1000000);
    else if (option == 'n') load.connections = number_option("--connections", optarg, 0, 20000);
    else if (option == 's') load.seconds = number_option("--seconds", optarg, 1, 60);
    else die("usage: stream-blast --to ADDRESS:PORT [--tls] --connections N --rate N --seconds N");
  }
  if (!load.to.sin_port || !load.rate || !load.seconds || load.connections < 0)
    die("--to, --connections, --rate and --seconds are needed");
  /* What stands in Via and Contact only has to be well-formed: responses return over the connection (RFC 3261 §18.2.2). */
  struct sockaddr_in own = address_option("own", "127.0.0.1:5999");
  start_series(&load.series, &own, (unsigned)clock_ns());
  series_transport(&load.series, load.tls ? "TLS" : "TCP");
  prctl(PR_SET_TIMERSLACK, 1000);
  streams_start(&EVENTS);
  run();
  return 0;
}

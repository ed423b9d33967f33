#define _GNU_SOURCE
#include "unacked.h"
#include "messages.h"
#include "timers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct waiting {
  struct sockaddr_in to;
  int sent;
  size_t length;
  char text[];
};

/* What is known of one call. */
struct record {
  struct waiting *waiting; /* until the ACK */
  bool invited;
};

static struct {
  unsigned run; /* of the only caller that a sink has in its life */
  struct record *records;
  long size;
  struct timers timers;
  long invites, invites_again, answers_again, acked, byed_first, gave_up;
} calls;

/* The record of the call that a request of the caller belongs to; NULL for other requests. */
static struct record *record_of(const char *request, size_t length, long *number) {
  static const char CALL_ID[] = "\r\nCall-ID: ";
  char id[32] = {0};
  unsigned run;
  const char *at = memmem(request, length, CALL_ID, sizeof CALL_ID - 1);
  if (!at) return NULL;
  at += sizeof CALL_ID - 1;
  size_t rest = length - (size_t)(at - request);
  memcpy(id, at, rest < sizeof id - 1 ? rest : sizeof id - 1);
  if (sscanf(id, "%8x-%8ld@", &run, number) != 2 || *number < 0 || *number >= MAX_REQUESTS) return NULL;
  if (!calls.run) calls.run = run;
  if (run != calls.run) return NULL;
  if (*number >= calls.size) {
    long size = 2 * *number + 65536;
    calls.records = realloc(calls.records, (size_t)size * sizeof *calls.records);
    if (!calls.records) die("no memory for %ld calls", size);
    memset(calls.records + calls.size, 0, (size_t)(size - calls.size) * sizeof *calls.records);
    calls.size = size;
  }
  return &calls.records[*number];
}

void await_ack(const char *request, size_t length, const char *reply, size_t reply_length, const struct sockaddr_in *to) {
  long number;
  struct record *record = record_of(request, length, &number);
  if (!record) return;
  if (record->invited) {
    calls.invites_again++;
    return;
  }
  record->invited = true;
  calls.invites++;
  struct waiting *waiting = malloc(sizeof *waiting + reply_length);
  if (!waiting) die("no memory for a 2xx");
  *waiting = (struct waiting){.to = *to, .sent = 1, .length = reply_length};
  memcpy(waiting->text, reply, reply_length);
  record->waiting = waiting;
  arm(&calls.timers, CAPPED, 1, clock_ns(), number);
}

void settle(const char *request, size_t length, enum settled how) {
  long number;
  struct record *record = record_of(request, length, &number);
  if (!record || !record->waiting) return;
  free(record->waiting);
  record->waiting = NULL;
  if (how == ACKED) calls.acked++;
  else calls.byed_first++;
}

void send_unacked(int fd, int64_t now) {
  for (long number; come_due(&calls.timers, now, &number);) {
    struct waiting *waiting = calls.records[number].waiting;
    if (!waiting) continue;
    if (!arm(&calls.timers, CAPPED, ++waiting->sent, now, number)) {
      calls.gave_up++;
      free(waiting);
      calls.records[number].waiting = NULL;
      continue;
    }
    calls.answers_again++;
    sendto(fd, waiting->text, waiting->length, 0, (struct sockaddr *)&waiting->to, sizeof waiting->to);
  }
}

void write_counts(const char *path, unsigned dropped) {
  FILE *file = fopen(path, "w");
  if (!file) die("cannot write %s: %s", path, strerror(errno));
  fprintf(file, "{\"invites\":%ld,\"invitesAgain\":%ld,\"answersAgain\":%ld,\"acked\":%ld,\"byedFirst\":%ld,\"gaveUp\":%ld,\"dropped\":%u}\n",
          calls.invites, calls.invites_again, calls.answers_again, calls.acked, calls.byed_first, calls.gave_up, dropped);
  if (fclose(file) != 0) die("cannot write %s: %s", path, strerror(errno));
}

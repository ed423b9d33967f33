/* The requests that blast sends, and how it knows their replies. */
#ifndef BENCH_MESSAGES_H
#define BENCH_MESSAGES_H

#include "udp.h"

enum {
  INVITE,
  OPTIONS,
  REGISTER,
  KINDS,
};

enum { MAX_MARKS = 16, MAX_REQUESTS = 100000000, MAX_USERS = 100000 };

/* What all requests of one run have in common. */
struct series {
  char transport[4];
  char own[32]; /* the generator's address and port */
  unsigned run; /* tells its messages from those of other runs */
  char sent_by[64];  /* how the top Via of a reply must begin */
  char branch[32];   /* what stands before the number in that Via … */
  char call_id[32];  /* … and in the Call-ID */
};

/* One request, whose numbers can be written anew. */
struct request {
  char text[DATAGRAM];
  size_t length;
  int ids, users;
  size_t id_at[MAX_MARKS], user_at[MAX_MARKS];
};

void start_series(struct series *series, const struct sockaddr_in *own, unsigned run);

/* Via and Contact name another transport than UDP from now on. */
void series_transport(struct series *series, const char *transport);

void prepare_request(struct request *request, const struct series *series, int kind);

/* Makes it request number `id` (below MAX_REQUESTS), from and to users number `user` (below MAX_USERS). */
void number_request(struct request *request, long id, long user);

/*
 * The number of the request that a response answers. -1 where its top Via is not the one that the request left with (so also
 * where a proxy forgot to remove its own), where Via and Call-ID disagree, or where it belongs to another run.
 */
long answered(const struct series *series, const char *text, const char *end);

#endif

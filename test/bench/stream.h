/* Non-blocking TCP and TLS client connections on one epoll. */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

enum { STREAM_BUFFER = 65536 };

struct stream {
  int fd;
  long id;
  void *ssl;
  bool open;
  size_t in_length, out_length, out_size;
  char *in, *out;
};

struct stream_events {
  /* Connected, and the TLS handshake done. */
  void (*opened)(struct stream *);
  /* `in` has grown; false closes the connection. */
  bool (*data)(struct stream *);
  /* It could not be opened, or the peer closed it. It is gone after the call. */
  void (*failed)(struct stream *);
};

void streams_start(const struct stream_events *events);
struct stream *stream_open(const struct sockaddr_in *to, bool tls, long id);
/* Queues and sends what the socket takes. */
void stream_send(struct stream *stream, const char *text, size_t length);
bool stream_is_open(const struct stream *stream);
/* Handles what is ready; waits up to `ms`. */
void streams_poll(int ms);

#endif

#define _GNU_SOURCE
#include "stream.h"
#include "udp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, SOURCES = 50 };

static int epoll_fd;
static SSL_CTX *context;
static const struct stream_events *handlers;

void streams_start(const struct stream_events *events) {
  handlers = events;
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) die("epoll: %s", strerror(errno));
  context = SSL_CTX_new(TLS_client_method());
  if (!context) die("OpenSSL has no context");
  /* The proxy's certificate is made for the run; every connection makes a whole handshake, as a fleet of phones does. */
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

static void interest(struct stream *stream, int operation, bool writing) {
  struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = stream};
  if (epoll_ctl(epoll_fd, operation, stream->fd, &event) != 0) die("epoll_ctl: %s", strerror(errno));
}

struct stream *stream_open(const struct sockaddr_in *to, bool tls, long id) {
  static unsigned turn;
  struct stream *stream = calloc(1, sizeof *stream);
  if (!stream || !(stream->in = malloc(STREAM_BUFFER))) die("no memory");
  stream->id = id;
  stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (stream->fd < 0) die("socket: %s", strerror(errno));
  int on = 1;
  setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(stream->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  /* Several addresses in turn: one has too few ports for all the connections of a run and those still in TIME_WAIT. */
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001 + turn++ % SOURCES)};
  if (bind(stream->fd, (struct sockaddr *)&own, sizeof own) != 0) die("bind: %s", strerror(errno));
  if (connect(stream->fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS)
    die("connect: %s", strerror(errno));
  if (tls) {
    stream->ssl = SSL_new(context);
    SSL_set_fd(stream->ssl, stream->fd);
    SSL_set_connect_state(stream->ssl);
  }
  interest(stream, EPOLL_CTL_ADD, true);
  return stream;
}

bool stream_is_open(const struct stream *stream) { return stream->open && stream->fd >= 0; }

/* Frees all but the struct itself where others may still hold it. */
static void end(struct stream *stream, bool failed) {
  if (failed) handlers->failed(stream);
  if (stream->ssl) SSL_free(stream->ssl);
  close(stream->fd);
  free(stream->in);
  free(stream->out);
  *stream = (struct stream){.fd = -1, .id = stream->id};
}

/* Bytes moved; 0: not now; -1: the connection is over. */
static long moved(struct stream *stream, long result) {
  if (result > 0) return result;
  if (stream->ssl) {
    int error = SSL_get_error(stream->ssl, (int)result);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  return result < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static bool flush(struct stream *stream) {
  size_t at = 0;
  while (at < stream->out_length) {
    long count = stream->ssl ? SSL_write(stream->ssl, stream->out + at, (int)(stream->out_length - at))
                             : send(stream->fd, stream->out + at, stream->out_length - at, MSG_NOSIGNAL);
    count = moved(stream, count);
    if (count < 0) return false;
    if (count == 0) break;
    at += (size_t)count;
  }
  stream->out_length -= at;
  memmove(stream->out, stream->out + at, stream->out_length);
  return true;
}

void stream_send(struct stream *stream, const char *text, size_t length) {
  bool waited = stream->out_length > 0;
  if (stream->out_length + length > stream->out_size) {
    stream->out_size = stream->out_length + length + 4096;
    stream->out = realloc(stream->out, stream->out_size);
    if (!stream->out) die("no memory");
  }
  memcpy(stream->out + stream->out_length, text, length);
  stream->out_length += length;
  if (waited) return;
  if (flush(stream) && stream->out_length > 0) interest(stream, EPOLL_CTL_MOD, true);
}

/* The handshake as far as it goes; false: it failed. */
static bool opening(struct stream *stream) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return false;
  if (stream->ssl) {
    int done = SSL_do_handshake(stream->ssl);
    if (done != 1) {
      int why = SSL_get_error(stream->ssl, done);
      ERR_clear_error();
      if (why == SSL_ERROR_WANT_READ) interest(stream, EPOLL_CTL_MOD, false);
      return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
    }
  }
  stream->open = true;
  interest(stream, EPOLL_CTL_MOD, false);
  handlers->opened(stream);
  return true;
}

/* Everything that can be read; true: it goes on. */
static bool reading(struct stream *stream, bool *failed) {
  for (;;) {
    size_t room = STREAM_BUFFER - stream->in_length;
    char *at = stream->in + stream->in_length;
    long count = moved(stream, stream->ssl ? SSL_read(stream->ssl, at, (int)room) : recv(stream->fd, at, room, 0));
    if (count == 0) return true;
    *failed = count < 0;
    if (count < 0) return false;
    stream->in_length += (size_t)count;
    if (!handlers->data(stream)) return false;
  }
}

void streams_poll(int ms) {
  struct epoll_event events[MAX_EVENTS];
  int count = epoll_wait(epoll_fd, events, MAX_EVENTS, ms);
  for (int i = 0; i < count; i++) {
    struct stream *stream = events[i].data.ptr;
    bool failed = false, goes_on = true;
    if (!stream->open) {
      goes_on = opening(stream);
      failed = !goes_on;
    }
    if (goes_on && stream->open && events[i].events & EPOLLOUT) {
      goes_on = flush(stream);
      if (goes_on && stream->out_length == 0) interest(stream, EPOLL_CTL_MOD, false);
    }
    if (goes_on && stream->open) goes_on = reading(stream, &failed);
    if (!goes_on) end(stream, failed);
  }
}

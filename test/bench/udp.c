#define _GNU_SOURCE
#include "udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Noreturn void die(const char *format, ...) {
  va_list arguments;
  fprintf(stderr, "%s: ", program_invocation_short_name);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

long number_option(const char *option, const char *text, long min, long max) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
    die("%s: found \"%s\", allowed is a whole number from %ld to %ld", option, text, min, max);
  return value;
}

struct sockaddr_in address_option(const char *option, const char *text) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  char host[INET_ADDRSTRLEN];
  const char *colon = strrchr(text, ':');
  size_t length = colon ? (size_t)(colon - text) : 0;
  if (!colon || length >= sizeof host) die("%s: found \"%s\", allowed is ADDRESS:PORT over IPv4", option, text);
  memcpy(host, text, length);
  host[length] = '\0';
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
    die("%s: found the address \"%s\", allowed is an IPv4 address", option, host);
  address.sin_port = htons((uint16_t)number_option(option, colon + 1, 1, 65535));
  return address;
}

int open_socket(const struct sockaddr_in *local) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket: %s", strerror(errno));
  /* FORCE passes the system's limit and needs CAP_NET_ADMIN; without it the limit is what we get. */
  int size = 8 << 20;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0)
    die("receive buffer of %d bytes: %s", size, strerror(errno));
  if (bind(fd, (const struct sockaddr *)local, sizeof *local) != 0)
    die("cannot bind udp %s:%u: %s", inet_ntoa(local->sin_addr), ntohs(local->sin_port), strerror(errno));
  return fd;
}

int receive(int fd, struct inbox *inbox, int flags) {
  for (int i = 0; i < BATCH; i++) {
    inbox->parts[i] = (struct iovec){inbox->data[i], DATAGRAM};
    inbox->headers[i].msg_hdr = (struct msghdr){
        .msg_name = &inbox->from[i],
        .msg_namelen = sizeof inbox->from[i],
        .msg_iov = &inbox->parts[i],
        .msg_iovlen = 1,
        .msg_control = inbox->control[i],
        .msg_controllen = sizeof inbox->control[i],
    };
  }
  int count = recvmmsg(fd, inbox->headers, BATCH, flags, NULL);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR) return 0;
    die("recvmmsg: %s", strerror(errno));
  }
  for (int i = 0; i < count; i++)
    if (inbox->headers[i].msg_hdr.msg_flags & MSG_TRUNC) inbox->headers[i].msg_len = 0;
  return count;
}

int send_all(int fd, struct mmsghdr *headers, int count) {
  int at = 0, sent = 0;
  while (at < count) {
    int taken = sendmmsg(fd, headers + at, (unsigned)(count - at), 0);
    if (taken > 0) sent += taken;
    at += taken > 0 ? taken : 1;
  }
  return sent;
}

void compose(struct mmsghdr *header, struct sockaddr_in *to, struct iovec *parts, size_t count) {
  header->msg_hdr = (struct msghdr){
      .msg_name = to,
      .msg_namelen = sizeof *to,
      .msg_iov = parts,
      .msg_iovlen = count,
  };
}

int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t received_at(struct msghdr *header) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS) continue;
    struct timespec t;
    memcpy(&t, CMSG_DATA(c), sizeof t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
  }
  return clock_ns();
}

unsigned dropped(int fd) {
  uint32_t info[SK_MEMINFO_VARS] = {0};
  socklen_t length = sizeof info;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) != 0) die("SO_MEMINFO: %s", strerror(errno));
  return info[SK_MEMINFO_DROPS];
}

/* What the bench's programs share: options, sockets, batches of datagrams. */
#ifndef BENCH_UDP_H
#define BENCH_UDP_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
  BATCH = 64,
  DATAGRAM = 2048, /* longer ones are dropped: nothing the bench sends comes near */
  MAX_TARGETS = 8,
};

/* Datagrams received with one system call. */
struct inbox {
  char data[BATCH][DATAGRAM];
  char control[BATCH][64];
  struct sockaddr_in from[BATCH];
  struct iovec parts[BATCH];
  struct mmsghdr headers[BATCH];
};

/* Prints "PROGRAM: message" and exits 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The value of a numeric option; dies naming the option, what was found and what is allowed. */
long number_option(const char *option, const char *text, long min, long max);

/* The value of an option such as --listen 127.0.0.1:5060; dies naming what was found. */
struct sockaddr_in address_option(const char *option, const char *text);

/* A UDP socket with a large receive buffer; dies where it cannot be bound. */
int open_socket(const struct sockaddr_in *local);

/* Receives up to BATCH datagrams; truncated ones count with length 0. `flags` as of recvmmsg. Returns 0 where none came. */
int receive(int fd, struct inbox *inbox, int flags);

/* Sends all; a datagram that the kernel refuses is skipped. Returns how many went out. */
int send_all(int fd, struct mmsghdr *headers, int count);

/* Fills in a header of a datagram that goes to `to` and consists of `parts`. */
void compose(struct mmsghdr *header, struct sockaddr_in *to, struct iovec *parts, size_t count);

/* Nanoseconds, by the clock of SO_TIMESTAMPNS. */
int64_t clock_ns(void);

/* When the kernel had the datagram, by its SO_TIMESTAMPNS; now where it has none. */
int64_t received_at(struct msghdr *header);

/* Datagrams that the kernel threw away because this process was too slow to take them. */
unsigned dropped(int fd);

#endif

/*
 * The least a SIP proxy can do, as the bound that no proxy on this machine passes: requests get one Via line and go to the
 * next backend in turn, responses lose their first header line and go to the one client. No parsing beyond two line ends,
 * no state, no checks: not a proxy to use.
 */
#define _GNU_SOURCE
#include "udp.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* The byte after the next CRLF; NULL where there is none. */
static char *next_line(char *from, const char *end) {
  char *line_end = memmem(from, (size_t)(end - from), "\r\n", 2);
  return line_end ? line_end + 2 : NULL;
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"listen", required_argument, NULL, 'l'},
      {"backend", required_argument, NULL, 'b'},
      {"client", required_argument, NULL, 'c'},
      {0},
  };
  static struct sockaddr_in backends[MAX_TARGETS], local, client;
  int backend_count = 0;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'l') local = address_option("--listen", optarg);
    else if (option == 'c') client = address_option("--client", optarg);
    else if (option == 'b' && backend_count < MAX_TARGETS)
      backends[backend_count++] = address_option("--backend", optarg);
    else die("usage: cfwd --listen ADDRESS:PORT --client ADDRESS:PORT --backend ADDRESS:PORT (up to %d of them)", MAX_TARGETS);
  }
  if (!local.sin_port || !client.sin_port || !backend_count) die("--listen, --client and --backend are needed");

  int fd = open_socket(&local);
  char via[100];
  int via_length = snprintf(via, sizeof via, "Via: SIP/2.0/UDP %s:%u;branch=z9hG4bK0123456701234567\r\n",
                            inet_ntoa(local.sin_addr), ntohs(local.sin_port));

  static struct inbox inbox;
  static struct mmsghdr out[BATCH];
  static struct iovec parts[BATCH][3];
  for (unsigned turn = 0;;) {
    int received = receive(fd, &inbox, MSG_WAITFORONE), queued = 0;
    for (int i = 0; i < received; i++) {
      char *text = inbox.data[i], *end = text + inbox.headers[i].msg_len;
      char *headers = next_line(text, end);
      if (!headers) continue;
      struct iovec *part = parts[queued];
      part[0] = (struct iovec){text, (size_t)(headers - text)};
      if (*text == 'S') { /* "SIP/2.0 …": no request method that the bench sends begins so */
        char *rest = next_line(headers, end);
        if (!rest) continue;
        part[1] = (struct iovec){rest, (size_t)(end - rest)};
        compose(&out[queued++], &client, part, 2);
      } else {
        part[1] = (struct iovec){via, (size_t)via_length};
        part[2] = (struct iovec){headers, (size_t)(end - headers)};
        compose(&out[queued++], &backends[turn++ % (unsigned)backend_count], part, 3);
      }
    }
    send_all(fd, out, queued);
  }
}

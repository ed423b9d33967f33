/** `struct mmsghdr`, `struct iovec` of 64-bit Linux (glibc and musl differ only in padding that stays 0), as offsets in bytes. */
export const MMSGHDR = {
  name: 0,
  nameLength: 8,
  iov: 16,
  iovLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
  bytes: 64,
} as const;

export const IOVEC = { base: 0, length: 8, bytes: 16 } as const;

/** `struct cmsghdr` of 64-bit Linux: its header, then the data; each aligned to 8. */
export const CMSGHDR = { length: 0, level: 8, type: 12, data: 16 } as const;

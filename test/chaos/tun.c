// Opens a TUN interface and becomes another program, which finds it as file descriptor 3: the one thing of the wire (wire.ts) that Node cannot do itself.

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int count, char **words) {
  if (count < 3) return fprintf(stderr, "usage: tun INTERFACE PROGRAM [WORDS]\n"), 2;
  int device = open("/dev/net/tun", O_RDWR);
  if (device < 0) return perror("/dev/net/tun"), 1;
  struct ifreq wanted;
  memset(&wanted, 0, sizeof wanted);
  wanted.ifr_flags = IFF_TUN | IFF_NO_PI;
  strncpy(wanted.ifr_name, words[1], IFNAMSIZ - 1);
  if (ioctl(device, TUNSETIFF, &wanted) < 0) return perror("TUNSETIFF"), 1;
  if (device != 3 && (dup2(device, 3) < 0 || close(device) < 0)) return perror("dup2"), 1;
  execvp(words[2], words + 2);
  return perror(words[2]), 1;
}

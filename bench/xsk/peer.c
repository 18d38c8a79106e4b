/* What the AF_XDP benchmark compares with: rxdrop and l2fwd on libxdp's own rings.
 *
 *     peer rxdrop|l2fwd INTERFACE [QUEUE]
 *
 * It attaches libxdp's default program to the interface, in native mode, says "ready", and
 * treats packets until SIGTERM or SIGINT. Then it prints what it did as one line of JSON:
 *
 *     {"packets":N,"bytes":N,"seconds":S,"batch":N,"cycles":C}
 *
 * "seconds" are from the first packet to the last, "batch" is how many came at a time. "cycles" are
 * those of the time stamp counter that a packet took from looking into RX until its frame was given
 * back (rxdrop) or to TX (l2fwd), without system calls: the median over all packets of their batch's
 * share. No mean, since who waits for packets in a loop is mostly put to sleep in it, and then the
 * first batch after that took as long.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/if_link.h>
#include <x86intrin.h>

#include <xdp/libxdp.h>
#include <xdp/xsk.h>

/* FILL has more room than there are frames, since the kernel tells later that it took some from FILL
 * than that it put them into RX: else each batch would wait for that.
 */
enum { RING = 2048, FILL = 2 * RING, FRAMES = RING, FRAME_BYTES = 2048, BATCH = 64 };
/* From so many cycles on, batches are all counted as one. */
enum { CYCLES = 4096 };

struct port {
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completion;
	struct xsk_ring_cons rx;
	struct xsk_ring_prod tx;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	char *memory;
	unsigned int sending; /* frames that are in TX, or on their way out of it */
};

struct count {
	unsigned long long packets, bytes, batches, first, last;
	/* Packets by the cycles that each took in its batch. */
	unsigned long long spread[CYCLES + 1];
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static void fail(const char *what, int error)
{
	fprintf(stderr, "peer: %s: %s\n", what, strerror(error));
	exit(1);
}

static void give_frames(struct port *port)
{
	unsigned int index;

	if (xsk_ring_prod__reserve(&port->fill, FRAMES, &index) != FRAMES)
		fail("FILL", ENOSPC);
	for (unsigned int i = 0; i < FRAMES; i++)
		*xsk_ring_prod__fill_addr(&port->fill, index++) = (unsigned long long)i * FRAME_BYTES;
	xsk_ring_prod__submit(&port->fill, FRAMES);
}

static void open_port(struct port *port, const char *interface, unsigned int queue)
{
	const struct xsk_umem_config umem = {
		.fill_size = FILL,
		.comp_size = RING,
		.frame_size = FRAME_BYTES,
	};
	const struct xsk_socket_config socket = {
		.rx_size = RING,
		.tx_size = RING,
		.xdp_flags = XDP_FLAGS_DRV_MODE,
		.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
	};
	const size_t bytes = (size_t)FRAMES * FRAME_BYTES;
	int error;

	port->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (port->memory == MAP_FAILED)
		fail("memory", errno);
	error = xsk_umem__create(&port->umem, port->memory, bytes, &port->fill, &port->completion, &umem);
	if (error)
		fail("UMEM", -error);
	give_frames(port);
	error = xsk_socket__create(&port->socket, interface, queue, port->umem, &port->rx, &port->tx,
				   &socket);
	if (error)
		fail(interface, -error);
}

static void wake_receiver(struct port *port)
{
	if (xsk_ring_prod__needs_wakeup(&port->fill))
		recvfrom(xsk_socket__fd(port->socket), NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* Gives up to a batch of sent frames back to FILL. */
static void reap(struct port *port)
{
	unsigned int sent, from, to;

	if (!port->sending)
		return;
	if (xsk_ring_prod__needs_wakeup(&port->tx))
		sendto(xsk_socket__fd(port->socket), NULL, 0, MSG_DONTWAIT, NULL, 0);
	sent = xsk_ring_cons__peek(&port->completion, BATCH, &from);
	if (!sent)
		return;
	while (xsk_ring_prod__reserve(&port->fill, sent, &to) != sent)
		wake_receiver(port);
	for (unsigned int i = 0; i < sent; i++)
		*xsk_ring_prod__fill_addr(&port->fill, to++) =
			*xsk_ring_cons__comp_addr(&port->completion, from++);
	xsk_ring_prod__submit(&port->fill, sent);
	xsk_ring_cons__release(&port->completion, sent);
	port->sending -= sent;
}

static void add(struct count *count, unsigned int packets, unsigned long long before)
{
	unsigned long long after = __rdtsc();
	unsigned long long share = (after - before) / packets;

	if (!count->packets)
		count->first = before;
	count->last = after;
	count->packets += packets;
	count->batches++;
	count->spread[share < CYCLES ? share : CYCLES] += packets;
}

static unsigned int median(const struct count *count)
{
	unsigned long long below = 0;
	unsigned int cycles = 0;

	for (; cycles < CYCLES; cycles++) {
		below += count->spread[cycles];
		if (2 * below >= count->packets)
			break;
	}
	return cycles;
}

static void report(const struct count *count, double ticks_per_second)
{
	double batches = count->batches ? count->batches : 1;

	printf("{\"packets\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"batch\":%.1f,"
	       "\"cycles\":%u}\n",
	       count->packets, count->bytes, (count->last - count->first) / ticks_per_second,
	       count->packets / batches, median(count));
}

static void drop_batch(struct port *port, struct count *count)
{
	unsigned long long before = __rdtsc();
	unsigned int from, to;
	unsigned int received = xsk_ring_cons__peek(&port->rx, BATCH, &from);

	if (!received) {
		wake_receiver(port);
		return;
	}
	while (xsk_ring_prod__reserve(&port->fill, received, &to) != received)
		wake_receiver(port);
	for (unsigned int i = 0; i < received; i++) {
		const struct xdp_desc *packet = xsk_ring_cons__rx_desc(&port->rx, from++);

		count->bytes += packet->len;
		*xsk_ring_prod__fill_addr(&port->fill, to++) = packet->addr;
	}
	xsk_ring_prod__submit(&port->fill, received);
	xsk_ring_cons__release(&port->rx, received);
	add(count, received, before);
}

static void swap_addresses(char *frame)
{
	char destination[6];

	memcpy(destination, frame, 6);
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, destination, 6);
}

static void forward_batch(struct port *port, struct count *count)
{
	unsigned long long before;
	unsigned int received, from, to;

	reap(port);
	before = __rdtsc();
	received = xsk_ring_cons__peek(&port->rx, BATCH, &from);
	if (!received) {
		wake_receiver(port);
		return;
	}
	while (xsk_ring_prod__reserve(&port->tx, received, &to) != received)
		reap(port);
	for (unsigned int i = 0; i < received; i++) {
		const struct xdp_desc *packet = xsk_ring_cons__rx_desc(&port->rx, from++);
		struct xdp_desc *sent = xsk_ring_prod__tx_desc(&port->tx, to++);

		swap_addresses(xsk_umem__get_data(port->memory, packet->addr));
		count->bytes += packet->len;
		sent->addr = packet->addr;
		sent->len = packet->len;
		sent->options = 0;
	}
	xsk_ring_prod__submit(&port->tx, received);
	xsk_ring_cons__release(&port->rx, received);
	port->sending += received;
	add(count, received, before);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Takes the program off that libxdp put on for the socket. */
static void close_port(struct port *port)
{
	xsk_socket__delete(port->socket);
	xsk_umem__delete(port->umem);
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = stop };
	struct port port = {};
	static struct count count;
	unsigned long long ticks;
	double began;
	int forwards;

	if (argc < 3 || (strcmp(argv[1], "rxdrop") && strcmp(argv[1], "l2fwd"))) {
		fprintf(stderr, "usage: peer rxdrop|l2fwd INTERFACE [QUEUE]\n");
		return 2;
	}
	forwards = !strcmp(argv[1], "l2fwd");
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	/* Without a bpffs libxdp attaches the program alone, which is what is wanted, and tells. */
	libxdp_set_print(NULL);
	libbpf_set_print(NULL);
	open_port(&port, argv[2], argc > 3 ? atoi(argv[3]) : 0);
	printf("ready\n");
	fflush(stdout);

	began = now();
	ticks = __rdtsc();
	while (!stopped) {
		if (forwards)
			forward_batch(&port, &count);
		else
			drop_batch(&port, &count);
	}
	report(&count, (__rdtsc() - ticks) / (now() - began));
	close_port(&port);
	return 0;
}

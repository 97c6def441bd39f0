/*
 * The firmware as a process on this machine: the serial interface is stdin and stdout.
 *
 *   firmware [--baud N] [--ring BYTES] [--tty PATH]
 *
 * --baud paces both directions like a line of N baud (8N1: ten bits a byte); without it bytes pass
 * at once. --ring is the receive ring: bytes that arrive while it is full are lost and counted, as
 * on a chip (only with --baud; an unpaced pipe holds the sender back instead). --tty uses a
 * terminal device in raw mode in place of stdin and stdout. The process ends with its input.
 */
#define _DEFAULT_SOURCE /* cfmakeraw, clock_gettime */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "port.h"

#define RING_MAX (1U << 20)
#define NS_PER_SECOND 1000000000ULL
#define BITS_PER_BYTE 10ULL

static struct {
    char **arguments;
    int in;
    int out;
    uint32_t baud;              /* 0: not paced */
    uint32_t ring_bytes;
    uint64_t start_ns;
    uint64_t line_ns;           /* until when the receiving line was used */
    uint64_t sent_ns;           /* when the transmission under way ends */
    const uint8_t *sending;
    size_t sending_bytes;
    uint32_t overruns;
    uint32_t ring_from;
    uint32_t ring_used;
} port;

static uint8_t ring[RING_MAX];
static axr_port_info_t info = {
    .board = "host",
    .core = "host",
    .time_source = "monotonic",
    .core_hz = 0,
    .cycle_hz = NS_PER_SECOND,
};

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void stop(const char *text, int status)
{
    (void)fprintf(stderr, "firmware: %s\n", text);
    exit(status);
}

const axr_port_info_t *axr_port_info(void)
{
    return &info;
}

axr_boot_t axr_port_boot(void)
{
    axr_boot_t boot;
    memset(&boot, 0, sizeof boot);
    return boot;
}

/* ---- receiving ---- */

static bool input_waits(int timeout_ms)
{
    struct pollfd set = {.fd = port.in, .events = POLLIN};
    return poll(&set, 1, timeout_ms) > 0;
}

static size_t read_input(uint8_t *to, size_t capacity)
{
    ssize_t got = read(port.in, to, capacity);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
        exit(0);
    }
    return got > 0 ? (size_t)got : 0U;
}

static uint64_t byte_ns(void)
{
    return BITS_PER_BYTE * NS_PER_SECOND / port.baud;
}

/* Take what has crossed the line since the last call into the ring, dropping what does not fit. */
static void run_line(void)
{
    uint64_t now = monotonic_ns();
    while (input_waits(0)) {
        uint8_t arrived[256];
        uint64_t crossed = (now - port.line_ns) / byte_ns();
        if (crossed == 0U) {
            return;
        }
        size_t got = read_input(arrived, crossed < sizeof arrived ? crossed : sizeof arrived);
        port.line_ns += got * byte_ns();
        for (size_t i = 0; i < got; i++) {
            if (port.ring_used == port.ring_bytes) {
                port.overruns++;
            } else {
                ring[(port.ring_from + port.ring_used++) % port.ring_bytes] = arrived[i];
            }
        }
    }
    port.line_ns = now; /* the line was idle */
}

size_t axr_port_receive(uint8_t *to, size_t capacity)
{
    if (port.baud == 0U) {
        return input_waits(0) ? read_input(to, capacity) : 0U;
    }
    run_line();
    size_t taken = 0;
    for (; taken < capacity && port.ring_used != 0U; taken++) {
        to[taken] = ring[port.ring_from];
        port.ring_from = (port.ring_from + 1U) % port.ring_bytes;
        port.ring_used--;
    }
    return taken;
}

uint32_t axr_port_receive_overruns(void)
{
    return port.overruns;
}

uint32_t axr_port_receive_errors(void)
{
    return 0;
}

/* ---- sending ---- */

static void push_output(void)
{
    while (port.sending_bytes != 0U) {
        ssize_t done = write(port.out, port.sending, port.sending_bytes);
        if (done < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (done < 0) {
            exit(0);
        }
        port.sending += done;
        port.sending_bytes -= (size_t)done;
    }
}

void axr_port_transmit(const uint8_t *data, size_t size)
{
    port.sending = data;
    port.sending_bytes = size;
    if (port.baud != 0U) {
        port.sent_ns = monotonic_ns() + size * byte_ns();
    } else {
        push_output();
    }
}

/* A paced message appears as a whole when its last bit has left. */
bool axr_port_transmit_busy(void)
{
    if (port.sending_bytes != 0U && (port.baud == 0U || monotonic_ns() >= port.sent_ns)) {
        push_output();
    }
    return port.sending_bytes != 0U;
}

bool axr_port_set_baud(uint32_t baud)
{
    if (port.baud == 0U || baud == 0U || baud > info.max_baud) {
        return false;
    }
    port.baud = baud;
    port.line_ns = monotonic_ns();
    return true;
}

/* ---- time and control ---- */

uint64_t axr_port_cycles(void)
{
    return monotonic_ns() - port.start_ns;
}

uint64_t axr_port_micros(void)
{
    return axr_port_cycles() / 1000U;
}

void axr_port_idle(void)
{
    if (port.baud != 0U || port.sending_bytes != 0U) {
        struct timespec moment = {0, 50000};
        (void)nanosleep(&moment, NULL);
    } else {
        (void)input_waits(1);
    }
}

_Noreturn void axr_port_reset(void)
{
    (void)execv("/proc/self/exe", port.arguments);
    stop("the process cannot restart itself", 1);
    abort();
}

/* ---- entry ---- */

static void open_terminal(const char *path)
{
    struct termios settings;
    port.in = open(path, O_RDWR | O_NOCTTY);
    if (port.in < 0 || tcgetattr(port.in, &settings) != 0) {
        stop("--tty: not a terminal device that can be opened", 2);
    }
    cfmakeraw(&settings);
    (void)tcsetattr(port.in, TCSANOW, &settings);
    port.out = port.in;
}

static uint32_t number(const char *text, uint32_t least, uint32_t most)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most) {
        stop("a number is out of range", 2);
    }
    return (uint32_t)value;
}

int main(int count, char **arguments)
{
    port.arguments = arguments;
    port.in = STDIN_FILENO;
    port.out = STDOUT_FILENO;
    port.ring_bytes = 16384;
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count) {
            stop("an option lacks its value", 2);
        }
        if (strcmp(arguments[i], "--baud") == 0) {
            port.baud = number(arguments[i + 1], 300, 100000000);
        } else if (strcmp(arguments[i], "--ring") == 0) {
            port.ring_bytes = number(arguments[i + 1], 512, RING_MAX);
        } else if (strcmp(arguments[i], "--tty") == 0) {
            open_terminal(arguments[i + 1]);
        } else {
            stop("unknown option; expected --baud N, --ring BYTES, --tty PATH", 2);
        }
    }
    (void)fcntl(port.out, F_SETFL, fcntl(port.out, F_GETFL) | O_NONBLOCK);
    info.receive_bytes = port.ring_bytes;
    info.default_baud = port.baud;
    info.max_baud = port.baud != 0U ? 8000000U : 0U;
    port.start_ns = monotonic_ns();
    port.line_ns = port.start_ns;
    axr_main();
}

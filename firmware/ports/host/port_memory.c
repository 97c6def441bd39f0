#include "port_memory.h"

#include <setjmp.h>
#include <string.h>

#include "axr_command.h"
#include "port.h"

#define QUEUE_BYTES (1U << 20)
#define NS_PER_MS 1000000ULL
#define BITS_PER_BYTE 10ULL
#define NEVER UINT64_MAX

typedef struct queue {
    uint32_t from;
    uint32_t used;
    uint8_t bytes[QUEUE_BYTES];
} queue_t;

static struct {
    uint64_t now_ns;
    uint64_t line_ns;       /* until when the receiving line was used */
    uint64_t sent_ns;       /* when the transmission under way ends, or NEVER */
    const uint8_t *sending;
    size_t sending_bytes;
    uint32_t baud;
    uint32_t host_baud;
    uint32_t ring_bytes;
    uint32_t layer_ns;
    uint32_t overruns;
    uint32_t line_errors;
    jmp_buf restart;
} port;

static queue_t line;        /* sent by the other end, not yet arrived */
static queue_t ring;        /* arrived, not yet read */
static queue_t sent;        /* left the device */
static axr_port_info_t info = {
    .board = "host",
    .core = "host",
    .time_source = "virtual",
    .cycle_hz = 1000000000U,
};

static bool push(queue_t *queue, uint8_t byte, uint32_t capacity)
{
    if (queue->used == capacity) {
        return false;
    }
    queue->bytes[(queue->from + queue->used++) % QUEUE_BYTES] = byte;
    return true;
}

static uint8_t pop(queue_t *queue)
{
    uint8_t byte = queue->bytes[queue->from];
    queue->from = (queue->from + 1U) % QUEUE_BYTES;
    queue->used--;
    return byte;
}

static uint64_t byte_ns(void)
{
    return port.baud == 0U ? 0U : BITS_PER_BYTE * 1000000000ULL / port.baud;
}

/* A byte read at the wrong rate: wrong, but the same in every run. */
static uint8_t garble(uint8_t byte)
{
    return (uint8_t)((byte * 167U + 13U) | 1U);
}

/* What has arrived by now moves to the ring; a finished transmission to the other end. */
static void settle(void)
{
    while (line.used != 0U && port.line_ns + byte_ns() <= port.now_ns) {
        bool clean = port.baud == port.host_baud;
        uint8_t byte = pop(&line);
        port.line_ns += byte_ns();
        port.line_errors += clean ? 0U : 1U;
        if (!push(&ring, clean ? byte : garble(byte), port.ring_bytes)) {
            port.overruns++;
        }
    }
    if (port.sending_bytes != 0U && port.sent_ns <= port.now_ns) {
        bool clean = port.baud == port.host_baud;
        for (size_t i = 0; i < port.sending_bytes; i++) {
            uint8_t byte = port.sending[i];
            (void)push(&sent, clean ? byte : garble(byte), QUEUE_BYTES);
        }
        port.sending_bytes = 0;
        port.sent_ns = NEVER;
    }
}

static uint64_t next_event(void)
{
    uint64_t next = port.now_ns + NS_PER_MS;
    if (line.used != 0U && port.line_ns + byte_ns() < next) {
        next = port.line_ns + byte_ns();
    }
    return port.sent_ns < next ? port.sent_ns : next;
}

/* ---- what the host calls ---- */

void axr_memory_start(uint32_t baud, uint32_t ring_bytes, uint32_t layer_ns)
{
    memset(&port, 0, sizeof port);
    line.used = 0;
    ring.used = 0;
    sent.used = 0;
    port.sent_ns = NEVER;
    port.baud = baud;
    port.host_baud = baud;
    port.ring_bytes = ring_bytes < QUEUE_BYTES ? ring_bytes : QUEUE_BYTES;
    port.layer_ns = layer_ns;
    info.receive_bytes = port.ring_bytes;
    info.default_baud = baud;
    info.max_baud = baud == 0U ? 0U : 8000000U;
    axr_command_start();
}

void axr_memory_reset(void)
{
    port.baud = info.default_baud;
    port.sending_bytes = 0;
    port.sent_ns = NEVER;
    ring.used = 0;
    axr_command_start();
}

void axr_memory_host_baud(uint32_t baud)
{
    port.host_baud = baud;
}

uint32_t axr_memory_feed(const uint8_t *data, uint32_t bytes)
{
    if (line.used == 0U) {
        port.line_ns = port.now_ns;
    }
    uint32_t taken = 0;
    while (taken < bytes && push(&line, data[taken], QUEUE_BYTES)) {
        taken++;
    }
    return taken;
}

uint64_t axr_memory_run(uint64_t until_ns)
{
    if (setjmp(port.restart) != 0) {
        axr_memory_reset();
    }
    settle();
    while (sent.used == 0U && port.now_ns < until_ns) {
        if (!axr_command_step()) {
            uint64_t next = next_event();
            port.now_ns = next < until_ns ? next : until_ns;
        }
        settle();
    }
    return port.now_ns;
}

uint32_t axr_memory_take(uint8_t *to, uint32_t capacity)
{
    uint32_t taken = 0;
    while (taken < capacity && sent.used != 0U) {
        to[taken++] = pop(&sent);
    }
    return taken;
}

/* ---- what the firmware calls ---- */

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

size_t axr_port_receive(uint8_t *to, size_t capacity)
{
    settle();
    size_t taken = 0;
    while (taken < capacity && ring.used != 0U) {
        to[taken++] = pop(&ring);
    }
    return taken;
}

void axr_port_transmit(const uint8_t *data, size_t size)
{
    port.sending = data;
    port.sending_bytes = size;
    port.sent_ns = port.now_ns + size * byte_ns();
    settle();
}

bool axr_port_transmit_busy(void)
{
    settle();
    return port.sending_bytes != 0U;
}

bool axr_port_set_baud(uint32_t baud)
{
    if (baud == 0U || baud > info.max_baud) {
        return false;
    }
    port.baud = baud;
    port.line_ns = port.now_ns;
    return true;
}

uint32_t axr_port_receive_overruns(void)
{
    return port.overruns;
}

uint32_t axr_port_receive_errors(void)
{
    return port.line_errors;
}

uint64_t axr_port_cycles(void)
{
    port.now_ns += port.layer_ns;
    return port.now_ns;
}

uint64_t axr_port_micros(void)
{
    return port.now_ns / 1000U;
}

void axr_port_idle(void)
{
    port.now_ns = next_event();
    settle();
}

_Noreturn void axr_port_reset(void)
{
    longjmp(port.restart, 1);
}

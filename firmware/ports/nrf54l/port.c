/*
 * Serial interface, time and identity of nRF54L15 and nRF54LM20A/B without an operating system.
 *
 * Reception needs neither interrupts nor the core: the UART's DMA moves one byte per transfer and
 * starts again by itself, its pointer advancing (the array list of EasyDMA), and a hardware timer
 * counts finished transfers. One transfer per byte, because EasyDMA on this family collects bytes
 * to words, and a byte it holds back is not in memory yet; Zephyr's UARTE driver (reception with a
 * timer) works the same way. The core reads the counter, takes what is new, and leads the pointer
 * back to the start of the ring when half of it is used.
 *
 * The ring is the last thing in RAM: if the core stays away too long, the DMA runs into the end of
 * memory and stops with a bus error instead of writing over something else.
 *
 * Owns the ring and the counters. Transmission takes the caller's buffer.
 */
#include "port.h"

#include <string.h>

#include "registers.h"
#include "start.h"

#define GUARANTEED_BYTES AXR_BOARD_RECEIVE_BYTES
#define RING_BYTES (2U * GUARANTEED_BYTES)
#define CORE_HZ 128000000U
#define DEFAULT_BAUD 115200U
#define STOP_WAIT_LOOPS 100000U

typedef struct baud_rate {
    uint32_t baud;
    uint32_t divider; /* values of the BAUDRATE register, from the SVD */
} baud_rate_t;

static const baud_rate_t baud_rates[] = {
    {9600U, 0x00275000U},   {19200U, 0x004EA000U},  {38400U, 0x009D0000U},
    {57600U, 0x00EB0000U},  {115200U, 0x01D60000U}, {230400U, 0x03B00000U},
    {250000U, 0x04000000U}, {460800U, 0x07400000U}, {921600U, 0x0F000000U},
    {1000000U, 0x10000000U},
};

/* Counts are totals of received bytes since boot. Bytes below `wrap` lie at ring + count - before,
 * the others at ring + count - base; without a wrap under way `wrap` equals `base`. */
typedef struct reception {
    uint32_t read;
    uint32_t base;
    uint32_t before;
    uint32_t wrap;
    uint32_t overruns;
    uint32_t errors;
    uint32_t byte_cycles; /* time of one byte on the line */
} reception_t;

static uint8_t ring[RING_BYTES] __attribute__((section(".axr.ring"), aligned(16)));
static reception_t reception;
static bool receiving;
static bool transmitting;
static axr_port_info_t info = {
    .board = AXR_BOARD_NAME,
    .core = "cortex-m33",
    .time_source = "dwt",
    .core_hz = CORE_HZ,
    .cycle_hz = CORE_HZ,
    .receive_bytes = GUARANTEED_BYTES,
    .default_baud = DEFAULT_BAUD,
    .max_baud = 1000000U,
};

static uint32_t received_count(void)
{
    AXR_REG(AXR_REG_TIMER_TASKS_CAPTURE0) = 1U;
    return AXR_REG(AXR_REG_TIMER_CC0);
}

static uint32_t cycle_counter(void)
{
    return AXR_REG(AXR_REG_DWT_CYCCNT);
}

static void stop_reception(void)
{
    if (!receiving) {
        return;
    }
    receiving = false;
    AXR_REG(AXR_REG_UARTE_SHORTS) = AXR_UARTE_SHORT_TX_END_STOP;
    AXR_REG(AXR_REG_UARTE_EVENTS_RXTO) = 0U;
    AXR_REG(AXR_REG_UARTE_TASKS_DMA_RX_STOP) = 1U;
    for (uint32_t i = 0U; i < STOP_WAIT_LOOPS; ++i) {
        if (AXR_REG(AXR_REG_UARTE_EVENTS_RXTO) != 0U) {
            return;
        }
    }
}

/* Bytes on the line meanwhile are lost, as is what was not read. */
static void restart_reception(void)
{
    stop_reception();
    AXR_REG(AXR_REG_UARTE_EVENTS_DMA_RX_BUSERROR) = 0U;
    AXR_REG(AXR_REG_UARTE_DMA_RX_PTR) = (uint32_t)ring;
    AXR_REG(AXR_REG_UARTE_DMA_RX_MAXCNT) = 1U;
    reception.read = received_count();
    reception.base = reception.read;
    reception.before = reception.read;
    reception.wrap = reception.read;
    AXR_REG(AXR_REG_UARTE_SHORTS) = AXR_UARTE_SHORT_TX_END_STOP | AXR_UARTE_SHORT_RX_END_START;
    AXR_REG(AXR_REG_UARTE_TASKS_DMA_RX_START) = 1U;
    receiving = true;
}

/* The pointer may be written only between two transfers' starts. Right after one started there is
 * a whole byte time left; on a quiet line any moment is right unless a byte ends in it, which the
 * checks around the write find out. The transfer under way keeps its old address. */
static void lead_back(void)
{
    const uint32_t before = received_count();
    const uint32_t start = cycle_counter();
    uint32_t count = before;
    while (count == before && cycle_counter() - start < 2U * reception.byte_cycles) {
        count = received_count();
    }
    AXR_REG(AXR_REG_UARTE_EVENTS_DMA_RX_READY) = 0U;
    count = received_count();
    AXR_REG(AXR_REG_UARTE_DMA_RX_PTR) = (uint32_t)ring;
    if (received_count() != count || AXR_REG(AXR_REG_UARTE_EVENTS_DMA_RX_READY) != 0U) {
        ++reception.overruns;
        restart_reception();
        return;
    }
    reception.before = reception.base;
    reception.wrap = count + 1U;
    reception.base = count + 1U;
}

/* True when bytes were written over before they were read. */
static bool overrun(uint32_t count)
{
    if ((int32_t)(count - reception.base) < 0) {
        return false;
    }
    const uint32_t written = count - reception.base;
    const bool old_left = (int32_t)(reception.read - reception.wrap) < 0;
    return written > (old_left ? reception.read - reception.before : RING_BYTES);
}

static void count_line_errors(void)
{
    if (AXR_REG(AXR_REG_UARTE_EVENTS_ERROR) == 0U) {
        return;
    }
    AXR_REG(AXR_REG_UARTE_EVENTS_ERROR) = 0U;
    const uint32_t source = AXR_REG(AXR_REG_UARTE_ERRORSRC);
    AXR_REG(AXR_REG_UARTE_ERRORSRC) = source; /* written ones clear */
    if ((source & AXR_UARTE_OVERRUN) != 0U) {
        ++reception.overruns;
    }
    if ((source & ~AXR_UARTE_OVERRUN) != 0U) {
        ++reception.errors;
    }
}

/* One run of bytes that lie in a row. */
static size_t take(uint8_t *to, size_t capacity, uint32_t count)
{
    const bool old = (int32_t)(reception.read - reception.wrap) < 0;
    const uint32_t end = old && (int32_t)(count - reception.wrap) > 0 ? reception.wrap : count;
    const uint32_t offset = reception.read - (old ? reception.before : reception.base);
    const size_t there = end - reception.read;
    const size_t size = there < capacity ? there : capacity;
    memcpy(to, ring + offset, size);
    reception.read += (uint32_t)size;
    return size;
}

size_t axr_port_receive(uint8_t *to, size_t capacity)
{
    (void)axr_port_cycles(); /* called often: keeps the 64-bit count whole */
    const uint32_t count = received_count();
    const bool has_stopped = AXR_REG(AXR_REG_UARTE_EVENTS_DMA_RX_BUSERROR) != 0U;
    if (count == reception.read && !has_stopped) {
        return 0U;
    }
    count_line_errors();
    if (has_stopped || overrun(count)) {
        ++reception.overruns;
        restart_reception();
        return 0U;
    }
    size_t size = take(to, capacity, count);
    if (size < capacity && reception.read != count) {
        size += take(to + size, capacity - size, count);
    }
    const bool old_left = (int32_t)(reception.read - reception.wrap) < 0;
    if (!old_left && reception.read - reception.base >= GUARANTEED_BYTES) {
        lead_back();
    }
    return size;
}

void axr_port_transmit(const uint8_t *data, size_t size)
{
    AXR_REG(AXR_REG_UARTE_EVENTS_TXSTOPPED) = 0U;
    AXR_REG(AXR_REG_UARTE_DMA_TX_PTR) = (uint32_t)data;
    AXR_REG(AXR_REG_UARTE_DMA_TX_MAXCNT) = (uint32_t)size;
    __asm volatile("dmb" ::: "memory");
    AXR_REG(AXR_REG_UARTE_TASKS_DMA_TX_START) = 1U;
    transmitting = true;
}

/* The transmitter stops by itself after the last bit of the last byte. */
bool axr_port_transmit_busy(void)
{
    if (transmitting && AXR_REG(AXR_REG_UARTE_EVENTS_TXSTOPPED) != 0U) {
        transmitting = false;
    }
    return transmitting;
}

bool axr_port_set_baud(uint32_t baud)
{
    for (size_t i = 0U; i < sizeof baud_rates / sizeof baud_rates[0]; ++i) {
        if (baud_rates[i].baud == baud) {
            stop_reception();
            AXR_REG(AXR_REG_UARTE_BAUDRATE) = baud_rates[i].divider;
            reception.byte_cycles = CORE_HZ / baud * 10U;
            restart_reception();
            return true;
        }
    }
    return false;
}

uint32_t axr_port_receive_overruns(void)
{
    return reception.overruns;
}

uint32_t axr_port_receive_errors(void)
{
    return reception.errors;
}

uint64_t axr_port_cycles(void)
{
    static uint64_t total;
    static uint32_t last;
    const uint32_t now = cycle_counter();
    total += now - last;
    last = now;
    return total;
}

uint64_t axr_port_micros(void)
{
    return axr_port_cycles() / (CORE_HZ / 1000000U);
}

/* Awake all the time: nothing interrupts this firmware, and it is measured, not battery-powered.
 * The emulated board stops here when no byte is on its way. */
void axr_port_idle(void)
{
    __asm volatile("" ::: "memory");
}

const axr_port_info_t *axr_port_info(void)
{
    return &info;
}

static void read_identity(void)
{
    const uint32_t words[2] = {AXR_REG(AXR_REG_FICR_DEVICEID0), AXR_REG(AXR_REG_FICR_DEVICEID1)};
    memcpy(info.unique_id, words, sizeof words);
}

static void set_up_pins(void)
{
    AXR_REG(AXR_BOARD_TX_OUTSET) = 1U << AXR_BOARD_TX_PIN;
    AXR_REG(AXR_BOARD_TX_CNF) = AXR_PIN_OUTPUT;
    AXR_REG(AXR_BOARD_RX_CNF) = AXR_PIN_INPUT_PULLUP;
#ifdef AXR_BOARD_RTS_PIN
    /* No flow control here; low tells the debug probe that it may always send. */
    AXR_REG(AXR_BOARD_RTS_OUTCLR) = 1U << AXR_BOARD_RTS_PIN;
    AXR_REG(AXR_BOARD_RTS_CNF) = AXR_PIN_OUTPUT;
#endif
    AXR_REG(AXR_REG_UARTE_PSEL_TXD) = AXR_BOARD_TX_PSEL;
    AXR_REG(AXR_REG_UARTE_PSEL_RXD) = AXR_BOARD_RX_PSEL;
}

static void count_received_bytes(void)
{
    AXR_REG(AXR_REG_TIMER_MODE) = AXR_TIMER_COUNTER;
    AXR_REG(AXR_REG_TIMER_BITMODE) = AXR_TIMER_32_BITS;
    AXR_REG(AXR_REG_TIMER_TASKS_CLEAR) = 1U;
    AXR_REG(AXR_REG_TIMER_TASKS_START) = 1U;
    AXR_REG(AXR_REG_UARTE_PUBLISH_DMA_RX_END) = AXR_DPPI_ENABLE | AXR_DPPI_CHANNEL;
    AXR_REG(AXR_REG_TIMER_SUBSCRIBE_COUNT) = AXR_DPPI_ENABLE | AXR_DPPI_CHANNEL;
    AXR_REG(AXR_REG_DPPIC_CHENSET) = 1U << AXR_DPPI_CHANNEL;
}

void axr_nrf54l_port_start(void)
{
    AXR_REG(AXR_REG_DEBUG_DEMCR) = AXR_REG(AXR_REG_DEBUG_DEMCR) | AXR_DEMCR_TRACE;
    AXR_REG(AXR_REG_DWT_CYCCNT) = 0U;
    AXR_REG(AXR_REG_DWT_CTRL) = AXR_REG(AXR_REG_DWT_CTRL) | 1U;
    read_identity();
    set_up_pins();
    count_received_bytes();
    AXR_REG(AXR_REG_UARTE_CONFIG) = AXR_UARTE_8N1;
    AXR_REG(AXR_REG_UARTE_DMA_RX_LIST) = AXR_UARTE_LIST_ARRAY;
    AXR_REG(AXR_REG_UARTE_DMA_RX_TERMINATEONBUSERROR) = 1U;
    AXR_REG(AXR_REG_UARTE_ENABLE) = AXR_UARTE_ENABLED;
    (void)axr_port_set_baud(DEFAULT_BAUD);
}

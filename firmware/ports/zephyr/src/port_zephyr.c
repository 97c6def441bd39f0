/*
 * The port for Zephyr: serial interface by the asynchronous UART API, cycles by the core's counter.
 *
 * Reception runs in the driver's interrupt: two DMA buffers take turns, and what they hold is
 * copied into a ring. Owns the ring, the DMA buffers and the fault record, which a reset keeps.
 */
#include "port.h"

#include <string.h>

#include <cmsis_core.h>
#include <zephyr/device.h>
#include <zephyr/drivers/hwinfo.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/fatal.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/reboot.h>
#include <zephyr/sys/ring_buffer.h>

#define RECORD_MAGIC 0x54464158UL
#define DMA_BYTES 1024
#define IDLE_US 200
#define CHANGE_TIMEOUT_MS 20
#define CORE_HZ 128000000U

typedef struct {
    uint32_t magic;
    axr_fault_t fault;
} fault_record_t;

static const struct device *const uart = DEVICE_DT_GET(DT_CHOSEN(axonrig_link));
static __noinit fault_record_t record;
static uint32_t reset_reason;

RING_BUF_DECLARE(ring, CONFIG_AXR_RECEIVE_BYTES);
static uint8_t dma_buffers[2][DMA_BYTES] __aligned(4);
static uint8_t next_dma_buffer;
static atomic_t overruns;
static atomic_t line_errors;
static atomic_t transmitting;
static atomic_t keep_receiving;
static K_SEM_DEFINE(wake, 0, 1);
static K_SEM_DEFINE(stopped, 0, 1);

static axr_port_info_t info = {
    .board = AXR_BOARD_NAME,
    .core = "cortex-m33",
    .time_source = "dwt",
    .core_hz = CORE_HZ,
    .cycle_hz = CORE_HZ,
    .receive_bytes = CONFIG_AXR_RECEIVE_BYTES,
    .default_baud = DT_PROP(DT_CHOSEN(axonrig_link), current_speed),
    .max_baud = 1000000U,
};

static void start_reception(void)
{
    next_dma_buffer = 1U;
    (void)uart_rx_enable(uart, dma_buffers[0], DMA_BYTES, IDLE_US);
}

static void store(const uint8_t *data, size_t size)
{
    const uint32_t stored = ring_buf_put(&ring, data, (uint32_t)size);
    if (stored < size) {
        (void)atomic_add(&overruns, (atomic_val_t)(size - stored));
    }
}

static void on_event(const struct device *device, struct uart_event *event, void *user)
{
    ARG_UNUSED(user);
    switch (event->type) {
    case UART_RX_RDY:
        store(event->data.rx.buf + event->data.rx.offset, event->data.rx.len);
        break;
    case UART_RX_BUF_REQUEST:
        (void)uart_rx_buf_rsp(device, dma_buffers[next_dma_buffer], DMA_BYTES);
        next_dma_buffer ^= 1U;
        break;
    case UART_RX_STOPPED:
        if ((event->data.rx_stop.reason & UART_ERROR_OVERRUN) != 0) {
            (void)atomic_inc(&overruns);
        } else {
            (void)atomic_inc(&line_errors);
        }
        break;
    case UART_RX_DISABLED:
        k_sem_give(&stopped);
        if (atomic_get(&keep_receiving) != 0) {
            start_reception();
        }
        break;
    case UART_TX_DONE:
    case UART_TX_ABORTED:
        (void)atomic_set(&transmitting, 0);
        break;
    default:
        break;
    }
    k_sem_give(&wake);
}

const axr_port_info_t *axr_port_info(void)
{
    return &info;
}

axr_boot_t axr_port_boot(void)
{
    axr_boot_t boot = {.reset_reason = reset_reason};
    if (record.magic == RECORD_MAGIC) {
        boot.fault = record.fault;
    }
    record.magic = 0U;
    return boot;
}

/* Zephyr's last word before a halt: keep what is known and start again. */
void k_sys_fatal_error_handler(unsigned int reason, const struct arch_esf *frame)
{
    static const uint32_t causes[] = {
        [K_ERR_CPU_EXCEPTION] = AXR_FAULT_HARD,
        [K_ERR_SPURIOUS_IRQ] = AXR_FAULT_PANIC,
        [K_ERR_STACK_CHK_FAIL] = AXR_FAULT_STACK,
        [K_ERR_KERNEL_OOPS] = AXR_FAULT_PANIC,
        [K_ERR_KERNEL_PANIC] = AXR_FAULT_PANIC,
    };
    record.fault = (axr_fault_t){
        .cause = reason < ARRAY_SIZE(causes) ? causes[reason] : AXR_FAULT_HARD,
        .pc = frame != NULL ? frame->basic.pc : 0U,
        .lr = frame != NULL ? frame->basic.lr : 0U,
        .psr = frame != NULL ? frame->basic.xpsr : 0U,
        .status = SCB->CFSR,
        .address = SCB->BFAR,
    };
    record.magic = RECORD_MAGIC;
    sys_reboot(SYS_REBOOT_COLD);
}

size_t axr_port_receive(uint8_t *to, size_t capacity)
{
    (void)axr_port_cycles(); /* called often: keeps the 64-bit count whole */
    return ring_buf_get(&ring, to, (uint32_t)capacity);
}

void axr_port_transmit(const uint8_t *data, size_t size)
{
    (void)atomic_set(&transmitting, 1);
    if (uart_tx(uart, data, size, SYS_FOREVER_US) != 0) {
        (void)atomic_set(&transmitting, 0);
        (void)atomic_inc(&line_errors);
    }
}

bool axr_port_transmit_busy(void)
{
    return atomic_get(&transmitting) != 0;
}

bool axr_port_set_baud(uint32_t baud)
{
    struct uart_config config;
    if (baud > info.max_baud || uart_config_get(uart, &config) != 0) {
        return false;
    }
    (void)atomic_set(&keep_receiving, 0);
    k_sem_reset(&stopped);
    if (uart_rx_disable(uart) == 0) {
        (void)k_sem_take(&stopped, K_MSEC(CHANGE_TIMEOUT_MS));
    }
    config.baudrate = baud;
    const bool changed = uart_configure(uart, &config) == 0;
    (void)atomic_set(&keep_receiving, 1);
    start_reception();
    return changed;
}

uint32_t axr_port_receive_overruns(void)
{
    return (uint32_t)atomic_get(&overruns);
}

uint32_t axr_port_receive_errors(void)
{
    return (uint32_t)atomic_get(&line_errors);
}

uint64_t axr_port_cycles(void)
{
    static uint64_t total;
    static uint32_t last;
    const uint32_t now = DWT->CYCCNT;
    total += now - last;
    last = now;
    return total;
}

uint64_t axr_port_micros(void)
{
    return k_ticks_to_us_floor64((uint64_t)k_uptime_ticks());
}

void axr_port_idle(void)
{
    (void)k_sem_take(&wake, K_MSEC(1));
}

_Noreturn void axr_port_reset(void)
{
    sys_reboot(SYS_REBOOT_COLD);
    CODE_UNREACHABLE;
}

uint32_t axr_port_slot_bytes(void)
{
    return 0U;
}

const uint8_t *axr_port_slot_memory(void)
{
    return NULL;
}

bool axr_port_slot_erase(uint32_t size)
{
    ARG_UNUSED(size);
    return false;
}

bool axr_port_slot_write(uint32_t offset, const uint8_t *data, uint32_t size)
{
    ARG_UNUSED(offset);
    ARG_UNUSED(data);
    ARG_UNUSED(size);
    return false;
}

int main(void)
{
    reset_reason = NRF_RESET->RESETREAS;
    NRF_RESET->RESETREAS = reset_reason; /* written ones clear */
    CoreDebug->DEMCR |= CoreDebug_DEMCR_TRCENA_Msk;
    DWT->CYCCNT = 0U;
    DWT->CTRL |= DWT_CTRL_CYCCNTENA_Msk;
    (void)hwinfo_get_device_id(info.unique_id, sizeof info.unique_id);
    if (!device_is_ready(uart) || uart_callback_set(uart, on_event, NULL) != 0) {
        k_panic();
    }
    (void)atomic_set(&keep_receiving, 1);
    start_reception();
    axr_main();
}

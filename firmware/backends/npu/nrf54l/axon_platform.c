/*
 * What Nordic's driver asks of its platform, for the nrf54l port: power, waiting, and no printing.
 *
 * Nothing interrupts this firmware. The NPU's interrupt stays disabled and is looked for in the
 * interrupt controller, which notes it all the same: while the NPU works, the core reads neither
 * the NPU nor memory that it uses. Only synchronous inferences are run, so nothing is ever queued
 * for the driver. RRAM, from which the NPU reads, stays powered because the core never sleeps.
 *
 * Owns the interlayer and psum buffers and the reservation of the NPU.
 */
#include "axon/nrf_axon_platform.h"
#include "drivers/axon/nrf_axon_platform_interface.h"

#include "npu_model.h"
#include "registers.h"
#include "start.h"

/* Nordic's Arm library is built with enums as small as their values allow, and so must we be. */
_Static_assert(sizeof(nrf_axon_result_e) == 2U, "build with -fshort-enums");

#define CORE_HZ 128000000U

#if NRF_AXON_INTERLAYER_BUFFER_SIZE
__attribute__((section(".bss.npu"), aligned(16))) uint32_t
    nrf_axon_interlayer_buffer[NRF_AXON_INTERLAYER_BUFFER_SIZE / sizeof(uint32_t)];
#endif
#if NRF_AXON_PSUM_BUFFER_SIZE
__attribute__((section(".bss.npu"), aligned(16))) uint32_t
    nrf_axon_psum_buffer[NRF_AXON_PSUM_BUFFER_SIZE / sizeof(uint32_t)];
#endif

static bool has_power;
static bool driver_event;
static bool user_event;

/* ---- power: on while the NPU is reserved ---- */

nrf_axon_result_e nrf_axon_platform_init(void)
{
    AXR_REG(AXR_REG_AXONS_ENABLE) = 1U;
    const nrf_axon_result_e result = nrf_axon_driver_init((void *)AXR_AXONS_BASE);
    AXR_REG(AXR_REG_AXONS_ENABLE) = 0U;
    return result;
}

bool nrf_axon_platform_reserve_for_user(void)
{
    if (!has_power) {
        AXR_REG(AXR_REG_AXONS_ENABLE) = 1U;
        has_power = nrf_axon_driver_power_on() >= NRF_AXON_RESULT_SUCCESS;
    }
    return has_power;
}

/* The driver calls this once more than it reserves. */
void nrf_axon_platform_free_reservation_from_user(void)
{
    if (has_power) {
        (void)nrf_axon_driver_power_off();
        AXR_REG(AXR_REG_AXONS_ENABLE) = 0U;
        has_power = false;
    }
}

bool nrf_axon_platform_reserve_for_driver(void)
{
    return false;
}

void nrf_axon_platform_free_reservation_from_driver(void)
{
}

/* ---- events: all in one context, so flags are enough ---- */

void nrf_axon_platform_generate_driver_event(void)
{
    driver_event = true;
}

void nrf_axon_platform_generate_user_event(void)
{
    user_event = true;
}

static void look_for_interrupt(void)
{
    if ((AXR_REG(AXR_REG_NVIC_ISPR2) & AXR_NVIC_AXONS) != 0U) {
        (void)nrf_axon_handle_interrupt();
        AXR_REG(AXR_REG_NVIC_ICPR2) = AXR_NVIC_AXONS;
    }
}

void nrf_axon_platform_wait_for_user_event(void)
{
    const uint32_t start = AXR_REG(AXR_REG_DWT_CYCCNT);
    while (!user_event) {
        look_for_interrupt();
        if (driver_event) {
            driver_event = false;
            (void)nrf_axon_process_driver_event();
        }
        if (AXR_REG(AXR_REG_DWT_CYCCNT) - start > axr_npu_limit_cycles) {
            axr_nrf54l_give_up(AXR_FAULT_WATCHDOG);
        }
    }
    user_event = false;
}

uint32_t nrf_axon_platform_disable_interrupts(void)
{
    return 0U;
}

void nrf_axon_platform_restore_interrupts(uint32_t restore_value)
{
    (void)restore_value;
}

/* ---- time, and the serial interface that is the link's alone ---- */

uint32_t nrf_axon_platform_get_clk_hz(void)
{
    return CORE_HZ;
}

uint32_t nrf_axon_platform_get_ticks(void)
{
    return AXR_REG(AXR_REG_DWT_CYCCNT);
}

void nrf_axon_platform_printf(const char *format, ...)
{
    (void)format;
}

/*
 * What a cold boot of nRF54L15 and nRF54LM20A/B needs before peripherals are used. The steps are
 * those of Nordic's published start-up code (nRF MDK, system_nrf54l.c) and, for the crystal's load,
 * of the formula in the product specification (OSCILLATORS, XOSC32M). Owns no state.
 */
#include "registers.h"
#include "start.h"

#define XO_WAIT_LOOPS 1000000U

static void select_128_mhz(void)
{
    AXR_REG(AXR_REG_OSCILLATORS_PLL_FREQ) = AXR_PLL_128_MHZ;
}

/* Factory trims: pairs of register address and value, ended by an empty address. */
static void copy_trims(void)
{
    for (uint32_t i = 0U; i < AXR_FICR_TRIM_COUNT; ++i) {
        const uint32_t pair = AXR_REG_FICR_TRIMCNF + 8U * i;
        const uint32_t address = AXR_REG(pair);
        if (address == 0xFFFFFFFFUL || address == 0UL) {
            return;
        }
        AXR_REG(address) = AXR_REG(pair + 4U);
    }
}

/* Erratum 37, all chips of the family: the trace and debug block must be released once. */
static void correct_all(void)
{
    AXR_REG(AXR_REG_TAD_ERRATUM_37) = 1U;
}

#if defined(AXR_CHIP_NRF54L15)
/* Errata 31, 32 and 40 exist in the first revision only. */
static void correct_chip(void)
{
    if (AXR_REG(AXR_REG_REGULATORS_PDK_440) == 0U) {
        AXR_REG(AXR_REG_REGULATORS_PDK_440) = 0xC8U;
    }
    if (AXR_REG(AXR_REG_FICR_CHIP_REVISION) != 1U) {
        return;
    }
    if (AXR_REG(AXR_REG_FICR_TEST_DATE) <= 0x180A1D00U) {
        AXR_REG(AXR_REG_REGULATORS_ERRATUM_32) = 0x1EA9E040U;
    }
    AXR_REG(AXR_REG_RADIO_ERRATUM_40) = 0x040A0078U;
    AXR_REG(AXR_REG_REGULATORS_ERRATUM_31_624) = 20U | (1U << 5);
    AXR_REG(AXR_REG_REGULATORS_ERRATUM_31_63C) =
        AXR_REG(AXR_REG_REGULATORS_ERRATUM_31_63C) & ~(1U << 19);
}
#else
/* The key unit prepares itself from its first access on; it must be done before it is used. */
static void correct_chip(void)
{
    while (AXR_REG(AXR_REG_KMU_STATUS) != 0U) {
    }
}
#endif

/* Without this the debugger is shut out from the next reset on, until the chip is erased. */
static void keep_debug_open(uint32_t signal)
{
    if ((AXR_REG(signal) & AXR_TAMPC_LOCKED) != 0U) {
        return;
    }
    AXR_REG(signal) = AXR_TAMPC_UNPROTECT;
    AXR_REG(signal) = AXR_TAMPC_OPEN;
}

/* A two's complement field of 9 bits. */
static int32_t signed9(uint32_t field)
{
    return (int32_t)((field & 0x1FFU) ^ 0x100U) - 0x100;
}

/* The UART's rate is as exact as this crystal. A board whose crystal does not start goes on with
 * the internal oscillator: the link says so by its line errors. */
static void start_crystal(void)
{
    const uint32_t trim = AXR_REG(AXR_REG_FICR_XOSC32MTRIM);
    const int32_t slope = signed9(trim) + 791;
    const uint32_t offset = (trim >> 16) & 0x3FFU;
    const uint32_t above_ff = AXR_BOARD_HFXO_LOAD_FF - 5500U;
    const uint32_t scaled = (above_ff * (uint32_t)slope + (offset << 2) * 1000U) >> 8;
    AXR_REG(AXR_REG_OSCILLATORS_XOSC32M_CONFIG_INTCAP) = (scaled + 500U) / 1000U;
    AXR_REG(AXR_REG_CLOCK_EVENTS_XOSTARTED) = 0U;
    AXR_REG(AXR_REG_CLOCK_TASKS_XOSTART) = 1U;
    for (uint32_t i = 0U; i < XO_WAIT_LOOPS; ++i) {
        if (AXR_REG(AXR_REG_CLOCK_EVENTS_XOSTARTED) != 0U) {
            return;
        }
    }
}

void axr_nrf54l_clock_start(void)
{
    select_128_mhz();
    correct_all();
    keep_debug_open(AXR_REG_TAMPC_DOMAIN0_DBGEN);
    keep_debug_open(AXR_REG_TAMPC_DOMAIN0_NIDEN);
    keep_debug_open(AXR_REG_TAMPC_DOMAIN0_SPIDEN);
    keep_debug_open(AXR_REG_TAMPC_DOMAIN0_SPNIDEN);
    keep_debug_open(AXR_REG_TAMPC_AP0_DBGEN);
    copy_trims();
    correct_chip();
    AXR_REG(AXR_REG_GLITCHDET_CONFIG) = 0U;
    AXR_REG(AXR_REG_REGULATORS_VREGMAIN_DCDCEN) = AXR_BOARD_DCDC;
    AXR_REG(AXR_REG_ICACHE_ENABLE) = 1U;
    while ((AXR_REG(AXR_REG_OSCILLATORS_PLL_CURRENTFREQ) & 3U) != AXR_PLL_128_MHZ) {
    }
    start_crystal();
}
